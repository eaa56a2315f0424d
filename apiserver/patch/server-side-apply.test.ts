import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { builtInResources } from '../builtin-resources.ts';
import type { JsonObject, KubeObject } from '../kube-object.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { StatusError } from '../status-error.ts';
import { readManagers, recordUpdate, type Writer } from './managed-fields.ts';
import { applyConfiguration } from './server-side-apply.ts';

const nowMs = Date.UTC(2026, 0, 1);

function definition(kind: string): ResourceDefinition {
  const found = builtInResources.find((each) => each.kind === kind);
  if (found === undefined) throw new Error(`no ${kind}`);
  return found;
}

function writer(manager: string, kind = 'ConfigMap', subresource?: string): Writer {
  return { definition: definition(kind), manager, subresource, nowMs };
}

function configMap(data: JsonObject, metadata: JsonObject = {}): KubeObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { ...metadata, name: 'c' }, data };
}

const apply = (current: KubeObject | undefined, applied: KubeObject, by: Writer, force = false) =>
  applyConfiguration(current, applied, { ...by, force });

const conflictOf = (act: () => unknown): StatusError => {
  try {
    act();
  } catch (error) {
    if (error instanceof StatusError) return error;
  }
  throw new Error('no conflict');
};

const [a, b] = [writer('a'), writer('b')];

describe('server-side apply of a configmap', () => {
  it('creates, and records what the manager stated', () => {
    const made = apply(undefined, configMap({ x: '1' }, { labels: { l: 'v' } }), a);
    expect(made).toEqual({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      data: { x: '1' },
      metadata: {
        name: 'c',
        labels: { l: 'v' },
        managedFields: [
          {
            manager: 'a',
            operation: 'Apply',
            apiVersion: 'v1',
            time: '2026-01-01T00:00:00Z',
            fieldsType: 'FieldsV1',
            fieldsV1: { 'f:data': { 'f:x': {} }, 'f:metadata': { 'f:labels': { 'f:l': {} } } },
          },
        ],
      },
    });
  });

  it('removes what its manager no longer states, and nothing of others', () => {
    const first = apply(undefined, configMap({ x: '1', y: '2' }), a);
    const second = apply(first, configMap({ z: '3' }), b);
    expect(apply(second, configMap({ x: '1' }), a).data).toEqual({ x: '1', z: '3' });
  });

  it('leaves a field that another manager states too', () => {
    const first = apply(undefined, configMap({ x: '1', y: '2' }), a);
    const second = apply(first, configMap({ y: '2' }), b);
    const third = apply(second, configMap({ x: '1' }), a);
    expect(third.data).toEqual({ x: '1', y: '2' });
    expect(apply(third, configMap({}), b).data).toEqual({ x: '1' });
  });

  it('answers a conflict as kubectl reads it', () => {
    const first = apply(undefined, configMap({ x: '1', y: '2' }), a);
    const error = conflictOf(() => apply(first, configMap({ x: '9' }), b));
    expect(error.toStatus()).toMatchObject({
      code: 409,
      reason: 'Conflict',
      message: 'Apply failed with 1 conflict: conflict with "a" using v1: .data.x',
      details: {
        causes: [{ reason: 'FieldManagerConflict', message: 'conflict with "a" using v1', field: '.data.x' }],
      },
    });
    const both = conflictOf(() => apply(first, configMap({ x: '9', y: '9' }), b));
    expect(both.message).toBe(
      'Apply failed with 2 conflicts: conflicts with "a" using v1:\n- .data.x\n- .data.y',
    );
  });

  it('takes the field over when forced, and its former manager then conflicts', () => {
    const first = apply(undefined, configMap({ x: '1', y: '2' }), a);
    const forced = apply(first, configMap({ x: '9' }), b, true);
    expect(forced.data).toEqual({ x: '9', y: '2' });
    expect(conflictOf(() => apply(forced, configMap({ x: '1', y: '2' }), a)).message).toContain('"b"');
    expect(apply(forced, configMap({ y: '2' }), a).data).toEqual({ x: '9', y: '2' });
  });

  it('keeps server-set metadata and the time of an apply that changed nothing', () => {
    const first = apply(undefined, configMap({ x: '1' }), a);
    const stored = { ...first, metadata: { ...first.metadata, uid: 'u', resourceVersion: '7' } };
    expect(apply(stored, configMap({ x: '1' }), { ...a, nowMs: nowMs + 60_000 })).toEqual(stored);
  });

  it('keeps __proto__ a key', () => {
    const applied: KubeObject = JSON.parse(
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"__proto__":"x"}}',
    );
    const made = apply(undefined, applied, a);
    expect(JSON.stringify(made.data)).toBe('{"__proto__":"x"}');
    expect(apply(made, configMap({ y: '1' }), a).data).toEqual({ y: '1' });
  });

  it('is the same when done twice, and ends with what was stated', () => {
    const data = fc.dictionary(fc.constantFrom('a', 'b', 'c', '__proto__'), fc.constantFrom('1', '2'));
    fc.assert(
      fc.property(data, data, data, (first, second, third) => {
        const made = apply(undefined, configMap(first), a);
        const shared = apply(made, configMap(second), b, true);
        const once = apply(shared, configMap(third), a, true);
        expect(apply(once, configMap(third), a)).toEqual(once);
        const found = new Map(Object.entries(once.data ?? {}));
        for (const [key, value] of Object.entries(third)) expect(found.get(key)).toBe(value);
        for (const key of found.keys())
          expect(Object.hasOwn(second, key) || Object.hasOwn(third, key)).toBe(true);
      }),
    );
  });
});

