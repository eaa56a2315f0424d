/**
 * The loop of level-triggered controllers: changes of several resources name keys, and each key is reconciled with what
 * is there now, one at a time. A key that fails is tried again after a pause; one that names a time comes back then.
 */

import { CancelledError } from '#protocol/errors.ts';
import type { ResourceRef } from '../api.ts';
import type { KubeObject } from '../kube-object.ts';
import { StatusError } from '../status-error.ts';
import { type ControllerComponents, follow, pause } from './controller.ts';

export interface Source {
  readonly resource: ResourceRef;
  /** What has to be looked at again when this object changes. */
  keysOf(object: KubeObject): readonly string[];
}

const retryMs = 1_000;
const idleMs = 60_000;

/** `reconcile` resolves with the milliseconds after which it wants to look again, if it does. */
export async function reconcileKeys(
  components: ControllerComponents,
  sources: readonly Source[],
  reconcile: (key: string) => Promise<number | undefined>,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = components;
  const dueMs = new Map<string, number>();
  let wake = new AbortController();
  const enqueue = (key: string, afterMs: number) => {
    const due = clock.monotonicMs() + afterMs;
    dueMs.set(key, Math.min(dueMs.get(key) ?? due, due));
    wake.abort();
  };
  const work = async () => {
    while (!signal.aborted) {
      const [next] = [...dueMs].sort(([, a], [, b]) => a - b);
      const waitMs = next === undefined ? idleMs : next[1] - clock.monotonicMs();
      if (next === undefined || waitMs > 0) {
        wake = new AbortController();
        await pause(clock, waitMs, wake.signal);
        continue;
      }
      const [key] = next;
      dueMs.delete(key);
      try {
        const afterMs = await reconcile(key);
        if (afterMs !== undefined) enqueue(key, afterMs);
      } catch (error) {
        if (error instanceof CancelledError) return;
        if (error instanceof StatusError) log.debug({ err: error, key }, 'refused, trying again');
        else log.error({ err: error, key }, 'failed, trying again');
        enqueue(key, retryMs);
      }
    }
  };
  const stop = () => wake.abort();
  signal.addEventListener('abort', stop);
  try {
    const follows = sources.map(({ resource, keysOf }) =>
      follow(components, resource, { signal }, async ({ object }) => {
        for (const key of keysOf(object)) enqueue(key, 0);
      }),
    );
    await Promise.all([...follows, work()]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
