import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { difference, type HeldVersion } from '#cloudcore/kube/difference.ts';
import { edgeRoleLabel } from '#protocol/names.ts';
import { formatObjectPath, type ObjectPath } from '#protocol/resource-path.ts';
import { type Cache, desiredOf, mayRemove } from './desired.ts';

const node = 'edge-1';

interface World {
  readonly edge: boolean;
  readonly pods: readonly string[];
  readonly secrets: readonly string[];
  readonly referenced: readonly string[];
  readonly synced: boolean;
}

function cacheOf(world: World): Cache {
  const uidOf = (path: ObjectPath) => `uid-of-${path.name}`;
  const exists = (path: ObjectPath) =>
    (path.type === 'node' && path.name === node) ||
    (path.type === 'pod' && world.pods.includes(path.name ?? '')) ||
    (path.type === 'secret' && world.secrets.includes(path.name ?? ''));
  const paths = world.referenced.map((name) => formatObjectPath({ namespace: 'd', type: 'secret', name }));
  return {
    known(path) {
      if (!exists(path)) return undefined;
      const labels = world.edge ? { [edgeRoleLabel]: '' } : {};
      const metadata = { name: path.name ?? '', labels };
      return { uid: uidOf(path), resourceVersion: '5', changedVersion: '5', object: { metadata } };
    },
    podsOf: () => world.pods.map((name) => ({ metadata: { name, namespace: 'd' } })),
    referencesOf: () => new Set(paths),
    references: (_node, path) => paths.includes(path),
    isSynced: () => world.synced,
  };
}

const name: fc.Arbitrary<string> = fc.constantFrom('a', 'b', 'c', 'd');
const world = fc.record({
  edge: fc.boolean(),
  pods: fc.uniqueArray(name),
  secrets: fc.uniqueArray(name),
  referenced: fc.uniqueArray(name),
  synced: fc.boolean(),
});
const held = fc
  .array(
    fc.tuple(
      fc.constantFrom('pod', 'secret', 'node', 'device', 'lease'),
      name,
      fc.boolean(),
      fc.constantFrom('4', '5'),
    ),
  )
  .map(
    (entries) =>
      new Map<string, HeldVersion>(
        entries.map(([type, of, current, version]) => [
          `${type === 'node' ? 'null' : 'd'}/${type}/${of}`,
          { uid: current ? `uid-of-${of}` : 'uid-of-another', version },
        ]),
      ),
  );

const removalsIn = (at: World, has: ReadonlyMap<string, HeldVersion>) => {
  const cache = cacheOf(at);
  const wanted = desiredOf(node, cache, { session: 'hawser', held: has });
  const steps = difference(wanted, has, (path, one) => mayRemove(node, cache, path, one));
  return steps.filter((step) => step.do === 'remove');
};

describe('what a node may lose', () => {
  it('is nothing while the cache has not been filled', () => {
    fc.assert(
      fc.property(world, held, (at, has) => {
        expect(removalsIn({ ...at, synced: false }, has)).toEqual([]);
      }),
    );
  });

  it('is never its Node, nor what another controller sends', () => {
    fc.assert(
      fc.property(world, held, (at, has) => {
        for (const { path } of removalsIn(at, has)) expect(path).toMatch(/^d\/(pod|secret)\//);
      }),
    );
  });

  it('is never a pod that exists, whatever the node is', () => {
    fc.assert(
      fc.property(world, held, (at, has) => {
        for (const { path, uid } of removalsIn({ ...at, synced: true }, has)) {
          const [, type, of] = path.split('/');
          if (type === 'pod' && at.pods.includes(of ?? '')) expect(uid).toBe('uid-of-another');
        }
      }),
    );
  });

  it('is no secret that exists while it is not (or no longer) an edge node', () => {
    fc.assert(
      fc.property(world, held, (at, has) => {
        for (const { path, uid } of removalsIn({ ...at, edge: false, synced: true }, has)) {
          const [, type, of] = path.split('/');
          if (type === 'secret' && at.secrets.includes(of ?? '')) expect(uid).toBe('uid-of-another');
        }
      }),
    );
  });
});
