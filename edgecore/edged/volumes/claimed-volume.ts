/**
 * Where a claim of a pod leads: to the volume that it is bound to, when that is a place on this machine (hostPath or
 * local). Volumes that need a driver are not for this edge. The objects come from MetaManager like configMaps do.
 */

import { z } from 'zod';
import type { ClaimObjects } from '../cluster-objects.ts';
import { ContainerConfigError } from '../container/env.ts';

const claimSchema = z.looseObject({
  metadata: z.looseObject({ uid: z.string().optional() }),
  spec: z.looseObject({ volumeName: z.string().nullish(), volumeMode: z.string().nullish() }),
});

const volumeSchema = z.looseObject({
  spec: z.looseObject({
    claimRef: z.looseObject({ namespace: z.string(), name: z.string(), uid: z.string().nullish() }).nullish(),
    hostPath: z.looseObject({ path: z.string(), type: z.string().nullish() }).nullish(),
    local: z.looseObject({ path: z.string() }).nullish(),
  }),
});

/** What a PersistentVolume says beside where it is; its one other key names the kind of storage. */
const notStorage: ReadonlySet<string> = new Set([
  'accessModes',
  'capacity',
  'claimRef',
  'mountOptions',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
]);

/** @throws ContainerConfigError with what is missing; ObjectUnavailableError */
export async function claimedPlace(
  namespace: string,
  claimName: string,
  objects: ClaimObjects,
): Promise<{ readonly path: string; readonly type: string }> {
  const wait = (why: string) => new ContainerConfigError(`claim ${namespace}/${claimName}: ${why}`);
  const claim = claimSchema.safeParse(await objects.claim(namespace, claimName)).data;
  if (claim === undefined) throw wait('there is no such PersistentVolumeClaim');
  const { volumeName, volumeMode } = claim.spec;
  if (!volumeName) throw wait('it is not bound to a PersistentVolume yet');
  if (volumeMode === 'Block') throw wait('block devices are not supported here');
  const volume = volumeSchema.safeParse(await objects.persistentVolume(volumeName)).data;
  if (volume === undefined) throw wait(`there is no PersistentVolume ${volumeName}`);
  const { claimRef, hostPath, local } = volume.spec;
  const isOurs =
    claimRef?.namespace === namespace &&
    claimRef.name === claimName &&
    (!claimRef.uid || claimRef.uid === claim.metadata.uid);
  if (!isOurs) throw wait(`PersistentVolume ${volumeName} is not bound to it`);
  if (hostPath) return { path: hostPath.path, type: hostPath.type ?? '' };
  if (local) return { path: local.path, type: 'Directory' };
  const kind = Object.keys(volume.spec).find((key) => !notStorage.has(key)) ?? 'no storage';
  throw wait(`PersistentVolume ${volumeName} is ${kind}, and only hostPath and local are supported here`);
}
