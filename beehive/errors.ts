/** Errors of the framework itself. */

import { HawserError } from '#protocol/errors.ts';

/** A message could not be handed over, or was not answered. */
export class BusError extends HawserError<
  | { code: 'full'; module: string }
  | { code: 'timeout'; module: string; afterMs: number }
  | { code: 'unknown-module'; module: string }
  | { code: 'same-id'; module: string; msgId: string }
> {}

/** Trying again cannot help: the daemon ends, prints the message and exits with `exitCode`. */
export class UnrecoverableError extends HawserError<{ code: 'unrecoverable'; exitCode: number }> {
  constructor(message: string, options: { cause?: unknown; exitCode?: number } = {}) {
    super(message, { code: 'unrecoverable', exitCode: options.exitCode ?? 1 }, { cause: options.cause });
  }
}

/** A config file or flag is wrong; `path` is the field, the message says what to do. Ends with exit code 2. */
export class ConfigError extends HawserError<{
  code: 'config';
  file: string;
  issues: readonly { path: string; reason: string }[];
}> {}
