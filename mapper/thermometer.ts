/**
 * A simulated thermometer: a mapper in its smallest form, on the MQTT topics that any KubeEdge mapper uses. It
 * reports a whole-numbered temperature and moves it, a degree at a time, toward the value that is wanted of it.
 * It knows nothing of the cloud, and needs the edge only now and then.
 */

import { randomUUID } from 'node:crypto';
import { connect, type MqttClient } from 'mqtt';
import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import type { Random } from '#beehive/random.ts';
import { CancelledError } from '#protocol/errors.ts';
import { deviceTopic } from '#protocol/topics.ts';

export interface ThermometerOptions {
  /** mqtt://HOST:PORT */
  readonly broker: string;
  /** `<namespace>/<name>` */
  readonly device: string;
  readonly property: string;
  readonly intervalMs: number;
}

export interface ThermometerComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly say: (line: string) => void;
}

const startDegrees = 20;
const reconnectMs = 1_000;
const connectTimeoutMs = 5_000;

const deltaSchema = z.looseObject({ delta: z.record(z.string(), z.string()) });
const twinSchema = z.looseObject({
  twin: z.record(z.string(), z.looseObject({ expected: z.looseObject({ value: z.string() }).optional() })),
});

/** Runs until the signal is aborted. */
export async function runThermometer(
  options: ThermometerOptions,
  components: ThermometerComponents,
  signal: AbortSignal,
): Promise<void> {
  const { clock, random, say } = components;
  const thermometer = new Thermometer(options, random);
  const client = connect(options.broker, {
    protocolVersion: 4,
    clean: true,
    reconnectPeriod: reconnectMs,
    connectTimeout: connectTimeoutMs,
    // What was measured while the broker was away is of no use later.
    queueQoSZero: false,
  });
  let lastSaid = '';
  const sayOnce = (line: string) => {
    if (line !== lastSaid) say(line);
    lastSaid = line;
  };
  client.on('error', (error) => sayOnce(`${options.broker}: ${error.message}`));
  client.on('connect', () => {
    sayOnce(`${options.device} connected to ${options.broker}`);
    thermometer.forgetTold();
    client.subscribe(thermometer.answers, { qos: 1 });
  });
  client.on('close', () => sayOnce(`${options.broker}: no connection, trying again`));
  client.on('message', (topic, payload) => thermometer.hear(topic, payload.toString()));
  try {
    while (!signal.aborted) {
      thermometer.measure();
      if (client.connected) speak(client, thermometer.reports(clock.now()));
      await clock.sleep(options.intervalMs, signal);
    }
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
  } finally {
    await client.endAsync(true);
  }
}

function speak(client: MqttClient, reports: readonly Report[]): void {
  for (const { topic, body } of reports) client.publish(topic, JSON.stringify(body), { qos: 1 }, () => {});
}

interface Report {
  readonly topic: string;
  readonly body: object;
}

export class Thermometer {
  readonly #options: ThermometerOptions;
  readonly #random: Random;
  #degrees = startDegrees;
  #wanted: number | undefined;
  /** The edge answered with the twin, so the device is known there and so is what is wanted. */
  #askedTwin = false;
  #toldState = false;

  constructor(options: ThermometerOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  get degrees(): number {
    return this.#degrees;
  }

  get answers(): string[] {
    const { device } = this.#options;
    return (['twin/update/delta', 'twin/get/result', 'state/update/result'] as const).map((answer) =>
      deviceTopic(device, answer),
    );
  }

  /** The broker may be another one, or the edge a new one. */
  forgetTold(): void {
    this.#askedTwin = false;
    this.#toldState = false;
  }

  /** A degree toward what is wanted; without a wish, a degree of weather now and then. */
  measure(): void {
    if (this.#wanted !== undefined) this.#degrees += Math.sign(this.#wanted - this.#degrees);
    else this.#degrees += Math.floor(this.#random.next() * 3) - 1;
  }

  /** The temperature; and, until the edge has answered once, that it is online and what is wanted of it. */
  reports(nowMs: number): Report[] {
    const { device, property } = this.#options;
    const event = () => ({ event_id: randomUUID(), timestamp: nowMs });
    const twin = { [property]: { actual: { value: `${this.#degrees}` }, metadata: { type: 'int' } } };
    return [
      ...(this.#toldState
        ? []
        : [{ topic: deviceTopic(device, 'state/update'), body: { ...event(), state: 'online' } }]),
      ...(this.#askedTwin ? [] : [{ topic: deviceTopic(device, 'twin/get'), body: event() }]),
      { topic: deviceTopic(device, 'twin/update'), body: { ...event(), twin } },
    ];
  }

  hear(topic: string, payload: string): void {
    const { device, property } = this.#options;
    const body = parseJson(payload);
    if (topic === deviceTopic(device, 'state/update/result')) {
      this.#toldState = true;
    } else if (topic === deviceTopic(device, 'twin/update/delta')) {
      const news = deltaSchema.safeParse(body);
      if (news.success) this.#want(news.data.delta[property]);
    } else if (topic === deviceTopic(device, 'twin/get/result')) {
      const answer = twinSchema.safeParse(body);
      if (!answer.success) return;
      this.#askedTwin = true;
      this.#want(answer.data.twin[property]?.expected?.value);
    }
  }

  #want(value: string | undefined): void {
    if (value === undefined || !/^-?\d{1,9}$/.test(value)) return;
    this.#wanted = Number(value);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
