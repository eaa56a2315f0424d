/** Waiting beside an AbortSignal. What waits often on the same signal leaves no listener on it. */

import { CancelledError } from '#protocol/errors.ts';

/** For what waits once in the signal's life: its listener stays until then. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** The outcome of the work, which goes on by itself when the signal is aborted. @throws CancelledError */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    work.catch(() => {});
    throw new CancelledError();
  }
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(new CancelledError());
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
