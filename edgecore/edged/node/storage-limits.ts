/** Whether a pod writes more than it allows itself: `sizeLimit` of an emptyDir, limits of ephemeral storage; pure. */

import { parseQuantity } from '#protocol/quantity.ts';
import type { Pod, PodContainer } from '../pod/pod.ts';
import type { ContainerReading } from '../stats/collector.ts';
import type { PodDisk } from '../stats/pod-disk.ts';

const resource = 'ephemeral-storage';

export function hasStorageLimits({ spec }: Pod): boolean {
  const all = [...spec.containers, ...spec.initContainers];
  return spec.volumes.some((it) => it.emptyDir?.sizeLimit) || all.some((it) => limitOf(it) !== undefined);
}

/** Why the pod has to go, in the kubelet's words; undefined: it keeps to its limits. */
export function storageFault(
  { spec }: Pod,
  disk: PodDisk,
  containers: readonly ContainerReading[],
): string | undefined {
  for (const { name, emptyDir } of spec.volumes) {
    const limit = emptyDir?.sizeLimit;
    if (limit && (disk.volumes.get(name)?.usedBytes ?? 0) > parseQuantity(limit))
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${limit}". `;
  }
  const limits = spec.containers.flatMap((it) => limitOf(it) ?? []);
  const total = limits.reduce((sum, it) => sum + parseQuantity(it), 0);
  if (limits.length > 0 && disk.all.usedBytes > total)
    return `Pod ephemeral local storage usage exceeds the total limit of containers ${limits.length === 1 ? limits[0] : total}. `;
  for (const { stats } of containers) {
    const container = spec.containers.find((it) => it.name === stats.name);
    const limit = container && limitOf(container);
    if (limit === undefined) continue;
    const logs = disk.logs.get(stats.name)?.usedBytes ?? 0;
    if (logs + (stats.writableLayer?.usedBytes ?? 0) > parseQuantity(limit))
      return `Container ${stats.name} exceeded its local ephemeral storage limit "${limit}". `;
  }
  return undefined;
}

function limitOf(container: PodContainer): string | undefined {
  return container.resources?.limits?.[resource];
}
