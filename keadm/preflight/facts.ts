/** What pre-flight knows of this machine. Read here, all at once, and nothing is changed; judged in checks.ts. */

import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { arch, availableParallelism, hostname } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Clock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { protoFileOf, runtimeSockets } from '#edgecore/edged/runtime/choose-runtime.ts';
import type { CgroupDriver } from '#edgecore/edged/runtime/cri/cgroups.ts';
import { type CloudFacts, firstAnswering, type PortFacts, readCloud, readPorts } from './network-facts.ts';
import type { Plan } from './plan.ts';

export interface MachineFacts {
  readonly arch: string;
  readonly isRaspberryPi: boolean;
  /** The file of the kernel's command line, as this system has it. */
  readonly bootFile: string;
  readonly cpus: number;
  /** Of the last minute. */
  readonly load: number;
  readonly memoryAvailableBytes: number | undefined;
  /** Undefined: cannot be told. */
  readonly memoryCgroup: boolean | undefined;
  readonly swaps: readonly string[];
  readonly disk: { readonly path: string; readonly freeBytes: number } | undefined;
  readonly pids: { readonly used: number; readonly max: number };
  readonly seLinux: 'enforcing' | 'permissive' | 'off';
  /** Of each firewall that closes ports for what comes in. */
  readonly firewalls: readonly string[];
  readonly bridgeCallsIptables: boolean | undefined;
  readonly forwardsIp: boolean | undefined;
  readonly nowMs: number;
  /** When this copy of the program was written: no clock that is right is before that. */
  readonly installedMs: number;
  readonly hostName: string;
  readonly kubelet: boolean;
  /** Where a container runtime answers. */
  readonly runtimeAt: string | undefined;
  /** Of the runtime; undefined: not told, or nobody asked for one. */
  readonly runtimeCgroupDriver: CgroupDriver | undefined;
  readonly missingTools: readonly string[];
  /** Undefined: it can be had. */
  readonly namespaceRefused: string | undefined;
}

export interface Facts extends MachineFacts {
  readonly ports: readonly PortFacts[];
  readonly cloud: CloudFacts | undefined;
}

const commandTimeoutMs = 1_000;
/** What the process runtime starts containers with. */
const tools = ['unshare', 'setsid', 'mount', 'nsenter'];

/** @param root where /proc, /sys and /etc are looked for. */
export async function readFacts(plan: Plan, { clock }: { clock: Clock }, root = '/'): Promise<Facts> {
  const [machine, ports, cloud] = await Promise.all([
    readMachine(plan, clock, root),
    readPorts(plan.ports),
    plan.cloud === undefined ? undefined : readCloud(plan.cloud, clock),
  ]);
  return { ...machine, ports, cloud };
}

async function readMachine(plan: Plan, clock: Clock, root: string): Promise<MachineFacts> {
  const text = (path: string) => readText(join(root, path));
  const [memory, swaps, enforce, bridge, forward, load, model] = await Promise.all(
    [
      'proc/meminfo',
      'proc/swaps',
      'sys/fs/selinux/enforce',
      'proc/sys/net/bridge/bridge-nf-call-iptables',
      'proc/sys/net/ipv4/ip_forward',
      'proc/loadavg',
      'proc/device-tree/model',
    ].map(text),
  );
  const isRaspberryPi = model?.includes('Raspberry Pi') ?? false;
  const [memoryCgroup, disk, processes, firewalls, bootFile, installed, runtimeAt, missing, refused] =
    await Promise.all([
      hasMemoryCgroup(text),
      readDisk(plan.dataDir),
      readProcesses(root, text),
      closedFirewalls(root),
      findBootFile(root, isRaspberryPi),
      stat(join(packageRoot(), 'package.json')),
      firstAnswering(runtimeSockets(plan.runtimeEndpoint), clock),
      missingTools(),
      whyNoNamespace(),
    ]);
  return {
    arch: arch(),
    isRaspberryPi,
    bootFile,
    cpus: availableParallelism(),
    load: Number(load?.split(' ')[0] ?? 0),
    memoryAvailableBytes: kibibytes(memory, 'MemAvailable'),
    memoryCgroup,
    swaps: (swaps ?? '').trim().split('\n').slice(1).map(firstWord),
    disk,
    ...processes,
    seLinux: enforce === undefined ? 'off' : enforce.trim() === '1' ? 'enforcing' : 'permissive',
    firewalls,
    bridgeCallsIptables: bridge === undefined ? undefined : bridge.trim() === '1',
    forwardsIp: forward === undefined ? undefined : forward.trim() === '1',
    nowMs: clock.now(),
    installedMs: installed.mtimeMs,
    hostName: hostname(),
    runtimeAt,
    runtimeCgroupDriver: await readRuntimeDriver(plan, runtimeAt, clock),
    missingTools: missing,
    namespaceRefused: refused,
  };
}

