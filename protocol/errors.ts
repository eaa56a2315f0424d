/**
 * What all errors of Hawser have in common: a code and data to act on, a hint whether trying again can
 * help, and the cause. The message is for people and is rendered by who throws.
 */

export type Retry = 'never' | 'backoff' | 'now';

export class HawserError<D extends { readonly code: string } = { readonly code: string }> extends Error {
  readonly detail: D;
  readonly retry: Retry;

  constructor(message: string, detail: D, options: { retry?: Retry; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.detail = detail;
    this.retry = options.retry ?? 'never';
  }

  get code(): D['code'] {
    return this.detail.code;
  }
}

/** The peer sent something that the wire does not allow. */
export class ProtocolError extends HawserError<
  | { code: 'malformed-frame'; reason: string }
  | { code: 'frame-too-large'; bytes: number; limitBytes: number }
  | { code: 'malformed-path'; path: string }
  | { code: 'malformed-content'; kind: string; issues: readonly string[] }
> {}

/** The link was refused, lost, or is too slow. */
export class TransportError extends HawserError<
  | { code: 'unreachable'; url: string }
  | { code: 'refused'; url: string; status: number; body: string }
  | { code: 'closed'; reason: string }
  | { code: 'timeout'; afterMs: number }
  | { code: 'port-taken'; host: string; port: number }
> {}

/** The work was given up because its signal was aborted. Never logged as a failure. */
export class CancelledError extends HawserError<{ code: 'cancelled' }> {
  constructor(cause?: unknown) {
    super('cancelled', { code: 'cancelled' }, { cause });
  }
}

/** The message of an error with those of its causes, for one line of a log or a terminal. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (
    let at: unknown = error;
    at !== undefined && parts.length < 5;
    at = at instanceof Error ? at.cause : undefined
  ) {
    const text = at instanceof Error ? at.message : String(at);
    if (!parts.some((said) => said.includes(text))) parts.push(text);
  }
  return parts.join(': ');
}
