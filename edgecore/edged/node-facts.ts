/** What the machine says about itself: addresses, capacity, versions. Read anew each time; it may change. */

import { readFile, statfs } from 'node:fs/promises';
import { arch, cpus, networkInterfaces, release, totalmem } from 'node:os';

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
/** What the kubelet keeps back from pods by its default eviction thresholds. */
const memoryKeptBytes = 100 * 1024 * 1024;
const diskKeptPart = 0.1;

export async function readNodeFacts(options: {
  readonly nodeIp: string;
  readonly interfaceName: string;
  readonly maxPods: number;
  readonly rootDirectory: string;
}): Promise<NodeFacts> {
  const disk = await statfs(options.rootDirectory).catch(() => undefined);
  const diskBytes = disk === undefined ? 0 : disk.blocks * disk.bsize;
  const memoryBytes = totalmem();
  const common = { cpu: String(cpus().length), pods: String(options.maxPods) };
  const machineId = await readLine('/etc/machine-id');
  return {
    internalIp: options.nodeIp || findAddress(options.interfaceName),
    capacity: {
      ...common,
      memory: `${Math.floor(memoryBytes / 1024)}Ki`,
      'ephemeral-storage': `${Math.floor(diskBytes / 1024)}Ki`,
    },
    allocatable: {
      ...common,
      memory: `${Math.floor(Math.max(0, memoryBytes - memoryKeptBytes) / 1024)}Ki`,
      'ephemeral-storage': String(Math.floor(diskBytes * (1 - diskKeptPart))),
    },
    machineId,
    systemUuid: (await readLine('/sys/class/dmi/id/product_uuid')) || machineId,
    bootId: await readLine('/proc/sys/kernel/random/boot_id'),
    kernelVersion: release(),
    osImage: await readOsImage(),
    architecture: architectures[arch()] ?? arch(),
  };
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
