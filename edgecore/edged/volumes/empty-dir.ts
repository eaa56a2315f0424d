/** An emptyDir: a directory on the disk, or in memory of a bounded size where this user may mount. */

import { chmod, chown, mkdir } from 'node:fs/promises';
import { parseQuantity } from '#protocol/quantity.ts';
import type { Pod, PodVolume } from '../pod/pod.ts';
import type { MachineMounts } from './machine-mounts.ts';

export function isInMemory(volume: PodVolume): boolean {
  return volume.emptyDir?.medium === 'Memory';
}

/** Anybody in the pod may write there when it is made; what they make of its rights later is theirs. */
export async function makeEmptyDir(
  pod: Pod,
  volume: PodVolume,
  path: string,
  { mounts, group }: { readonly mounts: MachineMounts; readonly group: number | undefined },
): Promise<void> {
  const isNew = (await mkdir(path, { recursive: true })) !== undefined;
  const mountsIt = isInMemory(volume) && mounts.allowed && !(await mounts.isMounted(path));
  if (mountsIt) await mounts.memory(path, memoryBytes(pod, volume));
  if (!isNew && !mountsIt) return;
  if (group !== undefined) await chown(path, 0, group);
  await chmod(path, group === undefined ? 0o777 : 0o2777);
}

/** The volume's own limit, or what the pod's containers may use of memory; the kernel's half of it all otherwise. */
function memoryBytes({ spec }: Pod, volume: PodVolume): number | undefined {
  const limits = spec.containers.map((it) => parseQuantity(it.resources?.limits?.memory ?? 'none'));
  const ofPod = limits.reduce((sum, it) => sum + it, 0);
  const own = parseQuantity(volume.emptyDir?.sizeLimit ?? 'none');
  const bounds = [own, ofPod].filter((it) => Number.isFinite(it) && it > 0);
  return bounds.length === 0 ? undefined : Math.floor(Math.min(...bounds));
}
