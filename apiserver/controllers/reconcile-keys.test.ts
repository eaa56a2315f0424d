import { describe, expect, it } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { type Api, resource, type WatchEvent } from '../api.ts';
import type { KubeObject } from '../kube-object.ts';
import { reconcileKeys } from './reconcile-keys.ts';

const pod = (name: string): KubeObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name } });

/** An API that can only be watched: these objects, then silence. */
function watched(...objects: KubeObject[]): Api {
  const no = () => {
    throw new Error('only watched here');
  };
  async function* watch(_: unknown, { signal }: { signal: AbortSignal }): AsyncGenerator<WatchEvent> {
    for (const object of objects) yield { type: 'ADDED', object, revision: 1 };
    if (!signal.aborted)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }
  return { get: no, list: no, watch, create: no, update: no, patch: no, delete: no };
}

/** Reconciles until `done` says so; resolves with the keys in the order they came. */
async function reconciled(
  objects: KubeObject[],
  act: (key: string, seen: readonly string[]) => number | undefined,
  done: (seen: readonly string[]) => boolean,
): Promise<readonly string[]> {
  const stop = new AbortController();
  const seen: string[] = [];
  const sources = [{ resource: resource.pods, keysOf: ({ metadata }: KubeObject) => [metadata.name] }];
  const components = { api: watched(...objects), clock: systemClock, log: silentLog };
  const reconcile = async (key: string) => {
    seen.push(key);
    if (done(seen)) stop.abort();
    return act(key, seen);
  };
  await reconcileKeys(components, sources, reconcile, stop.signal);
  return seen;
}

describe('reconciling keys', () => {
  it('looks at every object and ends with its signal', async () => {
    const seen = await reconciled(
      [pod('a'), pod('b')],
      () => undefined,
      ({ length }) => length === 2,
    );
    expect(seen.toSorted()).toEqual(['a', 'b']);
  });

  it('comes back when it was asked to', async () => {
    const seen = await reconciled(
      [pod('a')],
      () => 5,
      ({ length }) => length === 3,
    );
    expect(seen).toEqual(['a', 'a', 'a']);
  });

  it('tries again what failed, and goes on with the others', async () => {
    const act = (key: string, seen: readonly string[]) => {
      if (key === 'a' && seen.filter((each) => each === 'a').length === 1) throw new Error('broken');
      return undefined;
    };
    const seen = await reconciled(
      [pod('a'), pod('b')],
      act,
      (keys) => keys.filter((key) => key === 'a').length === 2,
    );
    expect(seen).toContain('b');
  });
});
