/**
 * Runs a reconcile function per key: a key waits at most once, never runs twice at a time, runs again when it was
 * added while running, and comes back with a growing pause after it failed. Bounded by the number of keys.
 */

import { setMaxListeners } from 'node:events';
import { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import { describeError } from '#protocol/errors.ts';

export interface WorkQueueOptions {
  readonly name: string;
  readonly workersMax: number;
  readonly retry: { readonly firstMs: number; readonly maxMs: number };
}

export interface WorkQueueComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #components: WorkQueueComponents;
  readonly #waiting = new Set<string>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #failed = new Map<string, Backoff>();
  readonly #pausing = new Set<string>();
  #reconcile: ((key: string, signal: AbortSignal) => Promise<void>) | undefined;
  #signal: AbortSignal | undefined;

  constructor(options: WorkQueueOptions, components: WorkQueueComponents) {
    this.#options = options;
    this.#components = components;
  }

  get size(): number {
    return this.#waiting.size + this.#running.size;
  }

  /** Asks for a run of this key that starts after now; a pause after a failure is kept. */
  add(key: string): void {
    if (this.#pausing.has(key)) return;
    this.#waiting.add(key);
    this.#startWhatMay();
  }

  /** The key needs no more runs; one that runs is not stopped. */
  forget(key: string): void {
    this.#waiting.delete(key);
    this.#failed.delete(key);
  }

  /** Works until the signal is aborted; what runs then is waited for, what waits stays for the next run. */
  async run(
    reconcile: (key: string, signal: AbortSignal) => Promise<void>,
    daemonSignal: AbortSignal,
  ): Promise<void> {
    // All that runs listens to it, and Node would warn of so many listeners.
    const signal = AbortSignal.any([daemonSignal]);
    setMaxListeners(0, signal);
    this.#reconcile = reconcile;
    this.#signal = signal;
    this.#startWhatMay();
    if (!signal.aborted)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    this.#reconcile = undefined;
    await Promise.all(this.#running.values());
  }

  #startWhatMay(): void {
    const reconcile = this.#reconcile;
    const signal = this.#signal;
    if (reconcile === undefined || signal === undefined || signal.aborted) return;
    for (const key of this.#waiting) {
      if (this.#running.size >= this.#options.workersMax) return;
      if (this.#running.has(key)) continue;
      this.#waiting.delete(key);
      this.#running.set(key, this.#runOne(key, reconcile, signal));
    }
  }

  async #runOne(
    key: string,
    reconcile: (key: string, signal: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    // Lets `running` know this promise before its work can end.
    await Promise.resolve();
    try {
      await reconcile(key, signal);
      this.#failed.delete(key);
    } catch (error) {
      if (!signal.aborted) void this.#again(key, error, signal);
      else this.#waiting.add(key);
    }
    this.#running.delete(key);
    this.#startWhatMay();
  }

  async #again(key: string, error: unknown, signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#components;
    let backoff = this.#failed.get(key);
    if (backoff === undefined) {
      backoff = new Backoff({ ...this.#options.retry, jitter: 0.2 }, random);
      this.#failed.set(key, backoff);
    }
    const pauseMs = backoff.nextMs();
    const fields = {
      queue: this.#options.name,
      key,
      reason: describeError(error),
      againInMs: Math.round(pauseMs),
    };
    log.warn(fields, 'work failed, trying it again');
    this.#pausing.add(key);
    await clock.sleep(pauseMs, signal).catch(() => {});
    this.#pausing.delete(key);
    if (this.#failed.has(key)) this.add(key);
  }
}
