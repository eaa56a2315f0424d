import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Bus, type InboxOptions } from '#beehive/bus.ts';
import { ManualClock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import { seededRandom } from '#beehive/random.ts';
import { CancelledError } from '#protocol/errors.ts';
import { type Envelope, newEnvelope, reply } from '#protocol/message.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import type { Connection, Listener, UpgradeRequest } from '#protocol/transport/transport.ts';
import { Watch } from '#test/fixtures/watch.ts';
import type { Certificates } from './certificates.ts';
import { createEdgeHub, edgeHubInbox } from './edgehub.ts';

const modules = ['metamanager', 'edged', 'twin', 'eventbus'];
const noTls = { ca: '', cert: '', key: '' };

interface RigOptions {
  readonly ours: boolean;
  readonly inbox?: Partial<Record<string, InboxOptions>>;
  /** A module that does not take what is for it. */
  readonly held?: string;
}

/** A cloud that notes what comes, one edge that dials it, and a log to look at. */
class Rig {
  readonly clock = new ManualClock();
  readonly network = new MemoryNetwork({ clock: this.clock, random: seededRandom(7) });
  readonly said: { level: string; text: string; fields: object }[] = [];
  readonly bus = new Bus({ clock: this.clock, log: this.#log() });
  readonly upgrades: UpgradeRequest[] = [];
  readonly connections: Connection[] = [];
  readonly up: Envelope[] = [];
  readonly got = new Map<string, Envelope[]>();
  readonly stop = new AbortController();
  /** Call it, and the certificate has been renewed. */
  renew = () => {};
  failRenewal = (_: Error) => {};
  readonly #watch = new Watch();
  #running: Promise<void> = Promise.resolve();
  #serving: Promise<void>[] = [];

  readonly options: RigOptions;

  constructor(options: RigOptions = { ours: true }) {
    this.options = options;
    this.bus.open('edgehub', edgeHubInbox);
    for (const name of modules) {
      this.got.set(name, []);
      this.bus.open(name, options.inbox?.[name] ?? { capacity: 100, lanesMax: 1 });
      if (name === options.held) continue;
      this.serve(name);
    }
  }

  serve(name: string): void {
    const take = async (envelope: Envelope) => {
      this.got.get(name)?.push(envelope);
      this.look();
    };
    this.#serving.push(this.bus.serve(name, take, this.stop.signal));
  }

  async listen(): Promise<Listener> {
    const listener = await this.network.listen({
      host: 'cloud',
      port: 10000,
      connectionsMax: 10,
      frameBytesMax: 1e6,
      admit: (request) => {
        this.upgrades.push(request);
        return { accept: true, headers: this.options.ours ? { 'Hawser-Session': '1' } : {} };
      },
    });
    void (async () => {
      for await (const connection of listener.connections) {
        this.connections.push(connection);
        this.look();
        void (async () => {
          try {
            for await (const envelope of connection.frames) {
              this.up.push(envelope);
              this.look();
            }
          } catch {
            // The link broke: what the test wants to see is what happens then.
          }
        })();
      }
    })();
    return listener;
  }

  start(pongTimeoutMs = 15_000): void {
    const certificates: Certificates = {
      obtain: async () => noTls,
      renewed: (_, signal) => this.#renewed(signal),
    };
    this.#running = this.#create(certificates, pongTimeoutMs).run(this.stop.signal, () => {});
  }

  /** No certificate is to be had, for that reason. */
  runWithout(reason: Error): Promise<void> {
    const certificates = { obtain: () => Promise.reject(reason), renewed: async () => {} };
    return this.#create(certificates).run(this.stop.signal, () => {});
  }

  #create(certificates: Certificates, pongTimeoutMs = 15_000): Module {
    return createEdgeHub(
      {
        nodeName: 'edge-1',
        projectId: 'project',
        server: 'cloud:10000',
        machine: 'machine',
        heartbeatMs: 15_000,
        sessionBeatMs: 5_000,
        pongTimeoutMs,
        writeTimeoutMs: 15_000,
        handshakeTimeoutMs: 30_000,
        upstream: { perSecond: 30, burst: 60 },
        modules,
      },
      {
        bus: this.bus,
        transport: this.network,
        certificates,
        clock: this.clock,
        random: seededRandom(1),
        log: this.#log(),
        metrics: createMetrics(),
      },
    );
  }

  /** Resolves once it is so, however many turns that takes; looks at each thing that happens. */
  until(isSo: () => boolean): Promise<void> {
    return this.#watch.until(isSo);
  }

  /** In steps, so that what one moment sets off is done before a much later one. */
  async pass(ms: number): Promise<void> {
    for (let passedMs = 0; passedMs < ms; passedMs += 500) await this.clock.advance(500);
  }

  async connected(): Promise<Connection> {
    const before = this.connections.length;
    await this.until(() => this.connections.length > before);
    await this.until(() => this.news().at(-1) === 'cloud_connected');
    const connection = this.connections.at(-1);
    if (connection === undefined) throw new Error('no connection');
    return connection;
  }

  news(): unknown[] {
    return (this.got.get('edged') ?? []).filter((e) => e.route.operation === 'connect').map((e) => e.content);
  }

  look(): void {
    this.#watch.look();
  }

  async end(): Promise<void> {
    this.stop.abort();
    // Links that are silent close after a time.
    await this.pass(10_000);
    await this.#running;
    await Promise.all(this.#serving);
  }

  #renewed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.renew = resolve;
      this.failRenewal = reject;
      signal.addEventListener('abort', () => reject(new CancelledError()), { once: true });
    });
  }

  #log(): Log {
    const note = (level: string) => (fields: object, text: string) => {
      this.said.push({ level, text, fields });
      this.look();
    };
    const log: Log = {
      debug: note('debug'),
      info: note('info'),
      warn: note('warn'),
      error: note('error'),
      child: () => log,
    };
    return log;
  }
}

