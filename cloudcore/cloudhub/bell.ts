/** Wakes a loop that rests between two pieces of work. A ring while nobody rests is kept for the next rest. */

import type { Clock } from '#beehive/clock.ts';

/** A timer of Node cannot wait longer than some 24 days. */
const restMaxMs = 3_600_000;

export class Bell {
  readonly #clock: Clock;
  #rung = false;
  #wake: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Until the bell rings or the time has come, whichever is first; without a time no timer is kept. */
  async rest(untilMonotonicMs?: number): Promise<void> {
    if (!this.#rung) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (untilMonotonicMs === undefined) return;
        const ms = Math.min(restMaxMs, Math.max(0, untilMonotonicMs - this.#clock.monotonicMs()));
        const cancel = this.#clock.after(ms, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
      this.#wake = undefined;
    }
    this.#rung = false;
  }
}
