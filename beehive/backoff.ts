/** Growing pauses between tries, with jitter so that a fleet does not come back in step. */

import type { Random } from './random.ts';

export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Part of each pause that is random, 0 to 1. */
  readonly jitter: number;
}

export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: Random;
  #tries = 0;

  constructor(options: BackoffOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  get tries(): number {
    return this.#tries;
  }

  /** The pause before the next try. */
  nextMs(): number {
    const { firstMs, maxMs, jitter } = this.#options;
    const fullMs = Math.min(maxMs, firstMs * 2 ** Math.min(this.#tries, 30));
    this.#tries += 1;
    return fullMs * (1 - jitter * this.#random.next());
  }

  reset(): void {
    this.#tries = 0;
  }
}
