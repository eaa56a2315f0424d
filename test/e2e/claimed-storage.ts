/** A directory of the edge's machine as a PersistentVolume, and the claim that is bound to it. */

import type { KubeApi } from '#cloudcore/kube/kube-api.ts';

export async function createClaimedStorage(
  api: KubeApi,
  { namespace, claim, volume, path }: { namespace: string; claim: string; volume: string; path: string },
): Promise<void> {
  const fields = { accessModes: ['ReadWriteOnce'], storageClassName: '' };
  const capacity = { storage: '1Mi' };
  await api.create(
    { apiVersion: 'v1', plural: 'persistentvolumes' },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: volume },
      spec: { ...fields, capacity, claimRef: { namespace, name: claim }, hostPath: { path } },
    },
  );
  await api.create(
    { apiVersion: 'v1', plural: 'persistentvolumeclaims', namespace },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: claim, namespace },
      spec: { ...fields, volumeName: volume, resources: { requests: capacity } },
    },
  );
}
