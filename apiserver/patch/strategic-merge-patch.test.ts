import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { objectType } from '../builtin-types/type-table.ts';
import type { JsonObject } from '../kube-object.ts';
import { strategicMergePatch } from './strategic-merge-patch.ts';

function patched(target: JsonObject, patch: JsonObject, typeName = 'core.Pod'): JsonObject {
  const type = objectType(typeName);
  if (type === undefined) throw new Error(`no type ${typeName}`);
  return strategicMergePatch(target, patch, type);
}

const pod = {
  metadata: { name: 'p', labels: { a: '1' }, finalizers: ['x'] },
  spec: {
    containers: [
      { name: 'a', image: 'a:1', env: [{ name: 'X', value: '1' }] },
      { name: 'b', image: 'b:1' },
    ],
    tolerations: [{ key: 'k' }],
  },
};

describe('strategic merge patch', () => {
  it('merges containers and their env by name', () => {
    const result = patched(pod, {
      spec: {
        containers: [
          { name: 'a', env: [{ name: 'Y', value: '2' }] },
          { name: 'c', image: 'c:1' },
        ],
      },
    });
    expect(result.spec).toEqual({
      containers: [
        {
          name: 'a',
          image: 'a:1',
          env: [
            { name: 'X', value: '1' },
            { name: 'Y', value: '2' },
          ],
        },
        { name: 'b', image: 'b:1' },
        { name: 'c', image: 'c:1' },
      ],
      tolerations: [{ key: 'k' }],
    });
  });

  it('replaces lists that have no merge key', () => {
    expect(patched(pod, { spec: { tolerations: [{ key: 'z' }] } })).toMatchObject({
      spec: { tolerations: [{ key: 'z' }] },
    });
  });

  it('unites and deletes values of a set', () => {
    expect(patched(pod, { metadata: { finalizers: ['y', 'x'] } })).toMatchObject({
      metadata: { finalizers: ['x', 'y'] },
    });
    const patch = { metadata: { '$deleteFromPrimitiveList/finalizers': ['x'] } };
    expect(patched(pod, patch)).toMatchObject({ metadata: { finalizers: [] } });
  });

  it('deletes items and fields', () => {
    const patch = {
      metadata: { labels: { a: null } },
      spec: { containers: [{ name: 'a', $patch: 'delete' }] },
    };
    expect(patched(pod, patch)).toEqual({
      metadata: { name: 'p', labels: {}, finalizers: ['x'] },
      spec: { containers: [{ name: 'b', image: 'b:1' }], tolerations: [{ key: 'k' }] },
    });
  });

  it('replaces a list or an object by directive', () => {
    const list = { spec: { containers: [{ $patch: 'replace' }, { name: 'z', image: 'z' }] } };
    expect(patched(pod, list)).toMatchObject({ spec: { containers: [{ name: 'z', image: 'z' }] } });
    const object = { metadata: { labels: { $patch: 'replace', b: '2' } } };
    expect(patched(pod, object).metadata).toEqual({ name: 'p', labels: { b: '2' }, finalizers: ['x'] });
  });

  it('orders lists as the patch says, with the others where they were', () => {
    const patch = {
      spec: {
        '$setElementOrder/containers': [{ name: 'new' }, { name: 'b' }],
        containers: [{ name: 'new', image: 'n' }],
      },
    };
    const containers = [{ name: 'new', image: 'n' }, pod.spec.containers[0], pod.spec.containers[1]];
    expect(patched(pod, patch)).toMatchObject({ spec: { containers } });
  });

  it('loses no item when two have the same merge key', () => {
    const ports = [
      { containerPort: 53, protocol: 'TCP' },
      { containerPort: 53, protocol: 'UDP' },
    ];
    const target = { spec: { containers: [{ name: 'a', ports }] } };
    const order = [{ containerPort: 53 }, { containerPort: 53 }];
    const patch = { spec: { containers: [{ name: 'a', '$setElementOrder/ports': order }] } };
    expect(patched(target, patch)).toEqual(target);
  });

  it('retains only the named keys of a volume or strategy', () => {
    const target = { spec: { volumes: [{ name: 'v', emptyDir: {} }] } };
    const patch = {
      spec: { volumes: [{ name: 'v', $retainKeys: ['name', 'configMap'], configMap: { name: 'c' } }] },
    };
    expect(patched(target, patch)).toEqual({ spec: { volumes: [{ name: 'v', configMap: { name: 'c' } }] } });
  });

  it('keeps nulls and directives out of what is new', () => {
    const patch = {
      spec: { volumes: [{ name: 'v', emptyDir: {}, configMap: null }], nodeSelector: { a: null, b: 'c' } },
    };
    expect(patched({}, patch)).toEqual({
      spec: { volumes: [{ name: 'v', emptyDir: {} }], nodeSelector: { b: 'c' } },
    });
  });

  it('merges node conditions and addresses by type, and replaces taints', () => {
    const node = {
      spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] },
      status: {
        conditions: [{ type: 'Ready', status: 'True' }],
        addresses: [{ type: 'Hostname', address: 'h' }],
      },
    };
    const patch = {
      spec: { taints: [{ key: 'b', effect: 'NoExecute' }] },
      status: {
        conditions: [
          { type: 'Ready', status: 'False' },
          { type: 'Disk', status: 'True' },
        ],
        addresses: [{ type: 'InternalIP', address: '1.2.3.4' }],
      },
    };
    expect(patched(node, patch, 'core.Node')).toEqual({
      spec: { taints: [{ key: 'b', effect: 'NoExecute' }] },
      status: {
        conditions: [
          { type: 'Ready', status: 'False' },
          { type: 'Disk', status: 'True' },
        ],
        addresses: [
          { type: 'Hostname', address: 'h' },
          { type: 'InternalIP', address: '1.2.3.4' },
        ],
      },
    });
  });

  it('refuses items without their key and unknown directives', () => {
    expect(() => patched(pod, { spec: { containers: [{ image: 'x' }] } })).toThrow(/merge key "name"/);
    expect(() => patched(pod, { spec: { $patch: 'shred' } })).toThrow(/directive/);
    expect(() => patched(pod, { spec: { $retainKeys: 'a' } })).toThrow(/directive/);
  });

  it('changes nothing when applied again, and keeps __proto__ a key', () => {
    const names = fc.constantFrom('a', 'b', 'c', '__proto__', 'constructor');
    const labels = fc.dictionary(names, fc.option(fc.string(), { nil: null }));
    const container = fc.record({
      name: names,
      image: fc.string(),
      env: fc.uniqueArray(fc.record({ name: names, value: fc.string() }), { selector: (e) => e.name }),
    });
    const containers = fc.uniqueArray(container, { selector: (item) => item.name });
    fc.assert(
      fc.property(labels, containers, containers, (label, before, after) => {
        const target = { metadata: {}, spec: { containers: before } };
        const patch = { metadata: { labels: label }, spec: { containers: after } };
        const once = patched(target, patch);
        expect(patched(once, patch)).toEqual(once);
        expect(Object.getPrototypeOf(once.metadata)).toBe(Object.prototype);
      }),
    );
  });
});
