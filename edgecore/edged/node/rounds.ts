/** One look after another, with a pause between, for as long as the node runs. */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';

export interface Rounds {
  readonly everyMs: number;
  /** True: the next look comes without a pause. */
  readonly look: () => Promise<boolean>;
  /** What is told of a look that fails, until one succeeds; it keeps nothing from the next. */
  readonly fault: string;
}

export async function goRounds(
  { everyMs, look, fault }: Rounds,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  let failing = false;
  while (!signal.aborted) {
    let again = false;
    try {
      again = await look();
      failing = false;
    } catch (error) {
      if (signal.aborted) return;
      if (!failing) log.warn({ err: error }, fault);
      failing = true;
    }
    if (!again) await clock.sleep(everyMs, signal).catch(() => {});
  }
}
