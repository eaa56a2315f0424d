import { describe, expect, it } from 'vitest';
import type { JsonObject, KubeObject } from '../kube-object.ts';
import { selectsNode } from './node-fit.ts';

const node: KubeObject = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'n', labels: { zone: 'a', cpus: '4' } },
};

const terms = (...nodeSelectorTerms: JsonObject[]): JsonObject => ({
  affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } },
});
const expression = (key: string, operator: string, ...values: string[]): JsonObject => ({
  matchExpressions: [{ key, operator, values }],
});

describe('the nodes that a pod asks for', () => {
  it.each<[boolean, JsonObject]>([
    [true, {}],
    [true, { nodeSelector: { zone: 'a' } }],
    [false, { nodeSelector: { zone: 'b' } }],
    [false, { nodeSelector: { constructor: 'x' } }],
    [true, terms(expression('zone', 'In', 'a', 'b'))],
    [false, terms(expression('zone', 'NotIn', 'a'))],
    [true, terms(expression('zone', 'Exists'))],
    [false, terms(expression('zone', 'DoesNotExist'))],
    [true, terms(expression('cpus', 'Gt', '3'))],
    [false, terms(expression('cpus', 'Lt', '3'))],
    [true, terms(expression('zone', 'In', 'b'), expression('cpus', 'Exists'))],
    [true, terms({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n'] }] })],
    [false, terms({ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['m'] }] })],
    [false, terms({})],
    [false, terms(expression('zone', 'Near', 'a'))],
  ])('%s for %j', (expected, spec) => {
    expect(selectsNode(spec, node)).toBe(expected);
  });
});
