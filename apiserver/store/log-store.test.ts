import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import type { KubeObject } from '../kube-object.ts';
import { limits } from '../limits.ts';
import { CompactedError, LogStore, StoreError } from './log-store.ts';

let directory: string;
let clock: ManualClock;
let store: LogStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'log-store-'));
  clock = new ManualClock();
  store = new LogStore(join(directory, 'state.db'), clock);
});

afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

function reopen(): void {
  store.close();
  store = new LogStore(join(directory, 'state.db'), clock);
}

function put(name: string, value = 1, storage = '/things'): Promise<void> {
  return store.put(storage, 'ns', (revision) => thing(name, value, revision)).durable;
}

function thing(name: string, value: number, revision: number): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Thing',
    metadata: { name, namespace: 'ns', uid: `uid-${name}`, resourceVersion: String(revision) },
    value,
  };
}

function remove(name: string): Promise<void> {
  return store.remove('/things', 'ns', name, (last, revision) => ({
    ...last,
    metadata: { ...last.metadata, resourceVersion: String(revision) },
  }));
}

const names = (revision: number) =>
  store
    .entriesAt('/things', revision, { limit: 100 })
    .entries.map((entry) => `${entry.name}=${String(entry.object.value)}`);

test('rows are numbered by revision, and a batch is one commit', async () => {
  const [a, b] = [put('a'), put('b')];
  expect(store.get('/things', 'ns', 'b')?.revision).toBe(2);
  expect(store.revision).toBe(0);
  await Promise.all([a, b]);
  expect(store.revision).toBe(2);
});

test('watchers hear of a change after its commit', async () => {
  let heard = 0;
  store.onChange('/things', () => {
    heard = store.revision;
  });
  const durable = put('a');
  expect(heard).toBe(0);
  await durable;
  expect(heard).toBe(1);
});

test('changes say what was there before, also out of the file', async () => {
  await put('a', 1);
  await put('a', 2);
  await remove('a');
  const seen = () =>
    store
      .changesAfter('/things', 0, 10)
      .map(({ revision, deleted, entry, previous }) => [
        revision,
        deleted,
        entry.object.value,
        previous?.object.value,
      ]);
  const expected = [
    [1, false, 1, undefined],
    [2, false, 2, 1],
    [3, true, 2, 2],
  ];
  expect(seen()).toEqual(expected);
  reopen();
  expect(seen()).toEqual(expected);
  expect(store.changesAfter('/things', 1, 1).map(({ revision }) => revision)).toEqual([2]);
});

test('the past can be listed until it is compacted', async () => {
  await put('a', 1);
  await put('b', 1);
  await put('a', 2);
  await remove('b');
  expect(names(2)).toEqual(['a=1', 'b=1']);
  expect(names(4)).toEqual(['a=2']);
  store.compactTo(3);
  expect(() => names(2)).toThrow(CompactedError);
  expect(names(3)).toEqual(['a=2', 'b=1']);
  expect(() => store.changesAfter('/things', 2, 10)).toThrow(CompactedError);
  expect(store.changesAfter('/things', 3, 10)).toHaveLength(1);
  reopen();
  expect(names(3)).toEqual(['a=2', 'b=1']);
  expect(() => store.changesAfter('/things', 2, 10)).toThrow(CompactedError);
});

test('pages follow each other', async () => {
  await Promise.all(['a', 'b', 'c'].map((name) => put(name)));
  const first = store.entriesAt('/things', 3, { limit: 2 });
  expect(first.more).toBe(true);
  const rest = store.entriesAt('/things', 3, { limit: 2, after: { namespace: 'ns', name: 'b' } });
  expect(rest.entries.map(({ name }) => name)).toEqual(['c']);
  expect(rest.more).toBe(false);
});

test('what is old is compacted, what is young is kept', async () => {
  await put('a', 1);
  await put('a', 2);
  await clock.advance(limits.historyMs + 1);
  await put('a', 3);
  await put('a', 4);
  store.compact();
  expect(() => store.changesAfter('/things', 1, 10)).toThrow(CompactedError);
  expect(store.changesAfter('/things', 2, 10)).toHaveLength(2);
});

test('stored objects cannot be changed', async () => {
  await put('a');
  const found = store.get('/things', 'ns', 'a')?.object;
  expect(() => {
    if (found !== undefined) found.metadata.name = 'b';
  }).toThrow(TypeError);
});

test('too large an object is refused and takes nothing with it', async () => {
  const other = put('other');
  expect(() =>
    store.put('/things', 'ns', (revision) => ({
      ...thing('big', 1, revision),
      text: 'x'.repeat(limits.objectBytes),
    })),
  ).toThrow(StoreError);
  await other;
  expect(store.get('/things', 'ns', 'big')).toBeUndefined();
  await put('next');
  expect(store.revision).toBe(2);
});

test('the file is private', () => {
  expect(statSync(join(directory, 'state.db')).mode & 0o077).toBe(0);
});

test('any run of writes reads the same after a restart', async () => {
  const step = fc.record({
    name: fc.constantFrom('a', 'b', 'c'),
    value: fc.nat(9),
    gone: fc.boolean(),
    wait: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      for (const { name, value, gone, wait } of steps) {
        const done = gone ? remove(name) : put(name, value);
        if (wait) await done;
      }
      await store.settled();
      const before = {
        present: names(store.revision),
        revision: store.revision,
        changes: store.changesAfter('/things', 0, 1_000),
      };
      const inMemory = store.entries('/things').map((entry) => `${entry.name}=${String(entry.object.value)}`);
      expect(inMemory.sort()).toEqual(before.present);
      reopen();
      expect({
        present: names(store.revision),
        revision: store.revision,
        changes: store.changesAfter('/things', 0, 1_000),
      }).toEqual(before);
    }),
    { numRuns: 30 },
  );
});
