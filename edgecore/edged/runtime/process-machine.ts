/** What the process runtime asks of the machine: files, tools, stray processes, and whether it may mount. */

import { spawnSync } from 'node:child_process';
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs';
import { readdir, readlink, realpath, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { FileView } from './mount-plan.ts';
import { identify, type ProcessIdentity, readStat, signal } from './process-identity.ts';
import type { Namespace } from './process-shim.ts';
import type { RunState } from './process-state.ts';
import type { ContainerStats } from './runtime-service.ts';

const clockTicksPerSecond = 100;
const pageBytes = 4096;

/** In every process of a container, inherited by what it starts. */
export const markVariable = 'HAWSER_CONTAINER';

export const fileView: FileView = {
  async kind(path) {
    try {
      return (await stat(path)).isDirectory() ? 'directory' : 'file';
    } catch {
      return 'missing';
    }
  },
  realpath: (path) => realpath(path),
  async entries(path) {
    const entries = await readdir(path, { withFileTypes: true });
    return Promise.all(
      entries.map(async (entry) => {
        if (!entry.isSymbolicLink())
          return {
            name: entry.name,
            kind: entry.isDirectory() ? ('directory' as const) : ('file' as const),
            target: '',
          };
        return { name: entry.name, kind: 'link' as const, target: await readlink(join(path, entry.name)) };
      }),
    );
  },
};

/** The file that a command names, by PATH as the container has it; undefined when none can be run. */
export function findExecutable(command: string, path: string, cwd: string): string | undefined {
  const candidates = command.includes('/')
    ? [command.startsWith('/') ? command : join(cwd, command)]
    : path.split(delimiter).map((directory) => join(directory, command));
  return candidates.find((candidate) => {
    try {
      accessSync(candidate, constants.X_OK);
      return statSync(candidate).isFile();
    } catch {
      return false;
    }
  });
}

/** Which mount namespace this machine lets us have, or why none. */
export function probeNamespace(directory: string): { namespace: Namespace; refused: string | undefined } {
  const isRoot = process.getuid?.() === 0;
  const kinds: readonly [Namespace, string[]][] = [
    ...(isRoot ? [['root', ['--mount']] as [Namespace, string[]]] : []),
    ['user', ['--user', '--map-root-user', '--mount']],
  ];
  let said = '';
  for (const [namespace, flags] of kinds) {
    const tried = spawnSync('unshare', [...flags, 'mount', '-t', 'tmpfs', 'hawser', directory], {
      timeout: 5000,
    });
    if (tried.status === 0) return { namespace, refused: undefined };
    said = (tried.error?.message ?? tried.stderr?.toString() ?? '').trim();
  }
  return {
    namespace: 'none',
    refused: `this machine lets us have no mount namespace (${said || 'unshare failed'}); run edgecore as root, or allow user namespaces`,
  };
}

/** Processes that carry a container's mark, wherever they went. */
export function findMarked(containerId: string): ProcessIdentity[] {
  const mark = `${markVariable}=${containerId}`;
  return readdirSync('/proc').flatMap((name) => {
    if (!/^[0-9]+$/.test(name)) return [];
    try {
      const environment = readFileSync(`/proc/${name}/environ`, 'latin1');
      if (!environment.split('\0').includes(mark)) return [];
    } catch {
      return [];
    }
    const identity = identify(Number(name));
    return identity === undefined ? [] : [identity];
  });
}

/** Kills what a container has running. Its shim is spared when there is an exit code for it to write. */
export function endAll(containerId: string, run: RunState): void {
  if (run.process !== undefined) signal(run.process, 'SIGKILL', 'group');
  else if (run.shim !== undefined) signal(run.shim, 'SIGKILL', 'group');
  endStrays(containerId, run);
}

/** What left the command's group. The shim and its tools are a group of their own and no strays. */
export function endStrays(containerId: string, run: Pick<RunState, 'shim'>): void {
  for (const stray of findMarked(containerId))
    if (readStat(stray.pid)?.group !== run.shim?.pid) signal(stray, 'SIGKILL', 'process');
}

/** What the processes of each group use together. The time of those that have ended is with whoever waited for them. */
export function usageOfGroups(
  groups: ReadonlySet<number>,
): ReadonlyMap<number, Pick<ContainerStats, 'cpuNanoseconds' | 'memory'>> {
  const found = new Map<number, { cpuTicks: number; pages: number }>();
  for (const name of groups.size === 0 ? [] : readdirSync('/proc')) {
    const stat = /^[0-9]+$/.test(name) ? readStat(Number(name)) : undefined;
    if (stat === undefined || !groups.has(stat.group)) continue;
    const sum = found.get(stat.group) ?? { cpuTicks: 0, pages: 0 };
    sum.cpuTicks += stat.cpuTicks;
    sum.pages += stat.residentPages;
    found.set(stat.group, sum);
  }
  return new Map(
    [...found].map(([group, { cpuTicks, pages }]) => {
      const bytes = pages * pageBytes;
      const memory = { workingSetBytes: bytes, usageBytes: bytes, rssBytes: bytes };
      return [group, { cpuNanoseconds: (cpuTicks * 1e9) / clockTicksPerSecond, memory }];
    }),
  );
}
