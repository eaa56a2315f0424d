/** Waits for something outside to hold, and says why it waits. */

import type { Clock } from '#beehive/clock.ts';
import { KeadmError } from './errors.ts';

const pollMs = 100;

/**
 * Asks until `check` answers `ready`, or throws.
 * @throws KeadmError `not-ready` with the last reason after `timeoutMs`
 */
export async function waitFor(
  what: string,
  options: {
    clock: Clock;
    timeoutMs: number;
    waiting?: (reason: string) => void;
    next: string;
    signal?: AbortSignal;
  },
  check: () => Promise<'ready' | { readonly waitingFor: string }>,
): Promise<void> {
  const startMs = options.clock.monotonicMs();
  let announced = false;
  for (;;) {
    const state = await check();
    if (state === 'ready') return;
    const elapsedMs = options.clock.monotonicMs() - startMs;
    if (elapsedMs > options.timeoutMs) {
      throw new KeadmError(
        `${what}: ${state.waitingFor} after ${Math.round(elapsedMs / 1000)} s; ${options.next}`,
        {
          code: 'not-ready',
          what,
          afterMs: elapsedMs,
        },
      );
    }
    // A wait that nobody notices needs no line.
    if (elapsedMs > 2_000 || announced) {
      announced = true;
      options.waiting?.(state.waitingFor);
    }
    await options.clock.sleep(pollMs, options.signal);
  }
}
