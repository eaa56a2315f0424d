/** Prints what is being done, step by step, as it happens. */

import type { Clock } from '#beehive/clock.ts';

export interface Steps {
  /** Runs one step; its result is the detail behind the title. `waiting` tells why it takes time. */
  step(
    title: string,
    work: (waiting: (reason: string) => void) => Promise<string | undefined>,
  ): Promise<void>;
  note(text: string): void;
  warn(text: string): void;
}

export function printSteps(out: (line: string) => void, clock: Clock): Steps {
  return {
    async step(title, work) {
      const startedMs = clock.monotonicMs();
      let said = '';
      const waiting = (reason: string) => {
        if (reason === said) return;
        said = reason;
        out(`  … ${title}: ${reason}`);
      };
      try {
        const detail = await work(waiting);
        const seconds = ((clock.monotonicMs() - startedMs) / 1000).toFixed(1);
        out(`  ✓ ${title}${detail === undefined ? '' : `: ${detail}`} (${seconds} s)`);
      } catch (error) {
        out(`  ✗ ${title}`);
        throw error;
      }
    },
    note: (text) => out(text),
    warn: (text) => out(`  ! ${text}`),
  };
}
