import { describe, expect, test } from 'vitest';
import type { JsonObject, KubeObject } from '../kube-object.ts';
import { amountOf, type NodeLoad, place } from './placement.ts';

function node(
  name: string,
  fields: { labels?: Record<string, string>; spec?: JsonObject; allocatable?: JsonObject } = {},
): KubeObject {
  const { labels = {}, spec = {}, allocatable } = fields;
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels },
    spec,
    status: allocatable === undefined ? {} : { allocatable },
  };
}

function pod(spec: JsonObject = {}): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p' },
    spec: { containers: [{ name: 'c' }], ...spec },
  };
}

const asking = (cpu: string) => pod({ containers: [{ name: 'c', resources: { requests: { cpu } } }] });
const empty = (of: KubeObject): NodeLoad => ({ node: of, pods: [] });
const refusal = (of: KubeObject, ...loads: NodeLoad[]) => {
  const placement = place(of, loads);
  return placement.node === undefined ? placement.message : `placed on ${placement.node}`;
};

describe('a pod goes', () => {
  test('where the fewest pods are', () => {
    const loads = [{ node: node('a'), pods: [pod()] }, empty(node('b'))];
    expect(place(pod(), loads)).toEqual({ node: 'b' });
  });

  test('where its selector and affinity point', () => {
    const loads = [empty(node('a')), empty(node('b', { labels: { zone: 'west' } }))];
    expect(place(pod({ nodeSelector: { zone: 'west' } }), loads)).toEqual({ node: 'b' });
    const terms = [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['a'] }] }];
    const nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } };
    expect(place(pod({ affinity: { nodeAffinity } }), loads)).toEqual({ node: 'a' });
  });

  test('where there is room', () => {
    const small = node('a', { allocatable: { cpu: '500m', pods: '110' } });
    const big = node('b', { allocatable: { cpu: '2', pods: '110' } });
    expect(place(asking('1'), [empty(small), empty(big)])).toEqual({ node: 'b' });
    const busy = { node: big, pods: [asking('1500m')] };
    expect(refusal(asking('1'), empty(small), busy)).toBe('0/2 nodes are available: 2 Insufficient cpu.');
    expect(place(asking('500m'), [busy])).toEqual({ node: 'b' });
  });

  test('nowhere, and why', () => {
    expect(refusal(pod())).toBe('no nodes available to schedule pods');
    const tainted = node('a', { spec: { taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] } });
    expect(refusal(pod(), empty(tainted))).toBe(
      '0/1 nodes are available: 1 node(s) had untolerated taint {k: v}.',
    );
    expect(refusal(pod({ tolerations: [{ key: 'k', operator: 'Exists' }] }), empty(tainted))).toBe(
      'placed on a',
    );
    expect(refusal(pod(), empty(node('a', { spec: { unschedulable: true } })))).toContain('unschedulable');
    const full = node('a', { allocatable: { pods: '1' } });
    expect(refusal(pod(), { node: full, pods: [pod()] })).toContain('Too many pods');
    const ports = pod({ containers: [{ name: 'c', ports: [{ hostPort: 80, protocol: 'TCP' }] }] });
    expect(refusal(ports, { node: node('a'), pods: [ports] })).toContain('free ports');
  });
});

test.each([
  ['100m', 0.1],
  ['1.5', 1.5],
  ['64Mi', 64 * 2 ** 20],
  ['1e3', 1000],
  ['2k', 2000],
  [3, 3],
  ['', 0],
  ['many', 0],
])('quantity %s is %s', (text, amount) => {
  expect(amountOf(text)).toBe(amount);
});
