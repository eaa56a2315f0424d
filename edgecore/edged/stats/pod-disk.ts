/** What a pod has on the machine's disk: volumes, logs, and what its containers wrote into their own roots. */

import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type DiskUse, type DiskUses, sumOf } from '../node/disk-use.ts';
import type { PodReading } from './collector.ts';

export interface PodDisk {
  /** By name of the volume. */
  readonly volumes: ReadonlyMap<string, DiskUse>;
  /** By name of the container. */
  readonly logs: ReadonlyMap<string, DiskUse>;
  readonly writableLayers: DiskUse;
  readonly all: DiskUse;
}

export async function podDisk(pod: PodReading, rootDirectory: string, uses: DiskUses): Promise<PodDisk> {
  const directory = join(rootDirectory, 'pods', pod.sandbox.podUid, 'volumes');
  const volumes = new Map<string, DiskUse>();
  for (const name of await readdir(directory).catch(() => []))
    volumes.set(name, await uses.of(join(directory, name)));
  const logs = new Map<string, DiskUse>();
  for (const { stats, logPath } of pod.containers)
    if (logPath !== '') logs.set(stats.name, await uses.of(dirname(logPath)));
  const writableLayers = sumOf(pod.containers.flatMap(({ stats }) => stats.writableLayer ?? []));
  return {
    volumes,
    logs,
    writableLayers,
    all: sumOf([...volumes.values(), ...logs.values(), writableLayers]),
  };
}
