/** The router's port for callers in the cloud: whom it serves when it wants a token, and what becomes of it when it is taken. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { ManualClock, systemClock } from '#beehive/clock.ts';
import { type Log, silentLog } from '#beehive/log.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { type CloudOptions, startCloud } from '#test/fixtures/cloud.ts';
import { givenCertificates, startEdge } from '#test/fixtures/edge.ts';
import { askHttp, HttpTarget } from '#test/fixtures/http-target.ts';
import { freePort } from '#test/free-port.ts';

const node = 'edge-1';
const transport = createWebSocketTransport({ clock: systemClock });
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startBoth(options: Omit<CloudOptions, 'transport'>) {
  const cloud = await startCloud({ transport, ...options });
  closers.push(() => cloud.close());
  await cloud.addNode(node);
  const edge = await startEdge({
    nodeName: node,
    transport,
    server: `127.0.0.1:${cloud.port}`,
    certificates: givenCertificates(await cloud.identity(node)),
    mqtt: { mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${await freePort()}` },
  });
  closers.push(() => edge.close());
  await edge.connected();
  return cloud;
}

test('serves who sends the token that the config wants, and tells the app nothing of it', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'hawser-router-'));
  closers.push(() => rm(dir, { recursive: true }));
  const tokenFile = join(dir, 'token');
  await writeFile(tokenFile, 's3cret\n');
  const target = await new HttpTarget().listen();
  closers.push(() => target.close());
  const cloud = await startBoth({ router: { tokenFile } });
  const rulesApi = (plural: string) => ({ apiVersion: 'rules.kubeedge.io/v1', plural, namespace: 'default' });
  const endpoint = (name: string, ruleEndpointType: string, properties: object) =>
    cloud.api.create(rulesApi('ruleendpoints'), {
      metadata: { name },
      spec: { ruleEndpointType, properties },
    });
  await endpoint('cloud', 'rest', {});
  await endpoint('app', 'servicebus', { service_port: String(target.port) });
  const spec = {
    ...{ source: 'cloud', sourceResource: { path: '/shop' } },
    ...{ target: 'app', targetResource: { path: '/api' } },
  };
  await cloud.api.create(rulesApi('rules'), { metadata: { name: 'call' }, spec });
  await expect.poll(() => cloud.routerPort()).not.toBe(0);

  const ask = (headers: Record<string, string>) =>
    askHttp(cloud.routerPort(), 'POST', `/${node}/default/shop`, { headers });
  await expect.poll(async () => (await ask({ authorization: 'Bearer s3cret' })).status).toBe(200);
  const served = target.heard.length;
  expect((await ask({})).status).toBe(401);
  expect((await ask({ authorization: 'Bearer wrong' })).status).toBe(401);
  expect(target.heard).toHaveLength(served);
  expect(target.heard.map(({ headers }) => headers.authorization)).toEqual(Array(served).fill(undefined));
});

test('is said to be taken, stops nothing else, and is open once it is free', async () => {
  const holder = createServer();
  const port = await freePort();
  await new Promise<void>((resolve) => holder.listen(port, '127.0.0.1', resolve));
  const release = () => new Promise((resolve) => holder.close(resolve));
  closers.push(release);
  const said: object[] = [];
  const log: Log = {
    ...silentLog,
    warn: (fields, text) => void (text.includes('modules.router.port') && said.push(fields)),
    child: () => log,
  };
  const clock = new ManualClock();
  // An edge connects although callers cannot.
  const cloud = await startBoth({ clock, log, router: { port } });
  await expect.poll(() => said).toMatchObject([{ host: '127.0.0.1', port }]);
  await clock.advance(30_000);
  expect(cloud.routerPort()).toBe(0);
  await release();
  const opened = async () => {
    await clock.advance(30_000);
    return cloud.routerPort();
  };
  await expect.poll(opened).toBe(port);
  expect((await askHttp(port, 'GET', '/nothing', {})).status).toBe(404);
  expect(said).toHaveLength(1);
});
