/** Time as a parameter: the system clock outside of tests, a hand-turned one inside. */

import { CancelledError } from '#protocol/errors.ts';

export interface Clock {
  /** Milliseconds since the epoch, for what people and peers read. */
  now(): number;
  /** Milliseconds that never step back, for measuring and deadlines. */
  monotonicMs(): number;
  /** @throws CancelledError when the signal is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls back once, unless told not to; for deadlines, which hardly ever come, this costs less than a sleep. */
  after(ms: number, call: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new CancelledError(signal.reason));
      const abort = () => {
        clearTimeout(timer);
        reject(new CancelledError(signal?.reason));
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', abort);
        resolve();
      }, ms);
      signal?.addEventListener('abort', abort, { once: true });
    });
  },
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

interface Sleeper {
  readonly dueMs: number;
  readonly wake: () => void;
}

/** A clock that moves only when told, so that a test of hours takes none. */
export class ManualClock implements Clock {
  #nowMs: number;
  readonly #startMs: number;
  readonly #sleepers = new Set<Sleeper>();

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#nowMs = startMs;
    this.#startMs = startMs;
  }

  now(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs - this.#startMs;
  }

  get sleepers(): number {
    return this.#sleepers.size;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new CancelledError());
      const abort = () => {
        this.#sleepers.delete(sleeper);
        reject(new CancelledError());
      };
      const sleeper: Sleeper = {
        dueMs: this.#nowMs + Math.max(0, ms),
        wake: () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }

  after(ms: number, call: () => void): () => void {
    const sleeper: Sleeper = { dueMs: this.#nowMs + Math.max(0, ms), wake: call };
    this.#sleepers.add(sleeper);
    return () => this.#sleepers.delete(sleeper);
  }

  /** Moves time on, waking sleepers in the order they are due and letting each run before the next. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const next = [...this.#sleepers].filter((s) => s.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      this.#sleepers.delete(next);
      next.wake();
      await settle();
    }
    this.#nowMs = endMs;
    await settle();
  }
}

function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