let rig: Rig;
afterEach(() => rig.end());

const down = (group: string, resource: string, content: unknown = {}, source = 'edgecontroller') =>
  newEnvelope({ source, group, operation: 'update', resource }, content);

describe('with a cloud', () => {
  beforeEach(async () => {
    rig = new Rig();
    await rig.listen();
  });

  test('dials as a KubeEdge edge does and offers our session, whose beats are pings', async () => {
    const connecting = rig.connected();
    rig.start();
    const cloud = await connecting;
    let pings = 0;
    cloud.onPing(() => {
      pings += 1;
    });
    expect(rig.upgrades[0]?.path).toBe('/project/edge-1/events');
    expect(rig.upgrades[0]?.headers).toMatchObject({
      node_id: 'edge-1',
      project_id: 'project',
      connectionuse: 'msg',
      'hawser-session': '1',
      'hawser-machine': 'machine',
    });
    const news = rig.got.get('metamanager')?.[0];
    expect(news?.header.hawserSession).toBe(true);
    expect(news?.route).toEqual({
      source: 'edgehub',
      group: 'resource',
      operation: 'connect',
      resource: 'node/connection',
    });
    await rig.pass(32_000);
    expect(pings).toBe(6);
    expect(rig.up).toEqual([]);
  });

  test('carries frames to the module of their group, and answers to who waits', async () => {
    const connecting = rig.connected();
    rig.start();
    const cloud = await connecting;
    for (const frame of [
      down('resource', 'default/pod/a'),
      down('twin', 'membership'),
      newEnvelope(
        { source: 'router_eventbus', group: 'user', operation: 'publish', resource: 'topic' },
        'text',
      ),
      down('nobody', 'x'),
      newEnvelope(
        { source: 'edgehub', group: 'resource', operation: 'connect', resource: 'node/connection' },
        'cloud_disconnected',
      ),
      reply(down('resource', 'default/pod/late'), 'OK'),
    ]) {
      await cloud.send(frame);
    }
    await rig.until(() => rig.got.get('eventbus')?.at(-1)?.route.resource === 'topic');
    expect(rig.got.get('metamanager')?.map((e) => e.route.resource)).toEqual([
      'node/connection',
      'default/pod/a',
    ]);
    expect(rig.got.get('twin')?.map((e) => e.route.resource)).toEqual(['node/connection', 'membership']);

    const question = newEnvelope(
      { source: 'edged', group: 'meta', operation: 'query', resource: 'default/secret/s' },
      null,
    );
    const answer = rig.bus.request('edgehub', question, { timeoutMs: 1_000 });
    await rig.until(() => rig.up.some((up) => up.header.msg_id === question.header.msg_id));
    await cloud.send(reply(question, { a: 1 }, { group: 'resource' }));
    expect((await answer).content).toEqual({ a: 1 });
  });

  test('keeps the order of what modules send', async () => {
    const connecting = rig.connected();
    rig.start();
    await connecting;
    for (let at = 0; at < 50; at += 1) rig.bus.send('edgehub', down('user', `t/${at % 3}`, at));
    await rig.until(() => rig.up.at(-1)?.content === 49);
    expect(rig.up.map((up) => up.content).filter((content) => typeof content === 'number')).toEqual(
      Array.from({ length: 50 }, (_, at) => at),
    );
  });

  test('a lost link is told, and dialled again within a second', async () => {
    const connecting = rig.connected();
    rig.start();
    await connecting;
    rig.network.cut();
    await rig.until(() => rig.news().at(-1) === 'cloud_disconnected');
    rig.network.heal();
    const again = rig.connected();
    await rig.pass(1_000);
    await again;
    expect(rig.news()).toEqual(['cloud_connected', 'cloud_disconnected', 'cloud_connected']);
  });

  test('a link that has gone silent is given up after two beats', async () => {
    const connecting = rig.connected();
    rig.start();
    await connecting;
    rig.network.silence();
    await rig.pass(34_000);
    await rig.until(() => rig.news().at(-1) === 'cloud_disconnected');
    expect(rig.said.find((line) => line.text.startsWith('lost the cloud'))?.fields).toMatchObject({
      reason: 'no pong within 15000 ms',
    });
  });
});

