import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bus } from '#beehive/bus.ts';
import { type Clock, ManualClock, systemClock } from '#beehive/clock.ts';
import { type Log, silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { acknowledge, type Envelope, newEnvelope, reply } from '#protocol/message.ts';
import { openDatabase, type Store } from '../store/database.ts';
import { loadUrls } from '../store/topic-store.ts';
import { readTarget } from './app-call.ts';
import { serviceBusConfigSchema } from './config.ts';
import { createServiceBus, serviceBusInbox } from './servicebus.ts';

let dir: string;
let store: Store;
let bus: Bus;
let up: Envelope[];
let stop: AbortController;
let running: Promise<unknown>;
let port: number;
let app: Server;
/** What the cloud says to what is sent up. */
let answer: (envelope: Envelope) => Envelope | undefined;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'hawser-servicebus-'));
  store = openDatabase(join(dir, 'edgecore.db'), { log: silentLog });
  up = [];
  answer = () => undefined;
  app = createServer((request, response) => {
    response.setHeader('X-Asked', `${request.method} ${request.url}`);
    request.resume().on('end', () => response.end('fine'));
  });
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  stop.abort();
  await running;
  await store.close();
  app.closeAllConnections();
  app.close();
  rmSync(dir, { recursive: true, force: true });
});

interface Machinery {
  readonly clock?: Clock;
  readonly log?: Log;
}

function start(config: object = {}, { clock = systemClock, log = silentLog }: Machinery = {}): void {
  stop = new AbortController();
  port = 0;
  bus = new Bus({ clock: systemClock, log: silentLog });
  bus.open('servicebus', serviceBusInbox);
  bus.open('edgehub', { capacity: 64, lanesMax: 1, keyOf: () => '' });
  const { enable: _, ...options } = serviceBusConfigSchema.parse({ port: 0, ...config });
  const listening = (opened: number) => {
    port = opened;
  };
  const components = { bus, store, clock, log, metrics: createMetrics(), listening };
  const take = async (envelope: Envelope) => {
    up.push(envelope);
    const said = answer(envelope);
    if (said !== undefined) bus.answer(said);
  };
  running = Promise.all([
    createServiceBus(options, components).run(stop.signal, () => {}),
    bus.serve('edgehub', take, stop.signal),
  ]);
}

const say = (operation: string, resource: string, content: unknown = null) => {
  const envelope = newEnvelope({ source: 'router_servicebus', group: 'user', operation, resource }, content);
  bus.send('servicebus', envelope);
  return envelope;
};
const appPort = () => (app.address() as AddressInfo).port;
const answered = async (to: Envelope) => {
  const find = () => up.find(({ header }) => header.parent_msg_id === to.header.msg_id);
  await expect.poll(find).toBeDefined();
  const found = find() ?? expect.fail('no answer');
  const {
    status_code: status,
    body,
    header,
  } = found.content as {
    status_code: number;
    body: string;
    header: Record<string, string[]>;
  };
  return { route: found.route, status, header, text: Buffer.from(body, 'base64').toString() };
};

describe('a call of a rule', () => {
  it('in the form of KubeEdge’s cloud is made, and answered as its ServiceBus answers', async () => {
    start();
    const content = { header: null, body: Buffer.from('hi').toString('base64'), method: 'POST', url: '' };
    const said = await answered(say('POST', `${appPort()}:/api/x?y=1`, content));
    expect(said).toMatchObject({ status: 200, text: 'fine', header: { 'X-Asked': ['POST /api/x?y=1'] } });
    expect(said.route).toEqual({ source: 'servicebus', group: 'user', operation: 'upload', resource: '' });
    expect((await answered(say('GET', `${appPort()}:api`, { header: {}, body: null }))).header).toMatchObject(
      {
        'X-Asked': ['GET /api'],
      },
    );
  });

  it.each([
    ['POST', 'nothing', {}, 400],
    ['POST', '70000:/x', {}, 400],
    ['POST', '0:/x', {}, 400],
    ['BREW', '80:/x', {}, 400],
    ['POST', '80:/x', 'text', 400],
    ['POST', '80:/x', null, 400],
    ['POST', '80:/x', { header: 'x' }, 400],
    ['POST', '80:/x', { body: Buffer.alloc(1024 * 1024 + 1).toString('base64') }, 413],
    ['POST', '1:/x', {}, 502],
  ])('%s %s with %j is answered all the same', async (operation, resource, content, status) => {
    start();
    expect(await answered(say(operation, resource, content))).toMatchObject({
      status,
      header: { Server: ['hawser-edgecore'] },
    });
  });

  it('leads to this machine only', () => {
    const hosts = ['/x', '//evil/x', '/\\evil', '@evil/', '/../x', '.evil/', '/x#y'].map((path) => {
      const target = readTarget(
        newEnvelope({ source: '', group: '', operation: 'GET', resource: `8080:${path}` }, null),
      );
      return typeof target === 'string' ? target : target.url.host;
    });
    expect(new Set(hosts)).toEqual(new Set(['127.0.0.1:8080']));
  });
});

