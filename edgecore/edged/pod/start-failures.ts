/**
 * What keeps a pod's sandbox and containers from starting, each with the reason that people are told and the time of
 * the next try. Kept in memory: after a restart of ours the first try is at once.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Waiting } from './plan.ts';

export interface StartFailure extends Waiting {
  readonly retryAtMs: number;
  readonly tries: number;
}

/** The sandbox, among the names of containers. */
export const sandboxKey = '';

const retryFirstMs = 1000;
export const retryMaxMs = 10_000;
const pullRetryFirstMs = 10_000;
const pullRetryMaxMs = 300_000;

export class StartFailures {
  readonly #clock: Clock;
  readonly #failures = new Map<string, StartFailure>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(name: string): StartFailure | undefined {
    return this.#failures.get(name);
  }

  /** It failed and must not be tried again yet. */
  blocks(name: string): StartFailure | undefined {
    const failure = this.#failures.get(name);
    return failure !== undefined && this.#clock.now() < failure.retryAtMs ? failure : undefined;
  }

  note(name: string, waiting: Waiting): void {
    const tries = (this.#failures.get(name)?.tries ?? 0) + 1;
    const pauseMs =
      waiting.reason === 'ErrImagePull'
        ? Math.min(pullRetryMaxMs, pullRetryFirstMs * 2 ** Math.min(tries - 1, 10))
        : retryMs(tries);
    this.#failures.set(name, { ...waiting, tries, retryAtMs: this.#clock.now() + pauseMs });
  }

  /** The same failure, told in other words. */
  retell(name: string, waiting: Waiting): void {
    const failure = this.#failures.get(name);
    if (failure !== undefined) this.#failures.set(name, { ...failure, ...waiting });
  }

  clear(name: string): void {
    this.#failures.delete(name);
  }

  /** Something has changed that may mend them: all may be tried now. */
  retryNow(): void {
    for (const [name, failure] of this.#failures) this.#failures.set(name, { ...failure, retryAtMs: 0 });
  }
}

export function retryMs(tries: number): number {
  return Math.min(retryMaxMs, retryFirstMs * 2 ** Math.min(tries - 1, 10));
}