describe('server-side apply of a deployment', () => {
  const by = (manager: string) => writer(manager, 'Deployment');
  const deployment = (containers: JsonObject[], more: JsonObject = {}): KubeObject => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'd' },
    spec: { ...more, template: { spec: { containers } } },
  });

  it('merges containers by name and ports by number and protocol', () => {
    const first = apply(
      undefined,
      deployment([{ name: 'web', image: 'w:1', ports: [{ containerPort: 80 }] }]),
      by('a'),
    );
    const second = apply(first, deployment([{ name: 'side', image: 's:1' }]), by('b'));
    const third = apply(
      second,
      deployment([{ name: 'web', ports: [{ containerPort: 80, protocol: 'TCP', name: 'http' }] }]),
      by('c'),
    );
    expect(third.spec).toEqual({
      template: {
        spec: {
          containers: [
            { name: 'web', image: 'w:1', ports: [{ containerPort: 80, protocol: 'TCP', name: 'http' }] },
            { name: 'side', image: 's:1' },
          ],
        },
      },
    });
  });

  it('removes a container that is no longer stated', () => {
    const both = [
      { name: 'web', image: 'w:1' },
      { name: 'side', image: 's:1' },
    ];
    const first = apply(undefined, deployment(both), by('a'));
    expect(apply(first, deployment([{ name: 'web', image: 'w:2' }]), by('a'))).toMatchObject({
      spec: { template: { spec: { containers: [{ name: 'web', image: 'w:2' }] } } },
    });
  });

  it('leaves alone what an update changed, and conflicts about it', () => {
    const first = apply(undefined, deployment([{ name: 'web', image: 'w:1' }], { replicas: 1 }), by('a'));
    const scaled = recordUpdate(
      first,
      { ...first, spec: { ...Object(first.spec), replicas: 5 } },
      by('scaler'),
    );
    const without = apply(scaled, deployment([{ name: 'web', image: 'w:2' }]), by('a'));
    expect(without).toMatchObject({ spec: { replicas: 5 } });
    const again = conflictOf(() =>
      apply(scaled, deployment([{ name: 'web', image: 'w:1' }], { replicas: 1 }), by('a')),
    );
    expect(again.message).toContain('conflict with "scaler" using apps/v1: .spec.replicas');
  });

  it('names list items in conflicts', () => {
    const first = apply(undefined, deployment([{ name: 'web', image: 'w:1' }]), by('a'));
    const error = conflictOf(() => apply(first, deployment([{ name: 'web', image: 'w:2' }]), by('b')));
    expect(error.message).toContain('.spec.template.spec.containers[name="web"].image');
  });
});

describe('server-side apply of a custom resource', () => {
  const device: ResourceDefinition = {
    ...definition('ConfigMap'),
    group: 'example.io',
    kind: 'Device',
    custom: true,
    schema: {
      type: 'object',
      properties: {
        spec: {
          type: 'object',
          properties: {
            keyed: {
              type: 'array',
              'x-kubernetes-list-type': 'map',
              'x-kubernetes-list-map-keys': ['name'],
              items: { type: 'object', properties: { name: { type: 'string' }, v: { type: 'integer' } } },
            },
            plain: { type: 'array', items: { type: 'integer' } },
            set: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
          },
        },
      },
    },
  };
  const by = (manager: string): Writer => ({ definition: device, manager, nowMs });
  const object = (spec: JsonObject): KubeObject => ({
    apiVersion: 'example.io/v1',
    kind: 'Device',
    metadata: { name: 'd' },
    spec,
  });

  it('follows the list types of the schema', () => {
    const first = apply(undefined, object({ keyed: [{ name: 'x', v: 1 }], set: ['p'] }), by('a'));
    const second = apply(first, object({ keyed: [{ name: 'y', v: 2 }], set: ['q'] }), by('b'));
    expect(second.spec).toEqual({
      keyed: expect.arrayContaining([
        { name: 'x', v: 1 },
        { name: 'y', v: 2 },
      ]),
      set: expect.arrayContaining(['p', 'q']),
    });
    expect(apply(second, object({}), by('a')).spec).toEqual({ keyed: [{ name: 'y', v: 2 }], set: ['q'] });
    const whole = apply(undefined, object({ plain: [1] }), by('a'));
    expect(conflictOf(() => apply(whole, object({ plain: [1, 2] }), by('b'))).message).toContain(
      '.spec.plain',
    );
  });
});

