/** What is fuzzed, and how its verdict is told: taken, or refused with an error of ours; anything else is a fault. */

import { ZodError } from 'zod';
import { HawserError } from '#protocol/errors.ts';
import type { Chaos } from './chaos.ts';

export type Verdict = 'taken' | 'refused';

export interface Target {
  readonly name: string;
  /** Part of all cases; the parts of all targets make 1. */
  readonly share: number;
  /** Cases that may be under way at once; 1 for what does not wait. */
  readonly atOnce: number;
  /** @throws whatever is neither taken nor refused as it should be */
  run(chaos: Chaos): Verdict | Promise<Verdict>;
  /** Ends what was started; nothing of it may be left in memory. */
  close?(): Promise<void>;
}

/** For parsers: what they throw must be ours. */
export function verdictOf(parse: () => unknown): Verdict {
  try {
    parse();
    return 'taken';
  } catch (error) {
    return refusal(error);
  }
}

export function refusal(error: unknown): Verdict {
  if (error instanceof HawserError || error instanceof ZodError) return 'refused';
  throw error;
}
