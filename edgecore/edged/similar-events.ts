/** Events of one reason about one object that differ in their words only: after some, one stands for them all. */

import type { Clock } from '#beehive/clock.ts';

interface Texts {
  readonly sinceMs: number;
  readonly seen: Set<string>;
}

/** As the kubelet has it: within ten minutes. */
const textsMax = 10;
const forgetMs = 600_000;
const subjectsMax = 512;
const combined = '(combined from similar events): ';

export class SimilarEvents {
  readonly #clock: Clock;
  readonly #bySubject = new Map<string, Texts>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The event that the text belongs to, and what it says there. */
  take(subject: string, text: string): { readonly key: string; readonly message: string } {
    const nowMs = this.#clock.now();
    const before = this.#bySubject.get(subject);
    const isFresh = before === undefined || nowMs - before.sinceMs >= forgetMs;
    const texts = isFresh ? { sinceMs: nowMs, seen: new Set<string>() } : before;
    this.#bySubject.delete(subject);
    this.#bySubject.set(subject, texts);
    for (const oldest of this.#bySubject.keys()) {
      if (this.#bySubject.size <= subjectsMax) break;
      this.#bySubject.delete(oldest);
    }
    if (texts.seen.size < textsMax) texts.seen.add(text);
    if (texts.seen.has(text)) return { key: `${subject}/${text}`, message: text };
    return { key: `${subject}/${combined}`, message: `${combined}${text}` };
  }
}
