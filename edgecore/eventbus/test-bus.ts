/** For tests: EventBus on a real store, bus and brokers, with its neighbours' inboxes open to look into. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type MqttClient } from 'mqtt';
import { Bus } from '#beehive/bus.ts';
import { type Clock, systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { acknowledge, type Envelope, newEnvelope } from '#protocol/message.ts';
import { openDatabase, type Store } from '../store/database.ts';
import { type EventBusConfig, eventBusConfigSchema } from './config.ts';
import { createEventBus, eventBusInbox } from './eventbus.ts';

export class TestBus {
  readonly #dir = mkdtempSync(join(tmpdir(), 'hawser-eventbus-'));
  #metrics = createMetrics();
  readonly #waiters: (() => void)[] = [];
  /** What came from clients, per module it went to. */
  readonly got: { twin: Envelope[]; edgehub: Envelope[] } = { twin: [], edgehub: [] };
  /** What a neighbour waits for before it is done with a message. */
  gate: () => Promise<void> = async () => {};
  readonly #clock: Clock;
  bus = new Bus({ clock: systemClock, log: silentLog });
  store: Store = openDatabase(join(this.#dir, 'edgecore.db'), { log: silentLog });
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor({ clock = systemClock }: { readonly clock?: Clock } = {}) {
    this.#clock = clock;
  }

  async start(config: Partial<EventBusConfig>): Promise<this> {
    const stop = new AbortController();
    this.#stop = stop;
    this.bus = new Bus({ clock: systemClock, log: silentLog });
    this.#metrics = createMetrics();
    const { bus, store } = this;
    bus.open('eventbus', eventBusInbox);
    const neighbours = (['twin', 'edgehub'] as const).map((name) => {
      bus.open(name, { capacity: 64, lanesMax: 1, keyOf: () => '' });
      const take = async (envelope: Envelope) => {
        this.got[name].push(envelope);
        for (const wake of this.#waiters.splice(0)) wake();
        await this.gate();
      };
      return bus.serve(name, take, stop.signal);
    });
    // MetaManager keeps what goes up, and EdgeHub sends it.
    bus.open('metamanager', { capacity: 64, lanesMax: 1, keyOf: () => '' });
    const keep = async (envelope: Envelope) => {
      this.got.edgehub.push(envelope);
      for (const wake of this.#waiters.splice(0)) wake();
      bus.answer(acknowledge(envelope));
    };
    neighbours.push(bus.serve('metamanager', keep, stop.signal));
    const components = { bus, store, clock: this.#clock, log: silentLog, metrics: this.#metrics };
    const eventBus = createEventBus(eventBusConfigSchema.parse(config), components);
    await new Promise<void>((ready, failed) => {
      const run = eventBus.run(stop.signal, ready);
      run.catch(failed);
      this.#running = Promise.all([...neighbours, run]);
    });
    return this;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running.catch(() => {});
  }

  async end(): Promise<void> {
    await this.stop();
    await this.store.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** As DeviceTwin, or a rule of the cloud, says it. */
  say(source: 'twin' | 'router_eventbus', operation: string, resource: string, content: unknown = ''): void {
    const group = source === 'twin' ? 'bus' : 'user';
    this.bus.send('eventbus', newEnvelope({ source, group, operation, resource }, content));
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  /** Nothing waits in EventBus' inbox. */
  async idle(): Promise<void> {
    while ((this.bus.depths().get('eventbus') ?? 0) > 0)
      await new Promise((resolve) => setImmediate(resolve));
  }

  /** The value of a counter, 0 when it was never raised. */
  async count(labels: string): Promise<number> {
    const line = (await this.#metrics.text()).split('\n').find((text) => text.includes(labels));
    return Number(line?.split(' ').at(-1) ?? 0);
  }
}

export interface TestClient {
  readonly mqtt: MqttClient;
  readonly messages: { topic: string; payload: string }[];
  until(count: number): Promise<void>;
}

export async function client(port: number, options: object = {}): Promise<TestClient> {
  const mqtt = connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options });
  const messages: { topic: string; payload: string }[] = [];
  const waiters: (() => void)[] = [];
  // Messages of a session may come in one piece with the answer to the connect.
  mqtt.on('message', (topic, payload) => {
    messages.push({ topic, payload: payload.toString() });
    for (const wake of waiters.splice(0)) wake();
  });
  mqtt.on('error', () => {});
  await new Promise<void>((resolve, reject) => {
    mqtt.once('connect', () => resolve());
    mqtt.once('error', reject);
    mqtt.once('close', () => reject(new Error('connection closed')));
  });
  return {
    mqtt,
    messages,
    async until(count) {
      while (messages.length < count) await new Promise<void>((resolve) => waiters.push(resolve));
    },
  };
}

export function closed(mqtt: MqttClient): Promise<void> {
  return new Promise((resolve) => {
    if (mqtt.connected) mqtt.once('close', () => resolve());
    else resolve();
  });
}
