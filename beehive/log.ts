/** Logging: one JSON line a record (pino), a child per module, message ids in every line about a message. */

import { pino } from 'pino';

export interface Log {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
  child(fields: object): Log;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Key names whose values never reach a log, wherever they stand in the first three levels. */
const secretKeys = ['token', 'password', 'authorization', 'tokendata', 'cakeydata', 'key'];

export function createLog(options: { name: string; level?: LogLevel }): Log {
  return pino({
    name: options.name,
    level: options.level ?? 'info',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]), censor: '(hidden)' },
  });
}

/** For tests that do not look at the log. */
export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLog,
};
