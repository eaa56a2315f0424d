/** A client that reports twin values over MQTT and waits for each answer; and how fast many of those go. */

import type { MqttClient } from 'mqtt';
import { z } from 'zod';
import { quantile } from '../figures.ts';

const resultSchema = z.looseObject({ event_id: z.string(), code: z.number().optional() });
const lateMs = 5_000;

export class Reporter {
  readonly #client: MqttClient;
  readonly #waiting = new Map<string, (refused: boolean) => void>();
  #count = 0;

  constructor(client: MqttClient) {
    this.#client = client;
    client.on('message', (topic, payload) => {
      if (!topic.endsWith('/result')) return;
      const { event_id: id, code } = resultSchema.parse(JSON.parse(payload.toString()));
      this.#waiting.get(id)?.(code !== undefined && code >= 400);
      this.#waiting.delete(id);
    });
  }

  /** A value that differs each time. No answer counts as a refusal. */
  report(device: string, property: string): Promise<{ ms: number; refused: boolean }> {
    const value = String(this.#count + 1);
    const twin = { [property]: { actual: { value, metadata: { timestamp: Date.now() } } } };
    return this.#ask(`$hw/events/device/${device}/twin/update`, { twin });
  }

  get(device: string): Promise<{ ms: number; refused: boolean }> {
    return this.#ask(`$hw/events/device/${device}/twin/get`, {});
  }

  async #ask(topic: string, body: object): Promise<{ ms: number; refused: boolean }> {
    this.#count += 1;
    const id = String(this.#count);
    const beginMs = performance.now();
    let late: NodeJS.Timeout | undefined;
    const answered = new Promise<boolean>((resolve) => {
      this.#waiting.set(id, resolve);
      late = setTimeout(() => resolve(true), lateMs);
    });
    this.#client.publish(topic, JSON.stringify({ event_id: id, timestamp: Date.now(), ...body }), { qos: 1 });
    const refused = await answered;
    clearTimeout(late);
    return { ms: performance.now() - beginMs, refused };
  }
}

export interface Rate {
  readonly count: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** `inFlight` at once, each begun when the one before it is answered. `ask` gets the number of its lane. */
export async function rate(
  inFlight: number,
  seconds: number,
  ask: (lane: number) => Promise<{ readonly ms: number; readonly refused: boolean }>,
): Promise<Rate> {
  const startedMs = performance.now();
  const untilMs = startedMs + seconds * 1000;
  const times: number[] = [];
  let refusals = 0;
  const run = async (lane: number) => {
    while (performance.now() < untilMs) {
      const { ms, refused } = await ask(lane);
      if (refused) refusals += 1;
      else times.push(ms);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, lane) => run(lane)));
  if (refusals > 0) throw new Error(`${refusals} requests were refused or not answered in ${lateMs} ms`);
  return {
    count: times.length,
    perSecond: times.length / ((performance.now() - startedMs) / 1000),
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
  };
}
