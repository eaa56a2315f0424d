/** What the machine says about itself: addresses, capacity, versions. Read anew each time; it may change. */

import { readdir, readFile, statfs } from 'node:fs/promises';
import { arch, cpus, networkInterfaces, release, totalmem } from 'node:os';
import { parseQuantity } from '#protocol/quantity.ts';
import { amountOf, type Signal } from './thresholds.ts';

export interface NodeFacts {
  readonly internalIp: string;
  readonly capacity: Readonly<Record<string, string>>;
  readonly allocatable: Readonly<Record<string, string>>;
  readonly machineId: string;
  readonly systemUuid: string;
  readonly bootId: string;
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly architecture: string;
}

const architectures: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm',
  ia32: '386',
};
const hugepagesPath = '/sys/kernel/mm/hugepages';

/** What is kept back from pods: for the system, and so that pods are evicted before the machine runs out. */
export interface KeptBack {
  readonly maxPods: number;
  readonly evictionHard: Readonly<Partial<Record<Signal, string>>>;
  readonly kubeReserved: Readonly<Record<string, string>>;
  readonly systemReserved: Readonly<Record<string, string>>;
}

export interface Machine {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** Bytes by size of page, as `2Mi`. */
  readonly hugepages: ReadonlyMap<string, number>;
}

export async function readNodeFacts(options: {
  readonly nodeIp: string;
  readonly interfaceName: string;
  readonly rootDirectory: string;
  readonly kubelet: KeptBack;
}): Promise<NodeFacts> {
  const disk = await statfs(options.rootDirectory).catch(() => undefined);
  const machine = {
    cpus: cpus().length,
    memoryBytes: totalmem(),
    diskBytes: disk === undefined ? 0 : disk.blocks * disk.bsize,
    hugepages: await readHugepages(),
  };
  const machineId = await readLine('/etc/machine-id');
  return {
    internalIp: options.nodeIp || findAddress(options.interfaceName),
    ...resourcesOf(machine, options.kubelet),
    machineId,
    systemUuid: (await readLine('/sys/class/dmi/id/product_uuid')) || machineId,
    bootId: await readLine('/proc/sys/kernel/random/boot_id'),
    kernelVersion: release(),
    osImage: await readOsImage(),
    architecture: architectures[arch()] ?? arch(),
  };
}

/** What the node has, and what of it pods may ask for. */
export function resourcesOf(
  { cpus: cpuCount, memoryBytes, diskBytes, hugepages }: Machine,
  { maxPods, evictionHard, kubeReserved, systemReserved }: KeptBack,
): Pick<NodeFacts, 'capacity' | 'allocatable'> {
  const reserved = (name: string) =>
    [kubeReserved, systemReserved].reduce((sum, it) => sum + (parseQuantity(it[name] ?? '0') || 0), 0);
  const evicted = (signal: Signal, capacity: number) => {
    const amount = evictionHard[signal];
    return amount === undefined ? 0 : amountOf(amount, capacity);
  };
  const pages = [...hugepages].map(([size, bytes]) => [`hugepages-${size}`, binary(bytes)] as const);
  const inPages = [...hugepages.values()].reduce((sum, it) => sum + it, 0);
  const memory = memoryBytes - inPages - reserved('memory') - evicted('memory.available', memoryBytes);
  const disk = diskBytes - reserved('ephemeral-storage') - evicted('nodefs.available', diskBytes);
  const cpu = cpuCount * 1000 - reserved('cpu') * 1000;
  const common = { pods: String(maxPods), ...Object.fromEntries(pages) };
  return {
    capacity: {
      ...common,
      cpu: String(cpuCount),
      memory: binary(memoryBytes),
      'ephemeral-storage': binary(diskBytes),
    },
    allocatable: {
      ...common,
      cpu: cpu % 1000 === 0 ? String(Math.max(0, cpu / 1000)) : `${Math.max(0, Math.round(cpu))}m`,
      memory: binary(memory),
      'ephemeral-storage': String(Math.max(0, Math.floor(disk))),
    },
  };
}

function binary(bytes: number): string {
  return bytes <= 0 ? '0' : `${Math.floor(bytes / 1024)}Ki`;
}

function sizeName(kilobytes: number): string {
  if (kilobytes % 1024 ** 2 === 0) return `${kilobytes / 1024 ** 2}Gi`;
  return kilobytes % 1024 === 0 ? `${kilobytes / 1024}Mi` : `${kilobytes}Ki`;
}

async function readHugepages(): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (const directory of (await readdir(hugepagesPath).catch(() => [])).sort()) {
    const kilobytes = Number(/^hugepages-(\d+)kB$/.exec(directory)?.[1] ?? 0);
    if (kilobytes === 0) continue;
    const count = Number(await readLine(`${hugepagesPath}/${directory}/nr_hugepages`)) || 0;
    found.set(sizeName(kilobytes), count * kilobytes * 1024);
  }
  return found;
}

/** The first address that is not loopback, of the named interface when one is named. */
export function findAddress(interfaceName: string, interfaces = networkInterfaces()): string {
  const found: { family: string; address: string }[] = [];
  for (const [name, addresses] of Object.entries(interfaces)) {
    if (interfaceName !== '' && name !== interfaceName) continue;
    for (const it of addresses ?? []) if (!it.internal) found.push(it);
  }
  return (found.find((it) => it.family === 'IPv4') ?? found[0])?.address ?? '127.0.0.1';
}

async function readLine(path: string): Promise<string> {
  return (await readFile(path, 'utf8').catch(() => '')).trim();
}

async function readOsImage(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? 'Linux';
}
