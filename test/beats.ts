/**
 * Time as this process gets to see it. A test that says how soon something comes, and whose both ends run here, counts
 * beats and not milliseconds: a machine that is busy elsewhere delays the beats as it delays what is tested, so only
 * the slowness of what is tested is measured.
 */

import { systemClock } from '#beehive/clock.ts';

const beatMs = 5;

export class Beats {
  #count = 0;
  readonly #stop = new AbortController();

  constructor() {
    void this.#beat();
  }

  /** Beats since it was made, in the milliseconds that they take at least. */
  get ms(): number {
    return this.#count * beatMs;
  }

  end(): number {
    this.#stop.abort();
    return this.ms;
  }

  async #beat(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await systemClock.sleep(beatMs, this.#stop.signal).catch(() => {});
      this.#count += 1;
    }
  }
}

/** How long the work took, in beats of this process. */
export async function beatsOf(work: Promise<unknown>): Promise<number> {
  const beats = new Beats();
  try {
    await work;
  } finally {
    beats.end();
  }
  return beats.ms;
}
