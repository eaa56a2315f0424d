/** At most so many a second, with a burst; who takes more waits. */

import type { Clock } from './clock.ts';

export class RateLimit {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #clock: Clock;
  #left: number;
  #atMs: number;

  constructor(options: { perSecond: number; burst: number }, clock: Clock) {
    this.#perSecond = options.perSecond;
    this.#burst = options.burst;
    this.#clock = clock;
    this.#left = options.burst;
    this.#atMs = clock.monotonicMs();
  }

  /** Resolves when the next one may go. For one caller at a time. @throws CancelledError */
  async take(signal: AbortSignal): Promise<void> {
    this.#refill();
    if (this.#left < 1) {
      await this.#clock.sleep(((1 - this.#left) / this.#perSecond) * 1000, signal);
      this.#refill();
    }
    this.#left = Math.max(0, this.#left - 1);
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#left = Math.min(this.#burst, this.#left + ((nowMs - this.#atMs) / 1000) * this.#perSecond);
    this.#atMs = nowMs;
  }
}