test('while MetaManager takes no more, nothing is read, nothing is lost, and no pong is missed', async () => {
  rig = new Rig({ ours: true, inbox: { metamanager: { capacity: 3, lanesMax: 1 } }, held: 'metamanager' });
  await rig.listen();
  const connecting = rig.connected();
  rig.start();
  const cloud = await connecting;
  for (let at = 0; at < 10; at += 1) await cloud.send(down('resource', `default/pod/p${at}`));
  await rig.until(() => rig.said.some((line) => line.text === 'inbox is full'));
  await rig.pass(120_000);
  expect(rig.news()).toEqual(['cloud_connected']);
  rig.serve('metamanager');
  await rig.until(() => rig.got.get('metamanager')?.length === 11);
  expect(
    rig.got
      .get('metamanager')
      ?.map((e) => e.route.resource)
      .slice(1),
  ).toEqual(Array.from({ length: 10 }, (_, at) => `default/pod/p${at}`));
});

test.each([
  ['of ours: at once', true, 0],
  ['of KubeEdge: only after it has forgotten the old connection', false, 2_000],
])('a renewed certificate is used over a new connection to a cloud %s', async (_, ours, pauseMs) => {
  rig = new Rig({ ours });
  await rig.listen();
  const connecting = rig.connected();
  rig.start();
  const cloud = await connecting;
  await cloud.send(down('resource', 'default/pod/first'));
  await rig.pass(400);
  rig.renew();
  // Something passes every 400 ms: the link is not ended between, until it has waited long enough.
  for (let n = 0; n < 5; n += 1) {
    await cloud.send(down('resource', `default/pod/${n}`));
    await rig.clock.advance(400);
  }
  expect(rig.news()).toEqual(['cloud_connected']);
  const again = rig.until(() => rig.connections.length === 2);
  await rig.clock.advance(500 + pauseMs);
  await again;
  await rig.until(() => rig.news().length === 3);
  expect(rig.got.get('metamanager')?.filter((e) => e.route.resource.includes('/pod/'))).toHaveLength(6);
  expect(rig.said.some(({ text }) => text.includes('lost the cloud'))).toBe(false);
});

