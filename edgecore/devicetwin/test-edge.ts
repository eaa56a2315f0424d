/** For tests: DeviceTwin on a real store and a real bus, with its neighbours played by the test. */

import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bus } from '#beehive/bus.ts';
import { type Clock, systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { seededRandom } from '#beehive/random.ts';
import { type Envelope, newEnvelope, reply, replyError } from '#protocol/message.ts';
import { connection } from '#protocol/names.ts';
import { openDatabase, type Store } from '../store/database.ts';
import { createDeviceTwin, deviceTwinInbox } from './devicetwin.ts';
import type { LeaseOptions } from './dmi/mapper-link.ts';

export interface Published {
  readonly topic: string;
  readonly body: unknown;
}

export type CloudAnswer = 'confirm' | 'silence' | 'error';

export class TestEdge {
  readonly node: string;
  readonly published: Published[] = [];
  /** What went up, in order. */
  readonly reports: Envelope[] = [];
  /** What MetaManager says it holds. */
  readonly held: { device: unknown[]; devicemodel: unknown[] } = { device: [], devicemodel: [] };
  cloud: (report: Envelope) => CloudAnswer = () => 'confirm';
  readonly #clock: Clock;
  readonly #lease: LeaseOptions | undefined;
  readonly #dmi: boolean;
  readonly #dir = mkdtempSync(join(tmpdir(), 'hawser-twin-'));
  /** Of the database: a life that ends in a crash leaves its own file behind. */
  #life = 0;
  #bus: Bus | undefined;
  #store: Store | undefined;
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #watchers: (() => void)[] = [];

  constructor(options: { node?: string; clock?: Clock; dmi?: boolean; lease?: LeaseOptions } = {}) {
    this.node = options.node ?? 'edge-1';
    this.#clock = options.clock ?? systemClock;
    this.#lease = options.lease;
    this.#dmi = options.dmi ?? false;
  }

  /** Where its sockets are. */
  get dir(): string {
    return this.#dir;
  }

  get store(): Store {
    if (this.#store === undefined) throw new Error('not started');
    return this.#store;
  }

  async start(): Promise<this> {
    const stop = new AbortController();
    this.#stop = stop;
    const store = openDatabase(this.#file(), { log: silentLog });
    const bus = new Bus({ clock: this.#clock, log: silentLog });
    this.#store = store;
    this.#bus = bus;
    bus.open('twin', deviceTwinInbox);
    const wide = { capacity: 100_000, lanesMax: 1 };
    for (const name of ['eventbus', 'edgehub', 'metamanager']) bus.open(name, { ...wide, keyOf: () => '' });
    const twin = createDeviceTwin(
      {
        nodeName: this.node,
        ...(this.#dmi ? { dmiSockPath: this.#dir } : {}),
        ...(this.#lease === undefined ? {} : { lease: this.#lease }),
      },
      {
        bus,
        store,
        clock: this.#clock,
        random: seededRandom(1),
        log: silentLog,
        metrics: createMetrics(),
      },
    );
    const neighbours = [
      bus.serve('eventbus', async (envelope) => this.#publish(envelope), stop.signal),
      bus.serve('edgehub', async (envelope) => this.#up(bus, envelope), stop.signal),
      bus.serve('metamanager', async (envelope) => this.#query(bus, envelope), stop.signal),
    ];
    await new Promise<void>((ready) => {
      this.#running = Promise.all([...neighbours, twin.run(stop.signal, ready)]);
    });
    return this;
  }

  /** Without `gracefully`, what is not committed is lost, as when the process is killed. */
  async stop(how: 'gracefully' | 'crash' = 'gracefully'): Promise<void> {
    if (how === 'crash') {
      // The next life begins with what is on the disk now; what this one still writes, nobody sees.
      const left = this.#file();
      this.#life += 1;
      for (const part of ['', '-wal']) copyFileSync(`${left}${part}`, `${this.#file()}${part}`);
      const store = this.store;
      store.write = () => new Promise(() => {});
      this.#stop.abort();
      await store.close();
      return;
    }
    this.#stop.abort();
    await this.#running;
    await this.store.close();
  }

  async end(): Promise<void> {
    await this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  client(topic: string, body: unknown): void {
    const payload = typeof body === 'string' ? body : JSON.stringify(body);
    this.#send({ source: 'bus', group: 'twin', operation: 'publish', resource: topic }, payload);
  }

  object(operation: 'insert' | 'update' | 'delete', resource: string, content: unknown): void {
    this.#send({ source: 'meta', group: 'twin', operation, resource }, content);
  }

  membership(content: unknown): void {
    this.#send(
      { source: 'devicecontroller', group: 'twin', operation: 'update', resource: 'membership' },
      content,
    );
  }

  /** As a cloud says it, of the old kind. */
  cloudSays(operation: string, resource: string, content: unknown): void {
    this.#send({ source: 'devicecontroller', group: 'twin', operation, resource }, content);
  }

  link(up: boolean): void {
    this.#send(
      { source: 'edgehub', group: 'resource', operation: 'connect', resource: connection.resource },
      up ? connection.connected : connection.disconnected,
    );
  }

  /** Everything published since the last call, once `count` messages are there and the twin is idle. */
  async takePublished(count: number): Promise<Published[]> {
    await this.until(() => this.published.length >= count);
    await this.idle();
    return this.published.splice(0);
  }

  /** Nothing waits in the twin or for the disk. */
  async idle(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      const depths = this.#bus?.depths();
      const busy = (depths?.get('twin') ?? 0) + (depths?.get('eventbus') ?? 0) + this.store.waiting;
      quiet = busy === 0 ? quiet + 1 : 0;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#watchers.push(resolve));
  }

  #file(): string {
    return join(this.#dir, `edgecore-${this.#life}.db`);
  }

  #send(route: Envelope['route'], content: unknown): void {
    const handed = this.#bus?.send('twin', newEnvelope(route, content, { timestampMs: this.#clock.now() }));
    if (handed !== 'accepted') throw new Error('the twin’s inbox is full');
  }

  #publish(envelope: Envelope): void {
    this.published.push({ topic: envelope.route.resource, body: JSON.parse(String(envelope.content)) });
    this.#wake();
  }

  #up(bus: Bus, envelope: Envelope): void {
    const answer = this.cloud(envelope);
    this.reports.push(envelope);
    if (answer === 'confirm')
      bus.answer(reply(envelope, 'OK', { source: 'devicecontroller', group: 'twin', resource: 'twin' }));
    if (answer === 'error') bus.answer(replyError(envelope, 'not connected'));
    this.#wake();
  }

  #query(bus: Bus, envelope: Envelope): void {
    const list = envelope.route.resource === 'null/device' ? this.held.device : this.held.devicemodel;
    bus.answer(reply(envelope, list));
  }

  #wake(): void {
    for (const watcher of this.#watchers.splice(0)) watcher();
  }
}

/** Without times, and property and side as short as they read best. */
export function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, field) =>
      ['timestamp', 'event_id'].includes(key)
        ? undefined
        : key === 'metadata' && !field.type
          ? undefined
          : field,
    ),
  );
}

/** Topics without their common beginning, bodies plain. */
export function short(published: readonly Published[]): [string, unknown][] {
  return published.map(({ topic, body }) => [topic.replace('$hw/events/', ''), plain(body)]);
}
