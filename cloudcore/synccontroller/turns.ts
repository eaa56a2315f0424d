/** Lets so many work at once; the others wait, in the order in which they came. */

/** `before others`: of those who wait, all who came `in turn` let it pass. */
export type Turn = 'in turn' | 'before others';

export class Turns {
  readonly #atOnceMax: number;
  #working = 0;
  readonly #waiting: Record<Turn, (() => void)[]> = { 'before others': [], 'in turn': [] };

  constructor(atOnceMax: number) {
    this.#atOnceMax = atOnceMax;
  }

  async take<T>(work: () => Promise<T>, when: Turn): Promise<T> {
    if (this.#working >= this.#atOnceMax)
      await new Promise<void>((resolve) => this.#waiting[when].push(resolve));
    else this.#working += 1;
    try {
      return await work();
    } finally {
      // A turn is handed on, not given back, so that nobody comes in between.
      const next = this.#waiting['before others'].shift() ?? this.#waiting['in turn'].shift();
      if (next === undefined) this.#working -= 1;
      else next();
    }
  }
}
