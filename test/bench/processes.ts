/**
 * The daemons of a benchmark as children of it: started from the copy of the bundles beside it, measured through
 * /proc, stopped at the end.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Service, ServiceHost } from '#keadm/service/service.ts';

const bundles = dirname(fileURLToPath(import.meta.url));

/** Runs in the place of keadm's supervisor. Names are `apiserver`, `cloudcore`, `edgecore@<instance>`. */
export class Processes implements ServiceHost {
  readonly kind = 'foreground';
  readonly #running = new Map<string, ChildProcess>();
  readonly #services = new Map<string, Service>();
  /** Extra flags of node for a daemon, for example to profile it. */
  readonly #nodeFlags: (name: string) => readonly string[];

  constructor(nodeFlags: (name: string) => readonly string[] = () => []) {
    this.#nodeFlags = nodeFlags;
  }

  async start(service: Service): Promise<void> {
    await this.stop(service.name);
    const [node, ...rest] = service.argv;
    const at = rest.findIndex((argument) => argument.endsWith('.js'));
    const [bundle = '', ...args] = rest.slice(at);
    await mkdir(dirname(service.logFile), { recursive: true });
    const log = openSync(service.logFile, 'a');
    const flags = [...rest.slice(0, at), ...this.#nodeFlags(service.name)];
    const argv = [...flags, join(bundles, basename(bundle)), ...args];
    const child = spawn(node, argv, { stdio: ['ignore', log, log] });
    closeSync(log);
    child.on('exit', () => {
      if (this.#running.get(service.name) === child) this.#running.delete(service.name);
    });
    this.#running.set(service.name, child);
    this.#services.set(service.name, service);
  }

  async remove(name: string): Promise<void> {
    await this.stop(name);
    this.#services.delete(name);
  }

  async isRunning(name: string): Promise<boolean> {
    return this.#running.has(name);
  }

  logOf(service: Service): string {
    return service.logFile;
  }

  /** Starts a daemon again that `stop` has stopped. */
  async startAgain(name: string): Promise<void> {
    const service = this.#services.get(name);
    if (service === undefined) throw new Error(`${name} was never started`);
    await this.start(service);
  }

  async stop(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#running.get(name);
    if (child === undefined) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  async stopAll(): Promise<void> {
    for (const name of [...this.#running.keys()].reverse()) await this.stop(name);
  }

  pid(name: string): number {
    const pid = this.#running.get(name)?.pid;
    if (pid === undefined) throw new Error(`${name} does not run; see its log`);
    return pid;
  }
}

/** Proportional set size: what the process costs this machine, with what it shares counted once. */
export async function pssMb(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kb = /^Pss:\s+(\d+) kB/m.exec(text)?.[1];
  if (kb === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no Pss`);
  return Number(kb) / 1024;
}

const ticksPerSecond = 100;

/** Seconds of processor that the process has used. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Per cent of one core that the process uses on average in this time. */
export async function cpuPercent(pid: number, seconds: number): Promise<number> {
  const before = await cpuSeconds(pid);
  const startedMs = performance.now();
  await pause(seconds * 1000);
  const spent = (await cpuSeconds(pid)) - before;
  return (100 * spent) / ((performance.now() - startedMs) / 1000);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
