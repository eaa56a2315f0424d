/** Certificates in their life: renewed while messages flow, and after their end; a real CloudHub and EdgeHub over TLS. */

import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock, systemClock } from '#beehive/clock.ts';
import { type Log, silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { createMemoryRuntime } from '#edgecore/edged/runtime/memory-runtime.ts';
import { createCertificates } from '#edgecore/edgehub/certificates.ts';
import { readCredentials, saveCredentials } from '#edgecore/edgehub/credentials.ts';
import { MetaStore } from '#edgecore/store/meta-store.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { Beats } from '#test/beats.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { type Edge, startEdge } from '#test/fixtures/edge.ts';

const transport = createWebSocketTransport({ clock: systemClock });
const pods = { apiVersion: 'v1', plural: 'pods', namespace: 'default' };
const hourMs = 3_600_000;

let cloud: Cloud;
let dir: string;
let edge: Edge | undefined;
let said: { readonly level: string; readonly text: string }[];
let heard: () => void;

beforeEach(async () => {
  cloud = await startCloud({ transport });
  dir = await mkdtemp(join(tmpdir(), 'hawser-rotation-'));
  said = [];
  heard = () => {};
});
afterEach(async () => {
  await edge?.close();
  edge = undefined;
  await cloud.close();
  await rm(dir, { recursive: true, force: true });
});

const files = () => ({
  caFile: join(dir, 'rootCA.crt'),
  certFile: join(dir, 'server.crt'),
  keyFile: join(dir, 'server.key'),
});
const bootstrapFile = () => join(dir, 'bootstrap.conf');

/** @param clock by which the age of certificates is measured; TLS itself takes the machine's. */
function certificates(clock: ManualClock) {
  const note = (level: string) => (_fields: object, text: string) => {
    said.push({ level, text });
    heard();
  };
  const log: Log = {
    ...silentLog,
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
    child: () => log,
  };
  return createCertificates(
    {
      nodeName: 'edge-1',
      httpServer: `https://127.0.0.1:${cloud.bootstrapPort}`,
      machine: 'machine',
      files: files(),
      token: '',
      bootstrapFile: bootstrapFile(),
      requestTimeoutMs: 10_000,
      rotate: true,
    },
    { clock, random: seededRandom(1), log },
  );
}

function start(clock = new ManualClock(Date.now()), runtime = createMemoryRuntime({ clock: systemClock })) {
  const server = `127.0.0.1:${cloud.port}`;
  return startEdge({ nodeName: 'edge-1', transport, server, certificates: certificates(clock), runtime });
}

const storedPods = ({ store }: Edge) =>
  new MetaStore(store, { log: silentLog })
    .read((rows) => rows.held())
    .filter(({ path }) => path.includes('/pod/'))
    .map(({ path, uid }) => `${path} ${uid}`)
    .sort();

test('a certificate is renewed in time while pods come and go: nothing is lost and no pod is touched', async () => {
  const clock = new ManualClock(Date.now());
  const runtime = createMemoryRuntime({ clock: systemClock });
  const first = await cloud.identity('edge-1', { days: 1, fromMs: clock.now() });
  await saveCredentials(files(), first);
  edge = await start(clock, runtime);
  await edge.connected();
  await cloud.addPod('edge-1', 'steady', { containers: [{ name: 'steady', image: 'i', command: ['run'] }] });
  await edge.until(() => runtime.handle.calls.some((call) => call.startsWith('start ')));

  const renewedAt: number[] = [];
  const beats = new Beats();
  edge.bus.taps.subscribe(({ to, envelope }) => {
    if (to === 'edged' && envelope.route.operation === 'connect') renewedAt.push(beats.ms);
  });
  await clock.advance(16 * hourMs);
  expect(readFileSync(files().certFile, 'utf8')).toBe(first.cert);
  const advanced = clock.advance(6 * hourMs);
  for (let n = 0; n < 200 && edge.news.length < 3; n += 1) {
    await cloud.addPod('edge-1', `pod-${n}`);
    if (n % 3 === 2) await cloud.api.delete({ ...pods, name: `pod-${n - 1}` }, { gracePeriodSeconds: 0 });
    await systemClock.sleep(60);
  }
  await advanced;
  await edge.connected(2);
  await cloud.addPod('edge-1', 'last');

  const { items } = await cloud.api.list(pods);
  const wanted = items.map(({ metadata }) => `default/pod/${metadata.name} ${metadata.uid}`).sort();
  const whole = edge;
  await whole.until(() => storedPods(whole).join() === wanted.join());
  expect(edge.news).toEqual(['cloud_connected', 'cloud_disconnected', 'cloud_connected']);
  beats.end();
  const [gone = 0, back = 0] = renewedAt;
  expect(back - gone).toBeLessThan(5_000);
  const ofSteady = runtime.handle.calls.filter((call) => call.includes('steady'));
  expect(ofSteady.filter((call) => /^(stop|remove)/.test(call))).toEqual([]);
  expect(ofSteady.filter((call) => call.startsWith('start '))).toHaveLength(1);

  const now = new X509Certificate(readFileSync(files().certFile));
  expect(now.serialNumber).not.toBe(new X509Certificate(first.cert).serialNumber);
  expect(await readCredentials(files(), 'edge-1', Date.now())).toHaveProperty('identity');
  expect(readFileSync(files().keyFile, 'utf8')).not.toBe(first.key);
  expect(statSync(files().keyFile).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir).sort()).toEqual(['rootCA.crt', 'server.crt', 'server.key']);
});

test('an edge that slept over the end of its certificate is let in again by its old key', async () => {
  await cloud.addNode('edge-1');
  const old = await cloud.identity('edge-1', { days: 1, fromMs: Date.now() - 72 * hourMs });
  await saveCredentials(files(), old);
  edge = await start();
  await edge.connected();
  expect(readFileSync(files().certFile, 'utf8')).not.toBe(old.cert);
  expect(said.at(-1)?.text).toBe('the certificate had expired; the cloud renewed it');
});

test('where the cloud renews it no more, the edge says what to do, and a new token loses no data', async () => {
  const old = await cloud.identity('edge-1', { days: 1, fromMs: Date.now() - 72 * hourMs });
  await saveCredentials(files(), old);
  const clock = new ManualClock(Date.now());
  const complained = new Promise<void>((resolve) => {
    heard = resolve;
  });
  edge = await start(clock);
  const value = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'kept', namespace: 'default' } };
  const key = 'default/configmap/kept';
  const meta = new MetaStore(edge.store, { log: silentLog });
  await meta.write((rows) =>
    rows.put({ key, type: 'configmap', value, uid: undefined, resourceVersion: undefined }),
  );
  await complained;
  expect(said[0]?.text).toMatch(/expired on .*no such Node.*keadm gettoken.*bootstrap\.conf.*data stay/s);

  const secret = await cloud.api.get({
    apiVersion: 'v1',
    plural: 'secrets',
    namespace: 'kubeedge',
    name: 'tokensecret',
  });
  const { tokendata } = secret.data as { tokendata: string };
  writeFileSync(bootstrapFile(), Buffer.from(tokendata, 'base64'));
  while (edge.news.length === 0) {
    await clock.advance(60_000);
    await systemClock.sleep(20);
  }
  expect(edge.news).toEqual(['cloud_connected']);
  expect(meta.read((rows) => rows.get(key))?.value).toEqual(value);
  expect(readdirSync(dir).sort()).toEqual(['rootCA.crt', 'server.crt', 'server.key']);
});
