/**
 * What reads input from outside looks at each part of it once. Each compared with each would take these inputs many
 * minutes, and so the deadline of a test tells the two apart on any machine.
 */

import { expect, test } from 'vitest';
import { objectType } from '#apiserver/builtin-types/type-table.ts';
import type { JsonObject, KubeObject } from '#apiserver/kube-object.ts';
import { jsonPatch, maxJsonPatchOperations } from '#apiserver/patch/json-patch.ts';
import { strategicMergePatch } from '#apiserver/patch/strategic-merge-patch.ts';
import { podStrategy } from '#apiserver/strategies/pod.ts';
import { parseYaml } from '#beehive/yaml.ts';

function many<T>(count: number, make: (at: number) => T): T[] {
  return Array.from({ length: count }, (_, at) => make(at));
}

test('YAML: keys of a map', () => {
  const count = 100_000;
  const text = many(count, (at) => `k${at}: 1\n`).join('');
  for (let round = 0; round < 4; round += 1) expect(Object.keys(Object(parseYaml(text)))).toHaveLength(count);
});

test('JSON patch: as many members removed as one may', () => {
  const count = 150_000;
  const target = Object.fromEntries(many(count, (at) => [`k${at}`, at]));
  const patch = many(maxJsonPatchOperations, (at) => ({ op: 'remove', path: `/k${at}` }));
  expect(Object.keys(Object(jsonPatch(target, patch)))).toHaveLength(count - maxJsonPatchOperations);
});

test('strategic merge patch: items of a keyed list', () => {
  const conditions = (status: string) => many(500_000, (at) => ({ type: `T${at}`, status }));
  const patch = { status: { conditions: conditions('False') } };
  expect(patched({ status: { conditions: conditions('True') } }, patch)).toEqual(patch);
});

test('strategic merge patch: values put into a set and taken out of it', () => {
  const finalizers = (prefix: string) => many(500_000, (at) => `${prefix}/${at}`);
  const [a, b] = [finalizers('a'), finalizers('b')];
  const both = { metadata: { finalizers: [...a, ...b] } };
  expect(patched({ metadata: { finalizers: a } }, { metadata: { finalizers: b } })).toEqual(both);
  const taken = patched(both, { metadata: { '$deleteFromPrimitiveList/finalizers': b } });
  expect(taken).toEqual({ metadata: { finalizers: a } });
});

test('tolerations of a pod that is changed', () => {
  const tolerations = many(100_000, (at) => ({ key: `t${at}` }));
  const pod: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p' },
    spec: { containers: [], tolerations },
  };
  expect(podStrategy.validateUpdate?.(pod, pod)).toEqual([]);
});

function patched(target: JsonObject, patch: JsonObject): JsonObject {
  const pod = objectType('core.Pod');
  if (pod === undefined) throw new Error('no type for pods');
  return strategicMergePatch(target, patch, pod);
}
