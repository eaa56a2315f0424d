import { describe, expect, it } from 'vitest';
import { parseQuantity } from '#protocol/quantity.ts';
import { type ClusterObjects, ObjectUnavailableError } from '../cluster-objects.ts';
import { podSchema } from '../pod/pod.ts';
import { resolveEnv } from './env.ts';
import { expand } from './expand.ts';

const around = {
  nodeName: 'edge-1',
  hostIp: '192.0.2.7',
  podIp: '192.0.2.7',
  allocatable: { cpu: '4', memory: '8Gi' },
};

function objectsOf(known: Record<string, Record<string, string>>): ClusterObjects {
  return {
    async data(kind, namespace, name) {
      const entries = known[`${namespace}/${kind}/${name}`];
      return entries && new Map(Object.entries(entries).map(([key, value]) => [key, Buffer.from(value)]));
    },
    token: () =>
      Promise.reject(new ObjectUnavailableError('none', { code: 'object-unavailable', resource: '' })),
  };
}

async function envOf(container: Record<string, unknown>, known: Record<string, Record<string, string>> = {}) {
  const pod = podSchema.parse({
    metadata: { name: 'p', namespace: 'n', uid: 'u', labels: { app: 'web' } },
    spec: { serviceAccountName: 'sa', containers: [{ name: 'c', ...container }] },
  });
  const [main] = pod.spec.containers;
  if (main === undefined) throw new Error('no container');
  return Object.fromEntries(await resolveEnv(pod, main, objectsOf(known), around));
}

describe('$(NAME)', () => {
  const known = new Map([
    ['A', 'one'],
    ['B', '$(A)'],
  ]);
  it.each([
    ['$(A)', 'one'],
    ['x$(A)y$(A)', 'xoneyone'],
    ['$(B)', '$(A)'],
    ['$(UNKNOWN)', '$(UNKNOWN)'],
    ['$$(A)', '$(A)'],
    ['$$$(A)', '$one'],
    ['$A {A} $', '$A {A} $'],
    ['$(A', '$(A'],
  ])('%s becomes %s', (text, wanted) => expect(expand(text, known)).toBe(wanted));
});

describe('environment', () => {
  it('takes envFrom first, then env, and lets a value use those before it', async () => {
    const env = await envOf(
      {
        envFrom: [{ configMapRef: { name: 'm' } }, { prefix: 'S_', secretRef: { name: 's' } }],
        env: [
          { name: 'A', value: 'own' },
          { name: 'B', value: '$(A)-$(S_KEY)-$(C)' },
          { name: 'C', value: 'late' },
          { name: 'EMPTY' },
        ],
      },
      { 'n/configmap/m': { A: 'map', D: 'd' }, 'n/secret/s': { KEY: 'secret' } },
    );
    expect(env).toEqual({ A: 'own', D: 'd', S_KEY: 'secret', B: 'own-secret-$(C)', C: 'late', EMPTY: '' });
  });

  it('reads keys, fields and resources', async () => {
    const from = (name: string, valueFrom: object) => ({ name, valueFrom });
    const env = await envOf(
      {
        resources: { limits: { cpu: '1500m' }, requests: { memory: '64Mi' } },
        env: [
          from('KEY', { configMapKeyRef: { name: 'm', key: 'k' } }),
          from('NAME', { fieldRef: { fieldPath: 'metadata.name' } }),
          from('LABEL', { fieldRef: { fieldPath: "metadata.labels['app']" } }),
          from('NODE', { fieldRef: { fieldPath: 'spec.nodeName' } }),
          from('IP', { fieldRef: { fieldPath: 'status.podIP' } }),
          from('CPU', { resourceFieldRef: { resource: 'limits.cpu' } }),
          from('CPU_M', { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } }),
          from('MEM', { resourceFieldRef: { resource: 'requests.memory', divisor: '1Mi' } }),
          from('MEM_LIMIT', { resourceFieldRef: { resource: 'limits.memory', divisor: '1Gi' } }),
        ],
      },
      { 'n/configmap/m': { k: 'v' } },
    );
    expect(env).toEqual({
      KEY: 'v',
      NAME: 'p',
      LABEL: 'web',
      NODE: 'edge-1',
      IP: '192.0.2.7',
      CPU: '2',
      CPU_M: '1500',
      MEM: '64',
      MEM_LIMIT: '8',
    });
  });

  it('leaves out what is optional and names what is missing', async () => {
    const key = (optional?: boolean) => ({ secretKeyRef: { name: 's', key: 'k', optional } });
    expect(
      await envOf({
        env: [{ name: 'A', valueFrom: key(true) }],
        envFrom: [{ secretRef: { name: 's', optional: true } }],
      }),
    ).toEqual({});
    await expect(envOf({ env: [{ name: 'A', valueFrom: key() }] })).rejects.toThrow('secret "s" not found');
    await expect(envOf({ env: [{ name: 'A', valueFrom: key() }] }, { 'n/secret/s': {} })).rejects.toThrow(
      `couldn't find key k in Secret n/s`,
    );
    await expect(envOf({ envFrom: [{ configMapRef: { name: 'm' } }] })).rejects.toThrow(
      'configmap "m" not found',
    );
    await expect(
      envOf({ env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'status.nonsense' } } }] }),
    ).rejects.toThrow('status.nonsense');
  });
});

it.each([
  ['1', 1],
  ['250m', 0.25],
  ['1Gi', 2 ** 30],
  ['1e3', 1000],
  ['12E', 12e18],
  ['x', Number.NaN],
])('quantity %s', (text, wanted) => expect(parseQuantity(text)).toBe(wanted));
