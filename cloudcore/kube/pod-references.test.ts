import { describe, expect, it } from 'vitest';
import { referencesOf } from './pod-references.ts';

describe('referencesOf', () => {
  it('finds names in volumes, projections, environment, init containers and image pulls', () => {
    const env = (name: string, kind: string) => ({
      name,
      valueFrom: { [`${kind}KeyRef`]: { name, key: 'k' } },
    });
    const found = referencesOf({
      metadata: { name: 'p', namespace: 'default' },
      spec: {
        serviceAccountName: 'robot',
        imagePullSecrets: [{ name: 'pull' }],
        volumes: [
          { name: 'v1', configMap: { name: 'volume-map' } },
          { name: 'v2', secret: { secretName: 'volume-secret' } },
          {
            name: 'v3',
            projected: {
              sources: [
                { configMap: { name: 'kube-root-ca.crt' } },
                { secret: { name: 'projected-secret' } },
                { serviceAccountToken: { path: 'token' } },
              ],
            },
          },
          { name: 'v4', persistentVolumeClaim: { claimName: 'claim' } },
          { name: 'v5', emptyDir: {} },
        ],
        initContainers: [{ name: 'i', envFrom: [{ secretRef: { name: 'init-secret' } }] }],
        containers: [
          {
            name: 'c',
            env: [env('env-map', 'configMap'), env('env-secret', 'secret'), { name: 'X', value: '1' }],
          },
          { name: 'd', envFrom: [{ configMapRef: { name: 'from-map' } }], env: null },
        ],
      },
    });
    expect([...found.configMaps].sort()).toEqual(['env-map', 'from-map', 'kube-root-ca.crt', 'volume-map']);
    expect([...found.secrets].sort()).toEqual([
      'env-secret',
      'init-secret',
      'projected-secret',
      'pull',
      'volume-secret',
    ]);
    expect([...found.claims]).toEqual(['claim']);
    expect(found.serviceAccount).toBe('robot');
  });

  it('names nothing for shapes that it does not know', () => {
    const odd = {
      volumes: 'none',
      containers: [{ name: 'c', env: 7, envFrom: [null] }],
      imagePullSecrets: [{}],
    };
    const found = referencesOf({ metadata: { name: 'p' }, spec: odd });
    expect(found.configMaps.size + found.secrets.size).toBe(0);
    expect(referencesOf({ metadata: { name: 'p' } }).serviceAccount).toBe('default');
  });
});
