/** From counters to what is used now: the difference to the reading before, over the time between them. */

interface Sample {
  readonly value: number;
  readonly atMs: number;
}

const apartMs = 1000;
/** A mean over longer than this says nothing about now. */
const staleMs = 300_000;

export class Rates {
  readonly #before = new Map<string, Sample>();
  readonly #rates = new Map<string, number>();

  /** Of nanoseconds: nanocores. Undefined until there are two readings that are apart. */
  of(id: string, value: number, atMs: number): number | undefined {
    const before = this.#before.get(id);
    const passedMs = before === undefined ? Number.POSITIVE_INFINITY : atMs - before.atMs;
    if (before !== undefined && passedMs < apartMs && value >= before.value) return this.#rates.get(id);
    this.#before.set(id, { value, atMs });
    // A counter that went back is another's.
    const isRate = before !== undefined && passedMs <= staleMs && value >= before.value;
    if (isRate) this.#rates.set(id, Math.round(((value - before.value) * 1000) / passedMs));
    else this.#rates.delete(id);
    return this.#rates.get(id);
  }

  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of this.#before.keys()) {
      if (ids.has(id)) continue;
      this.#before.delete(id);
      this.#rates.delete(id);
    }
  }
}
