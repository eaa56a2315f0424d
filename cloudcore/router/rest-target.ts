/** Calls of rules to REST targets in the cloud: what a status means for who sent the message. */

import type { Clock } from '#beehive/clock.ts';
import { callHttp, HttpCallError } from '#beehive/http-call.ts';
import type { HeaderList } from '#protocol/http-call.ts';
import { ruleLimits } from '#protocol/limits.ts';

export interface RestTargetComponents {
  readonly clock: Clock;
  /** PEM; undefined: the system's authorities. */
  readonly ca: string | undefined;
  readonly timeoutMs: number;
}

export interface TargetCall {
  readonly url: URL;
  readonly method: string;
  readonly headers: HeaderList;
  readonly body: Uint8Array;
  readonly signal: AbortSignal;
}

export type TargetOutcome =
  | { readonly kind: 'answered'; readonly status: number; readonly text: string }
  /** There is no answer. */
  | { readonly kind: 'failed'; readonly reason: string };

export async function callTarget(call: TargetCall, components: RestTargetComponents): Promise<TargetOutcome> {
  const { clock, ca, timeoutMs } = components;
  const { answerBytesMax } = ruleLimits;
  try {
    const { status, body } = await callHttp({ ...call, ca, timeoutMs, answerBytesMax }, clock);
    return { kind: 'answered', status, text: body.toString('utf8') };
  } catch (error) {
    if (!(error instanceof HttpCallError)) throw error;
    const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
    return { kind: 'failed', reason: `${error.message}${cause}` };
  }
}

/** Undefined: the target has it. `again`: it may take it later; else it never will. */
export function failureOf(
  outcome: TargetOutcome,
  url: URL,
): { readonly reason: string; readonly again: boolean } | undefined {
  if (outcome.kind === 'failed') return { reason: outcome.reason, again: true };
  const { status } = outcome;
  if (status >= 200 && status < 300) return undefined;
  const again = status >= 500 || [408, 425, 429].includes(status);
  return { reason: `${url.host} answered ${status}`, again };
}