async function readRuntimeDriver(
  { cgroupDriver, runtime }: Plan,
  socket: string | undefined,
  clock: Clock,
): Promise<CgroupDriver | undefined> {
  if (cgroupDriver === undefined || runtime === 'process' || socket === undefined) return undefined;
  const { cgroupDriverAt } = await import('#edgecore/edged/runtime/cri/cgroup-driver.ts');
  return cgroupDriverAt({ socket, protoFile: protoFileOf(packageRoot()) }, { clock, log: silentLog });
}

type ReadText = (path: string) => Promise<string | undefined>;

/** Either version: v2 lists its controllers, v1 has a table that says which are switched on. */
async function hasMemoryCgroup(text: ReadText): Promise<boolean | undefined> {
  const [controllers, table] = await Promise.all([
    text('sys/fs/cgroup/cgroup.controllers'),
    text('proc/cgroups'),
  ]);
  if (controllers !== undefined) return controllers.trim().split(/\s+/).includes('memory');
  const row = table?.split('\n').find((line) => line.startsWith('memory\t'));
  return row === undefined ? undefined : row.trim().endsWith('\t1');
}

/** Raspberry Pi OS has its kernel's command line in a file of its own, and has moved it once. */
async function findBootFile(root: string, isRaspberryPi: boolean): Promise<string> {
  if (!isRaspberryPi) return '/etc/default/grub';
  const current = '/boot/firmware/cmdline.txt';
  return (await isThere(join(root, current))) ? current : '/boot/cmdline.txt';
}

async function readDisk(path: string): Promise<MachineFacts['disk']> {
  let at = path;
  while (!(await isThere(at)) && dirname(at) !== at) at = dirname(at);
  const { bavail, bsize } = await statfs(at);
  return { path: at, freeBytes: bavail * bsize };
}

async function readProcesses(root: string, text: ReadText): Promise<Pick<MachineFacts, 'pids' | 'kubelet'>> {
  const entries = await readdir(join(root, 'proc')).catch(() => []);
  const processes = entries.filter((name) => /^\d+$/.test(name));
  const [max, names] = await Promise.all([
    text('proc/sys/kernel/pid_max'),
    Promise.all(processes.map((pid) => text(`proc/${pid}/comm`))),
  ]);
  return {
    pids: { used: processes.length, max: Number(max ?? Number.POSITIVE_INFINITY) },
    kubelet: names.some((name) => name?.trim() === 'kubelet'),
  };
}

/** Rules that refuse what comes in. Reading them needs root; without it none are seen. */
async function closedFirewalls(root: string): Promise<string[]> {
  if (root !== '/') return [];
  const [nft, iptables] = await Promise.all([run('nft', 'list', 'ruleset'), run('iptables', '-S', 'INPUT')]);
  const closed: string[] = [];
  if (nftRefusesInput(nft ?? '')) closed.push('nftables');
  if (/^-P INPUT DROP|^-A INPUT .*-j (DROP|REJECT)/m.test(iptables ?? '')) closed.push('iptables');
  return closed;
}

/** Whether a chain on the hook `input` drops or rejects something. */
export function nftRefusesInput(ruleset: string): boolean {
  return ruleset
    .split(/^\s*chain /m)
    .some((chain) => /hook input/.test(chain) && /policy drop|\b(drop|reject)\b/.test(chain));
}

async function missingTools(): Promise<string[]> {
  const directories = (process.env.PATH ?? '').split(delimiter);
  const found = await Promise.all(
    tools.map(async (tool) => {
      const places = await Promise.all(
        directories.map((directory) => isThere(join(directory, tool), constants.X_OK)),
      );
      return places.includes(true);
    }),
  );
  return tools.filter((_, at) => !found[at]);
}

async function whyNoNamespace(): Promise<string | undefined> {
  const asRoot = process.getuid?.() === 0;
  const ways = [...(asRoot ? [['--mount']] : []), ['--user', '--map-root-user', '--mount']];
  let said = '';
  for (const flags of ways) {
    try {
      await promisify(execFile)('unshare', [...flags, 'true'], { timeout: commandTimeoutMs });
      return undefined;
    } catch (error) {
      said = error instanceof Error ? (error.message.trim().split('\n').at(-1) ?? '') : String(error);
    }
  }
  return said;
}

/** Undefined when it cannot be run, or failed. */
async function run(command: string, ...args: string[]): Promise<string | undefined> {
  try {
    return (await promisify(execFile)(command, args, { timeout: commandTimeoutMs })).stdout;
  } catch {
    return undefined;
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    // Absent, not for this user, or of a process that has just ended: then it is not known.
    return undefined;
  }
}

function isThere(path: string, mode = constants.F_OK): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}

function kibibytes(table: string | undefined, name: string): number | undefined {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(table ?? '');
  return match?.[1] === undefined ? undefined : Number(match[1]) * 1024;
}

function firstWord(line: string): string {
  return line.split(/\s/)[0] ?? '';
}