test('a certificate that cannot be renewed here is no reason to end anything', async () => {
  rig = new Rig();
  await rig.listen();
  const connecting = rig.connected();
  rig.start();
  await connecting;
  rig.failRenewal(new Error('no space left on device'));
  await rig.until(() => rig.said.some(({ text }) => text.includes('cannot renew the certificate')));
  await rig.pass(20_000);
  expect(rig.news()).toEqual(['cloud_connected']);
});

test('another full module does not hold up the socket', async () => {
  rig = new Rig({ ours: true, inbox: { eventbus: { capacity: 1, lanesMax: 1 } }, held: 'eventbus' });
  await rig.listen();
  const connecting = rig.connected();
  rig.start();
  const cloud = await connecting;
  for (let at = 0; at < 5; at += 1) await cloud.send(down('user', 'topic'));
  await cloud.send(down('resource', 'default/pod/a'));
  await rig.until(() => rig.got.get('metamanager')?.at(-1)?.route.resource === 'default/pod/a');
});

test('offline: a request fails at once, a cloud that comes later is joined, and it is said once', async () => {
  rig = new Rig();
  rig.start();
  await rig.until(() => rig.said.some((line) => line.level === 'warn'));
  await rig.pass(600_000);
  expect(rig.said.filter((line) => line.level === 'warn')).toHaveLength(1);
  expect(rig.said.filter((line) => line.level === 'debug').length).toBeGreaterThan(10);
  const answer = await rig.bus.request('edgehub', down('meta', 'default/secret/s'), { timeoutMs: 1_000 });
  expect([answer.route.operation, answer.content]).toEqual(['error', 'not connected to the cloud']);
  await rig.listen();
  const connecting = rig.connected();
  await rig.pass(30_000);
  await connecting;
});

test('at a KubeEdge cloud: no word of our session, and its rate is kept', async () => {
  rig = new Rig({ ours: false });
  await rig.listen();
  const connecting = rig.connected();
  rig.start();
  await connecting;
  expect(rig.got.get('metamanager')?.[0]?.header.hawserSession).toBeUndefined();
  const uploads = () => rig.up.filter((up) => up.route.group === 'user').length;
  for (let at = 0; at < 90; at += 1) rig.bus.send('edgehub', down('user', 't', at));
  await rig.until(() => uploads() === 60);
  await rig.pass(500);
  expect(uploads()).toBeLessThanOrEqual(76);
  await rig.pass(600);
  await rig.until(() => uploads() === 90);
});

test('a refusal is said with the words of the cloud', async () => {
  rig = new Rig();
  await rig.network.listen({
    host: 'cloud',
    port: 10000,
    connectionsMax: 1,
    frameBytesMax: 1e6,
    admit: () => ({ accept: false, status: 403, reason: 'the certificate is of another node' }),
  });
  rig.start();
  await rig.until(() => rig.said.some((line) => line.level === 'warn'));
  expect(JSON.stringify(rig.said)).toContain('403 the certificate is of another node');
});

test('a fault of certificates ends the run, so that the supervisor starts it anew', async () => {
  rig = new Rig();
  await expect(rig.runWithout(new RangeError('a bug'))).rejects.toThrow('a bug');
  await rig.runWithout(new CancelledError());
});
