/**
 * `/stats/summary` as the kubelet answers it (stats/v1alpha1): what `kubectl top`'s sources and monitoring agents
 * read. What is not known is left out, as there.
 */

import type { FilesystemUse, MachineUse } from '../node/machine-use.ts';
import type { MemoryUse } from '../runtime/runtime-service.ts';
import type { ContainerReading, PodReading, Reading } from './collector.ts';
import type { PodDisk } from './pod-disk.ts';

export interface SummaryOptions {
  readonly nodeName: string;
  /** The one that stands for the node's network. */
  readonly interfaceName: string;
}

export function summary(
  { machine, nanoCores, pods }: Reading,
  disks: ReadonlyMap<string, PodDisk>,
  options: SummaryOptions,
): object {
  return {
    node: {
      nodeName: options.nodeName,
      startTime: time(machine.bootedAtMs),
      cpu: cpu(machine.atMs, machine.cpuNanoseconds, nanoCores),
      memory: { time: time(machine.atMs), ...machineMemory(machine) },
      ...network(machine, options.interfaceName),
      ...optional('fs', filesystem(machine.nodefs, machine.atMs)),
      ...optional('runtime', runtimeFilesystem(machine)),
      rlimit: {
        time: time(machine.atMs),
        maxpid: machine.processes.max,
        curproc: machine.processes.current,
      },
    },
    pods: pods.map((pod) => podSummary(pod, disks.get(pod.sandbox.podUid), machine)),
  };
}

function podSummary(pod: PodReading, disk: PodDisk | undefined, machine: MachineUse): object {
  const { sandbox, stats } = pod;
  const total = totals(pod);
  const at = (use: { usedBytes: number; inodesUsed: number }) => ({
    time: time(machine.atMs),
    ...totalsOf(machine.nodefs),
    usedBytes: use.usedBytes,
    inodesUsed: use.inodesUsed,
  });
  return {
    podRef: { name: sandbox.podName, namespace: sandbox.podNamespace, uid: sandbox.podUid },
    startTime: time(sandbox.createdAtMs),
    containers: pod.containers.map((it) => containerSummary(it, disk, machine)),
    cpu: cpu(total.atMs, total.cpuNanoseconds, total.nanoCores),
    memory: { time: time(total.atMs), ...memory(total.memory) },
    ...(stats?.network === undefined
      ? {}
      : { network: { time: time(stats.atMs), ...stats.network, interfaces: [stats.network] } }),
    ...(disk === undefined
      ? {}
      : {
          volume: [...disk.volumes].map(([name, use]) => ({ ...at(use), name })),
          'ephemeral-storage': at(disk.all),
        }),
    ...(stats?.processes === undefined ? {} : { process_stats: { process_count: stats.processes } }),
  };
}

function containerSummary(
  { stats, startedAtMs, nanoCores }: ContainerReading,
  disk: PodDisk | undefined,
  machine: MachineUse,
): object {
  const at = time(stats.atMs);
  const logs = disk?.logs.get(stats.name);
  return {
    name: stats.name,
    startTime: time(startedAtMs),
    cpu: cpu(stats.atMs, stats.cpuNanoseconds, nanoCores),
    memory: { time: at, ...memory(stats.memory) },
    ...(stats.writableLayer === undefined
      ? {}
      : { rootfs: { time: at, ...totalsOf(machine.imagefs), ...stats.writableLayer } }),
    ...(logs === undefined ? {} : { logs: { time: at, ...totalsOf(machine.nodefs), ...logs } }),
  };
}

/** The pod's own numbers where the runtime has them, else the sum of its containers'. */
export function totals(pod: PodReading): {
  readonly atMs: number;
  readonly cpuNanoseconds: number;
  readonly nanoCores: number | undefined;
  readonly memory: MemoryUse;
} {
  const { stats, nanoCores, containers } = pod;
  if (stats !== undefined)
    return { atMs: stats.atMs, cpuNanoseconds: stats.cpuNanoseconds, nanoCores, memory: stats.memory };
  const sum = (of: (it: ContainerReading) => number | undefined) =>
    containers.reduce<number | undefined>((total, it) => {
      const value = of(it);
      return total === undefined || value === undefined ? undefined : total + value;
    }, 0);
  return {
    atMs: Math.max(0, ...containers.map((it) => it.stats.atMs)),
    cpuNanoseconds: sum((it) => it.stats.cpuNanoseconds) ?? 0,
    nanoCores: sum((it) => it.nanoCores),
    memory: {
      workingSetBytes: sum((it) => it.stats.memory.workingSetBytes) ?? 0,
      usageBytes: sum((it) => it.stats.memory.usageBytes),
      rssBytes: sum((it) => it.stats.memory.rssBytes),
    },
  };
}

function cpu(atMs: number, nanoseconds: number, nanoCores: number | undefined): object {
  return {
    time: time(atMs),
    ...(nanoCores === undefined ? {} : { usageNanoCores: nanoCores }),
    usageCoreNanoSeconds: Math.round(nanoseconds),
  };
}

function memory({ workingSetBytes, usageBytes, rssBytes }: MemoryUse): object {
  return {
    ...(usageBytes === undefined ? {} : { usageBytes }),
    workingSetBytes,
    ...(rssBytes === undefined ? {} : { rssBytes }),
  };
}

function machineMemory({ memory: { availableBytes, usageBytes, workingSetBytes, rssBytes } }: MachineUse) {
  return { availableBytes, usageBytes, workingSetBytes, rssBytes };
}

function network({ interfaces, atMs }: MachineUse, name: string): object {
  const first = interfaces.find((it) => it.name === name) ?? interfaces[0];
  return first === undefined ? {} : { network: { time: time(atMs), ...first, interfaces } };
}

function runtimeFilesystem({ imagefs, atMs }: MachineUse): object | undefined {
  const found = filesystem(imagefs, atMs);
  return found && { imageFs: found, containerFs: found };
}

function filesystem(use: FilesystemUse | undefined, atMs: number): object | undefined {
  if (use === undefined) return undefined;
  const { usedBytes, inodes, inodesFree } = use;
  return { time: time(atMs), ...totalsOf(use), usedBytes, inodesUsed: inodes - inodesFree };
}

function totalsOf(use: FilesystemUse | undefined): object {
  if (use === undefined) return {};
  const { availableBytes, capacityBytes, inodes, inodesFree } = use;
  return { availableBytes, capacityBytes, inodesFree, inodes };
}

function optional(name: string, value: object | undefined): object {
  return value === undefined ? {} : { [name]: value };
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
