/** Wakes a loop that rests between two pieces of work. A ring while nobody rests is kept for the next rest. */

import type { Clock } from '#beehive/clock.ts';
import { CancelledError } from '#protocol/errors.ts';

const restMaxMs = 3_600_000;

export class Bell {
  readonly #clock: Clock;
  #rung = false;
  #resting: AbortController | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    this.#rung = true;
    this.#resting?.abort();
  }

  /** Until the bell rings or the time has come, whichever is first. */
  async rest(untilMonotonicMs = Number.POSITIVE_INFINITY): Promise<void> {
    if (!this.#rung) {
      this.#resting = new AbortController();
      const ms = Math.min(restMaxMs, Math.max(0, untilMonotonicMs - this.#clock.monotonicMs()));
      try {
        await this.#clock.sleep(ms, this.#resting.signal);
      } catch (error) {
        if (!(error instanceof CancelledError)) throw error;
      }
      this.#resting = undefined;
    }
    this.#rung = false;
  }
}