describe('recording updates', () => {
  it('gives changed fields to the writer and takes them from others', () => {
    const first = apply(undefined, configMap({ x: '1', y: '2' }), a);
    const updated = recordUpdate(first, { ...first, data: { x: '9', z: '3' } }, b);
    const owned = Object.fromEntries(
      (updated.metadata.managedFields ?? []).map((each) => [each.manager, each.fieldsV1]),
    );
    expect(owned).toEqual({ b: { 'f:data': { 'f:x': {}, 'f:z': {} } } });
  });

  it('keeps the status apart from the rest', () => {
    const pod: KubeObject = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p' },
      spec: { nodeName: 'n' },
    };
    const made = recordUpdate(undefined, pod, writer('a', 'Pod'));
    const reported = recordUpdate(
      made,
      { ...made, status: { phase: 'Running' } },
      writer('edge', 'Pod', 'status'),
    );
    expect(reported.metadata.managedFields).toMatchObject([
      { manager: 'a', fieldsV1: { 'f:spec': { 'f:nodeName': {} } } },
      { manager: 'edge', subresource: 'status', fieldsV1: { 'f:status': { 'f:phase': {} } } },
    ]);
  });

  it('believes managedFields that a client rewrote', () => {
    const made = recordUpdate(undefined, configMap({ x: '1' }), writer('kubectl-client-side-apply'));
    const entries = (made.metadata.managedFields ?? []).map((entry) => ({
      ...entry,
      manager: 'kubectl',
      operation: 'Apply',
    }));
    const migrated = recordUpdate(
      made,
      { ...made, metadata: { ...made.metadata, managedFields: entries } },
      b,
    );
    expect(readManagers(migrated.metadata.managedFields)).toMatchObject([
      { name: 'kubectl', operation: 'Apply' },
    ]);
    const applied = apply(migrated, configMap({ x: '2' }), writer('kubectl'));
    expect(applied.data).toEqual({ x: '2' });
  });

  it('lets kubectl move from client-side to server-side apply without a conflict', () => {
    const annotation = 'kubectl.kubernetes.io/last-applied-configuration';
    const annotations = { [annotation]: JSON.stringify(configMap({ x: '1' })) };
    const made = recordUpdate(
      undefined,
      configMap({ x: '1', y: '1' }, { annotations }),
      writer('kubectl-client-side-apply'),
    );
    const applied = apply(made, configMap({ x: '2' }), writer('kubectl'));
    expect(applied.data).toEqual({ x: '2', y: '1' });
    expect(JSON.parse(applied.metadata.annotations?.[annotation] ?? '')).toEqual(configMap({ x: '2' }));
    expect(conflictOf(() => apply(made, configMap({ x: '2' }), b)).message).toContain('.data.x');
    expect(conflictOf(() => apply(made, configMap({ y: '2' }), writer('kubectl'))).message).toContain(
      '.data.y',
    );
    const garbled = { ...made, metadata: { ...made.metadata, annotations: { [annotation]: '{' } } };
    expect(conflictOf(() => apply(garbled, configMap({ x: '2' }), writer('kubectl'))).message).toContain(
      '.data.x',
    );
  });

  it('bounds the managers that updated', () => {
    let object = configMap({});
    for (let i = 0; i < 15; i += 1) {
      const data = { ...Object(object.data), [`k${i}`]: 'v' };
      object = recordUpdate(object, { ...object, data }, { ...writer(`m${i}`), nowMs: nowMs + i * 1000 });
    }
    const managers = (object.metadata.managedFields ?? []).map(({ manager }) => manager);
    expect(managers).toHaveLength(10);
    expect(managers).toContain('ancient-changes');
    expect(managers).toContain('m14');
  });
});
