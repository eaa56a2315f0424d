/** The newest changes of one storage in memory, for watches; bounded in number and in the text of their objects. */

import { limits } from '../limits.ts';

interface Revised {
  readonly revision: number;
}

export class RecentChanges<C extends Revised> {
  #floor: number;
  #changes: C[] = [];
  #characters: number[] = [];
  #total = 0;

  /** @param floor nothing up to there is here */
  constructor(floor: number) {
    this.#floor = floor;
  }

  get floor(): number {
    return this.#floor;
  }

  after(revision: number, limit: number): readonly C[] {
    const from = this.#firstAfter(revision);
    return this.#changes.slice(from, from + limit);
  }

  add(change: C, characters: number): void {
    this.#changes.push(change);
    this.#characters.push(characters);
    this.#total += characters;
    // Dropped by the half, so that the array is moved once in many changes.
    if (this.#changes.length >= 2 * limits.recentEvents) this.#drop(limits.recentEvents);
    while (this.#total > limits.recentEventBytes) this.#drop(Math.ceil(this.#changes.length / 2));
  }

  /** What is compacted in the log is not to be seen here either. */
  forget(upTo: number): void {
    this.#drop(this.#firstAfter(upTo));
    this.#floor = Math.max(this.#floor, upTo);
  }

  #drop(count: number): void {
    const dropped = this.#changes.splice(0, count);
    for (const characters of this.#characters.splice(0, count)) this.#total -= characters;
    this.#floor = dropped.at(-1)?.revision ?? this.#floor;
  }

  #firstAfter(revision: number): number {
    let low = 0;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#changes[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
