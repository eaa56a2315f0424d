/** What every daemon's main does: signals become an abort, an error becomes a message and an exit code. */

import { describeError } from '#protocol/errors.ts';
import { ConfigError, UnrecoverableError } from './errors.ts';

/** Runs until done or SIGINT/SIGTERM; the process exits with 0, or with the error's own code. */
export async function runDaemon(name: string, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  try {
    await run(stop.signal);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${name}: ${describeError(error)}\n`);
    if (error instanceof ConfigError) process.exit(2);
    process.exit(error instanceof UnrecoverableError ? error.detail.exitCode : 1);
  }
}
