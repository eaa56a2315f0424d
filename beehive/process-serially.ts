/**
 * The one operator of our own: values of one key are handled one at a time and in order, keys side by side.
 *
 * RxJS has no backpressure and an exception in a subscriber ends the process, so this operator holds what the
 * bus promises: it starts at most `lanesMax` handlers at once, keeps the rest in the order they came, gives a
 * failing handler's error to `failed` and goes on, and hands back on unsubscribe what it has not started.
 * Bounding how much may wait is the inbox's part: it counts on `settled`.
 */

import { Observable, type OperatorFunction } from 'rxjs';

export interface SerialOptions<T> {
  readonly keyOf: (value: T) => string;
  readonly lanesMax: number;
  readonly failed: (error: unknown, value: T) => void;
  /** Values that were waiting when the subscription ended, in order. */
  readonly abandoned: (values: readonly T[]) => void;
}

/** Emits each value once its handler has ended, well or not. */
export function processSerially<T>(
  handle: (value: T) => Promise<void>,
  options: SerialOptions<T>,
): OperatorFunction<T, T> {
  return (source) =>
    new Observable<T>((settled) => {
      const waiting: T[] = [];
      const busy = new Set<string>();
      let closed = false;

      const startWhatMay = () => {
        for (let at = 0; at < waiting.length && busy.size < options.lanesMax && !closed; ) {
          const value = waiting[at] as T;
          const key = options.keyOf(value);
          // Nobody's work ends within this loop, so who comes later with that key finds it busy as well.
          if (busy.has(key)) {
            at += 1;
            continue;
          }
          waiting.splice(at, 1);
          void start(value, key);
        }
      };
      const start = async (value: T, key: string) => {
        busy.add(key);
        try {
          await handle(value);
        } catch (error) {
          options.failed(error, value);
        }
        busy.delete(key);
        settled.next(value);
        startWhatMay();
      };

      const subscription = source.subscribe({
        next(value) {
          waiting.push(value);
          startWhatMay();
        },
        error: (error) => settled.error(error),
        complete: () => settled.complete(),
      });
      return () => {
        closed = true;
        subscription.unsubscribe();
        options.abandoned(waiting.splice(0));
      };
    });
}
