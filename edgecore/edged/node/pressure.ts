/**
 * Which resources of the node are short, over time. A condition stays for a while after it was last seen, so that a
 * node at the edge of a threshold does not change its mind with each look. Looks are made by whoever evicts.
 */

import type { MachineUse } from './machine-use.ts';
import {
  conditionOf,
  isMet,
  type Observation,
  observe,
  type PressureCondition,
  type Signal,
  type Threshold,
} from './thresholds.ts';

export interface Met {
  readonly threshold: Threshold;
  readonly observation: Observation;
}

export class Pressure {
  readonly #thresholds: readonly Threshold[];
  readonly #transitionMs: number;
  #met: readonly Threshold[] = [];
  readonly #firstMetMs = new Map<Threshold, number>();
  readonly #lastSeenMs = new Map<PressureCondition, number>();
  #conditions: readonly PressureCondition[] = [];

  constructor(thresholds: readonly Threshold[], transitionMs: number) {
    this.#thresholds = thresholds;
    this.#transitionMs = transitionMs;
  }

  /** Short now, or a while ago. */
  get conditions(): readonly PressureCondition[] {
    return this.#conditions;
  }

  /** The thresholds that are met and for which something is to be done now, memory first. */
  look(use: MachineUse, nowMs: number): readonly Met[] {
    const observed = observe(use);
    const met = this.#thresholds.filter((it) => isMet(it, observed, this.#met.includes(it)));
    for (const it of this.#firstMetMs.keys()) if (!met.includes(it)) this.#firstMetMs.delete(it);
    for (const it of met) {
      if (!this.#firstMetMs.has(it)) this.#firstMetMs.set(it, nowMs);
      this.#lastSeenMs.set(conditionOf(it.signal), nowMs);
    }
    this.#met = met;
    this.#conditions = [...this.#lastSeenMs]
      .filter(([, seenMs]) => seenMs === nowMs || nowMs - seenMs < this.#transitionMs)
      .map(([condition]) => condition);
    return met
      .filter((it) => nowMs - (this.#firstMetMs.get(it) ?? nowMs) >= (it.softMs ?? 0))
      .flatMap((threshold) => {
        const observation = observed.get(threshold.signal);
        return observation === undefined ? [] : [{ threshold, observation }];
      })
      .sort((a, b) => priority(a.threshold.signal) - priority(b.threshold.signal));
  }
}

/** Memory is short within moments, a disk within minutes. */
function priority(signal: Signal): number {
  return signal === 'memory.available' ? 0 : 1;
}