describe('apps', () => {
  const post = async (body: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body, headers });
    return { status: response.status, ...((await response.json()) as { code: number; body: string }) };
  };
  const request = JSON.stringify({ method: 'POST', targetURL: 'http://a//b', payload: 1 });

  it('ask while a rule allows it, over restarts, until KubeEdge’s cloud takes it back in its own spelling', async () => {
    answer = (envelope) => reply(envelope, 'yes');
    start();
    say('start', 'http://a//b');
    await expect.poll(() => port).not.toBe(0);
    expect(await post(request)).toMatchObject({ status: 200, code: 200, body: 'yes' });
    expect(Buffer.from(String(up[0]?.content), 'base64').toString()).toBe(request);
    expect(up[0]?.route).toMatchObject({
      source: 'servicebus',
      operation: 'upload',
      resource: 'http://a//b',
    });
    stop.abort();
    await running;
    start();
    await expect.poll(() => port).not.toBe(0);
    expect(await post(request)).toMatchObject({ code: 200 });
    say('stop', 'http:/a/b');
    await expect.poll(() => store.read(loadUrls)).toEqual([]);
    await expect
      .poll(() =>
        post(request).then(
          () => 'open',
          () => 'closed',
        ),
      )
      .toBe('closed');
  });

  it('without the token that the config wants are refused', async () => {
    const tokenFile = join(dir, 'token');
    writeFileSync(tokenFile, 's3cret\n');
    answer = (envelope) => acknowledge(envelope);
    start({ tokenFile });
    say('start', 'http://a//b');
    await expect.poll(() => port).not.toBe(0);
    expect(await post(request)).toMatchObject({ status: 401, code: 401 });
    expect(await post(request, { authorization: 'Bearer wrong' })).toMatchObject({ status: 401 });
    expect(up).toEqual([]);
    expect(await post(request, { authorization: 'Bearer s3cret' })).toMatchObject({ status: 200, code: 200 });
  });

  it('are served once the port is free, when another has it; rules go on meanwhile', async () => {
    const holder = createTcpServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    const { port: taken } = holder.address() as AddressInfo;
    const said: object[] = [];
    const log: Log = {
      ...silentLog,
      warn: (fields, text) => void (text.includes('modules.serviceBus.port') && said.push(fields)),
      child: () => log,
    };
    const clock = new ManualClock();
    answer = (envelope) => reply(envelope, 'yes');
    start({ port: taken }, { clock, log });
    say('start', 'http://a//b');
    await expect.poll(() => said).toMatchObject([{ host: '127.0.0.1', port: taken }]);
    await clock.advance(30_000);
    expect(await answered(say('POST', `${appPort()}:/api`, {}))).toMatchObject({ status: 200 });
    expect(port).toBe(0);
    await new Promise((resolve) => holder.close(resolve));
    const opened = async () => {
      await clock.advance(30_000);
      return port;
    };
    await expect.poll(opened).toBe(taken);
    expect(await post(request)).toMatchObject({ code: 200, body: 'yes' });
    expect(said).toHaveLength(1);
  });

  it('reach it on loopback, unless it wants a token', () => {
    start();
    for (const server of ['127.0.0.1', '127.8.8.8', '::1']) serviceBusConfigSchema.parse({ server });
    for (const server of ['0.0.0.0', '10.0.0.1', '::', 'localhost'])
      expect(() => serviceBusConfigSchema.parse({ server })).toThrow();
    serviceBusConfigSchema.parse({ server: '0.0.0.0', tokenFile: '/x' });
  });
});
