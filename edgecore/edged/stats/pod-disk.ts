/** What a pod has on the machine's disk: volumes, logs, and what its containers wrote into their own roots. */

import { lstat, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type DiskUse, type DiskUses, sumOf } from '../node/disk-use.ts';
import type { PodReading } from './collector.ts';

export interface PodDisk {
  /** By name of the volume. */
  readonly volumes: ReadonlyMap<string, DiskUse>;
  readonly volumesOnDisk: DiskUse;
  /** By name of the container. */
  readonly logs: ReadonlyMap<string, DiskUse>;
  readonly writableLayers: DiskUse;
  readonly all: DiskUse;
}

export async function podDisk(pod: PodReading, rootDirectory: string, uses: DiskUses): Promise<PodDisk> {
  const directory = join(rootDirectory, 'pods', pod.sandbox.podUid, 'volumes');
  const volumes = new Map<string, DiskUse>();
  const onDisk: DiskUse[] = [];
  const deviceOf = async (path: string) => (await lstat(path).catch(() => undefined))?.dev;
  const device = await deviceOf(directory);
  for (const name of await readdir(directory).catch(() => [])) {
    const path = join(directory, name);
    const use = await uses.of(path);
    volumes.set(name, use);
    // What is mounted there, as memory is, is none of this disk.
    if ((await deviceOf(path)) === device) onDisk.push(use);
  }
  const logs = new Map<string, DiskUse>();
  for (const { stats, logPath } of pod.containers)
    if (logPath !== '') logs.set(stats.name, await uses.of(dirname(logPath)));
  const writableLayers = sumOf(pod.containers.flatMap(({ stats }) => stats.writableLayer ?? []));
  return {
    volumes,
    logs,
    writableLayers,
    volumesOnDisk: sumOf(onDisk),
    all: sumOf([...onDisk, ...logs.values(), writableLayers]),
  };
}
