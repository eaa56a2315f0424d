/** What each pod uses, for the choice of the one that has to go; read only when something is short. */

import { stat } from 'node:fs/promises';
import type { Pod } from '../pod/pod.ts';
import type { Collector, PodReading } from '../stats/collector.ts';
import { type PodDisk, podDisk } from '../stats/pod-disk.ts';
import { totals } from '../stats/summary.ts';
import { type DiskUse, type DiskUses, sumOf } from './disk-use.ts';
import type { ContainerUse, PodUse } from './eviction-order.ts';
import { hasStorageLimits, storageFault } from './storage-limits.ts';
import type { Signal } from './thresholds.ts';

export interface PodUsesParts {
  readonly collector: Collector;
  readonly disks: DiskUses;
  readonly rootDirectory: string;
  readonly imageDirectory: () => Promise<string | undefined>;
}

/** By uid. A pod of which the runtime knows nothing is not among them. */
export async function podUses(
  signal: Signal,
  pods: readonly Pod[],
  { collector, disks, rootDirectory, imageDirectory }: PodUsesParts,
): Promise<ReadonlyMap<string, PodUse>> {
  const reading = await collector.read();
  const isDisk = signal.includes('fs.');
  const filesystem = isDisk ? await filesystemOf(signal, rootDirectory, await imageDirectory()) : 'both';
  const found = new Map<string, PodUse>();
  for (const pod of pods) {
    const of = reading.pods.find((it) => it.sandbox.podUid === pod.metadata.uid);
    if (of === undefined) continue;
    const disk = isDisk ? await podDisk(of, rootDirectory, disks) : undefined;
    const all = sumOf(partsOf(disk, filesystem));
    found.set(pod.metadata.uid, {
      pod,
      memoryBytes: totals(of).memory.workingSetBytes,
      diskBytes: all.usedBytes,
      inodes: all.inodesUsed,
      processes: of.stats?.processes ?? 0,
      containers: of.containers.map((it) => containerUse(it, disk, filesystem)),
    });
  }
  return found;
}

/** Why each pod that writes more than it allows itself has to go, by uid. */
export async function storageFaults(
  pods: readonly Pod[],
  { collector, disks, rootDirectory }: Pick<PodUsesParts, 'collector' | 'disks' | 'rootDirectory'>,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  const limited = pods.filter(hasStorageLimits);
  if (limited.length === 0) return found;
  const reading = await collector.read();
  for (const pod of limited) {
    const of = reading.pods.find((it) => it.sandbox.podUid === pod.metadata.uid);
    if (of === undefined) continue;
    const fault = storageFault(pod, await podDisk(of, rootDirectory, disks), of.containers);
    if (fault !== undefined) found.set(pod.metadata.uid, fault);
  }
  return found;
}

type Filesystem = 'node' | 'images' | 'both';

/** Where images have a filesystem of their own, a pod's writable layers are on that, the rest is not. */
async function filesystemOf(
  signal: Signal,
  nodeDirectory: string,
  imageDirectory: string | undefined,
): Promise<Filesystem> {
  const [node, images] = await Promise.all(
    [nodeDirectory, imageDirectory ?? nodeDirectory].map((at) => stat(at).catch(() => undefined)),
  );
  if (node === undefined || images === undefined || node.dev === images.dev) return 'both';
  return signal.startsWith('imagefs') ? 'images' : 'node';
}

function partsOf(disk: PodDisk | undefined, filesystem: Filesystem): readonly DiskUse[] {
  if (disk === undefined) return [];
  const layers = filesystem === 'node' ? [] : [disk.writableLayers];
  return filesystem === 'images' ? layers : [...layers, disk.volumesOnDisk, ...disk.logs.values()];
}

function containerUse(
  { stats }: PodReading['containers'][number],
  disk: PodDisk | undefined,
  filesystem: Filesystem,
): ContainerUse {
  const layer = filesystem === 'node' ? 0 : (stats.writableLayer?.usedBytes ?? 0);
  const logs = filesystem === 'images' ? 0 : (disk?.logs.get(stats.name)?.usedBytes ?? 0);
  return { name: stats.name, memoryBytes: stats.memory.workingSetBytes, diskBytes: layer + logs };
}
