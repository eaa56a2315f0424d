/** Why a command of keadm ended without doing its work. The message says what to do next. */

import { HawserError } from '#protocol/errors.ts';

export class KeadmError extends HawserError<
  | { code: 'port-taken'; port: number; by: string }
  | { code: 'not-ready'; what: string; afterMs: number }
  | { code: 'bad-flag'; flag: string }
  | { code: 'not-found'; what: string }
  | { code: 'name-taken'; node: string }
  | { code: 'hook-failed'; flag: string; file: string }
  | { code: 'already-set-up'; where: string }
  | { code: 'preflight'; failed: readonly string[] }
  | { code: 'service-failed'; service: string; logFile: string }
> {}
