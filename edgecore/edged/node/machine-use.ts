/**
 * How much of the machine is used: processor, memory, filesystems, processes, network. Memory counts as the kubelet
 * counts it: what is available is what no working set holds, so page cache that can go at once is available.
 */

import { readFile, statfs } from 'node:fs/promises';

export interface FilesystemUse {
  readonly capacityBytes: number;
  readonly availableBytes: number;
  readonly usedBytes: number;
  readonly inodes: number;
  readonly inodesFree: number;
}

export interface MachineMemory {
  readonly capacityBytes: number;
  readonly availableBytes: number;
  readonly usageBytes: number;
  readonly workingSetBytes: number;
  readonly rssBytes: number;
}

export interface InterfaceUse {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxErrors: number;
  readonly txBytes: number;
  readonly txErrors: number;
}

export interface MachineUse {
  readonly atMs: number;
  readonly bootedAtMs: number;
  readonly cpuNanoseconds: number;
  readonly memory: MachineMemory;
  /** What pods write to: volumes, logs. Undefined: it cannot be asked. */
  readonly nodefs: FilesystemUse | undefined;
  /** Where images are kept; may be the same filesystem. Undefined where there are no images. */
  readonly imagefs: FilesystemUse | undefined;
  readonly processes: { readonly max: number; readonly current: number };
  /** First the one that leads out. */
  readonly interfaces: readonly InterfaceUse[];
}

const files = [
  'stat',
  'meminfo',
  'loadavg',
  'sys/kernel/pid_max',
  'sys/kernel/threads-max',
  'net/dev',
  'net/route',
];
const nanosecondsPerTick = 1e7;

export async function readMachineUse(
  nowMs: number,
  places: { readonly nodeDirectory: string; readonly imageDirectory: string | undefined },
  proc = '/proc',
): Promise<MachineUse> {
  const read = (name: string) => readFile(`${proc}/${name}`, 'utf8').catch(() => '');
  const [stat, meminfo, loadavg, pidMax, threadsMax, interfaces, routes] = await Promise.all(files.map(read));
  const { cpuNanoseconds, bootedAtMs } = parseStat(stat ?? '');
  const max = Math.min(...[pidMax, threadsMax].map((it) => Number.parseInt(it ?? '', 10) || Infinity));
  return {
    atMs: nowMs,
    bootedAtMs,
    cpuNanoseconds,
    memory: parseMemory(meminfo ?? ''),
    nodefs: await filesystemUse(places.nodeDirectory),
    imagefs: places.imageDirectory === undefined ? undefined : await filesystemUse(places.imageDirectory),
    processes: { max: Number.isFinite(max) ? max : 0, current: threadsOf(loadavg ?? '') },
    interfaces: parseInterfaces(interfaces ?? '', routes ?? ''),
  };
}

export async function filesystemUse(directory: string): Promise<FilesystemUse | undefined> {
  const found = await statfs(directory).catch(() => undefined);
  if (found === undefined) return undefined;
  return {
    capacityBytes: found.blocks * found.bsize,
    availableBytes: found.bavail * found.bsize,
    usedBytes: (found.blocks - found.bfree) * found.bsize,
    inodes: found.files,
    inodesFree: found.ffree,
  };
}

export function parseMemory(meminfo: string): MachineMemory {
  const bytesOf = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(meminfo)?.[1] ?? 0) * 1024;
  const capacityBytes = bytesOf('MemTotal');
  const usageBytes = capacityBytes - bytesOf('MemFree');
  const workingSetBytes = Math.max(0, usageBytes - bytesOf('Inactive\\(file\\)'));
  const availableBytes = capacityBytes - workingSetBytes;
  return { capacityBytes, availableBytes, usageBytes, workingSetBytes, rssBytes: bytesOf('AnonPages') };
}

/** What all processors have worked, without idling and waiting for disks. */
export function parseStat(stat: string): { readonly cpuNanoseconds: number; readonly bootedAtMs: number } {
  const fields = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? '').split(' ').map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields;
  const bootedAtMs = Number(/^btime (\d+)$/m.exec(stat)?.[1] ?? 0) * 1000;
  return { cpuNanoseconds: (user + nice + system + irq + softirq + steal) * nanosecondsPerTick, bootedAtMs };
}

/** Threads, as they are what the kernel's limit counts. */
function threadsOf(loadavg: string): number {
  return Number(/\/(\d+)/.exec(loadavg)?.[1] ?? 0);
}

export function parseInterfaces(text: string, routes = ''): readonly InterfaceUse[] {
  const outward = /^(\S+)\t00000000\t/m.exec(routes)?.[1];
  const found = text.split('\n').flatMap((line) => {
    const [, name, rest] = /^\s*([^\s:]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined || rest === undefined || name === 'lo') return [];
    const fields = rest.trim().split(/\s+/).map(Number);
    const [rxBytes = 0, , rxErrors = 0, , , , , , txBytes = 0, , txErrors = 0] = fields;
    return [{ name, rxBytes, rxErrors, txBytes, txErrors }];
  });
  return found.sort((a, b) => Number(b.name === outward) - Number(a.name === outward));
}
