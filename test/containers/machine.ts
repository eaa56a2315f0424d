/**
 * A machine of its own for an edge with containers: a network namespace behind a cable to the cloud's side, and a
 * containerd in it, with the images of the runtime that `test/containers/up` started. Its power can be cut.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { criEndpoint, criImage } from './runtime.ts';

const plugins = '/usr/lib/cni';

export class Machine {
  readonly dir: string;
  readonly cloudIp: string;
  readonly edgeIp: string;
  readonly namespace: string;
  readonly #id = process.pid % 60_000;
  readonly #daemons = new Map<string, ChildProcess>();

  private constructor(dir: string) {
    this.dir = dir;
    const net = `10.204.${Math.floor(this.#id / 250)}`;
    const host = (this.#id % 63) * 4;
    [this.cloudIp, this.edgeIp] = [`${net}.${host + 1}`, `${net}.${host + 2}`];
    this.namespace = `hawser-m${this.#id}`;
  }

  /** Powered on, cable plugged in. */
  static async create(): Promise<Machine> {
    const dir = await mkdtemp(join(tmpdir(), 'hawser-machine-'));
    const machine = new Machine(dir);
    const { namespace } = machine;
    await mkdir(join(dir, 'cni'), { recursive: true });
    run('ip', 'netns', 'add', namespace);
    const [near, far] = machine.#cable;
    run('ip', 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', namespace);
    run('ip', 'addr', 'add', `${machine.cloudIp}/30`, 'dev', near);
    run('ip', 'link', 'set', near, 'up');
    for (const at of ['lo', far]) run('ip', '-n', namespace, 'link', 'set', at, 'up');
    run('ip', '-n', namespace, 'addr', 'add', `${machine.edgeIp}/30`, 'dev', far);
    await machine.network('bridge');
    await machine.#configure();
    await machine.powerOn();
    machine.#copyImages();
    return machine;
  }

  get socket(): string {
    return join(this.dir, 'containerd.sock');
  }

  get endpoint(): string {
    return `unix://${this.socket}`;
  }

  /** Of the network plugin: pods get addresses, or nothing but a loopback. */
  async network(kind: 'bridge' | 'loopback'): Promise<void> {
    const bridge = {
      type: 'bridge',
      bridge: 'pods0',
      isGateway: true,
      ipam: {
        type: 'host-local',
        dataDir: join(this.dir, 'addresses'),
        ranges: [[{ subnet: '10.205.0.0/24' }]],
      },
    };
    const [file, other] = ['10-pods.conflist', '0-loopback.conflist'];
    const chosen = kind === 'bridge' ? bridge : { type: 'loopback' };
    const list = { cniVersion: '0.4.0', name: kind, plugins: [chosen] };
    await writeFile(join(this.dir, 'cni', kind === 'bridge' ? file : other), JSON.stringify(list));
    await rm(join(this.dir, 'cni', kind === 'bridge' ? other : file), { force: true });
  }

  plug(state: 'up' | 'down'): void {
    run('ip', 'link', 'set', this.#cable[0], state);
  }

  /** The container runtime, as at a boot; edgecore is started by `daemon`. */
  async powerOn(): Promise<void> {
    this.daemon('containerd', 'containerd', '--config', join(this.dir, 'containerd.toml'));
    await eventuallySync('containerd', () => run('ctr', '--address', this.socket, 'version'));
  }

  /** Runs on this machine until its power is cut. */
  daemon(name: string, command: string, ...args: string[]): void {
    const log = openSync(join(this.dir, `${name}.log`), 'a');
    const child = spawn('nsenter', [`--net=/run/netns/${this.namespace}`, command, ...args], {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#daemons.set(name, child);
  }

  async end(name: string, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#daemons.get(name);
    this.#daemons.delete(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  /** All at once: the daemons, those in `more`, every shim and container, and what lay in memory. */
  async powerOff(...more: number[]): Promise<void> {
    const tasks = this.#ctr('tasks', 'ls').match(/(?<=\s)\d+(?=\s+(RUNNING|CREATED))/g) ?? [];
    for (const pid of more) kill(pid);
    await Promise.all([...this.#daemons.keys()].map((name) => this.end(name, 'SIGKILL')));
    for (const pid of this.#shims()) kill(pid);
    for (const pid of tasks) kill(Number(pid));
    const mounts = readFileSync('/proc/mounts', 'utf8').split('\n');
    const under = mounts
      .map((line) => line.split(' ')[1] ?? '')
      .filter((at) => at.startsWith(`${this.dir}/`));
    for (const at of under.reverse()) run('umount', '--lazy', at);
    await rm(join(this.dir, 'run'), { recursive: true, force: true });
    await rm(this.socket, { force: true });
    for (const name of this.#podNetworks())
      if (existsSync(`/run/netns/${name}`)) run('ip', 'netns', 'delete', name);
  }

  async remove(): Promise<void> {
    await this.powerOff();
    run('ip', 'netns', 'delete', this.namespace);
    await rm(this.dir, { recursive: true, force: true });
  }

  get #cable(): [string, string] {
    return [`hwm${this.#id}`, `hwn${this.#id}`];
  }

  #configure(): Promise<void> {
    const [registry] = criImage.split('/');
    const config = [
      'version = 2',
      `root = "${this.dir}/containerd"`,
      `state = "${this.dir}/run"`,
      '[grpc]',
      `  address = "${this.socket}"`,
      '[plugins."io.containerd.grpc.v1.cri"]',
      `  sandbox_image = "${registry}/pause:1"`,
      '  restrict_oom_score_adj = true',
      '[plugins."io.containerd.grpc.v1.cri".cni]',
      `  conf_dir = "${this.dir}/cni"`,
      `  bin_dir = "${plugins}"`,
    ];
    return writeFile(join(this.dir, 'containerd.toml'), `${config.join('\n')}\n`);
  }

  /** By a file: this machine reaches no registry. */
  #copyImages(): void {
    const [registry] = criImage.split('/');
    const from = criEndpoint.replace(/^unix:\/\//, '');
    const file = join(this.dir, 'images.tar');
    const names = ['pause:1', 'busybox:latest', 'nginx:latest'].map((name) => `${registry}/${name}`);
    const there = ['--address', from, '--namespace', 'k8s.io', 'images'];
    for (const name of names) run('ctr', ...there, 'pull', '--plain-http', name);
    run('ctr', ...there, 'export', '--platform', platform, file, ...names);
    this.#ctr('images', 'import', '--platform', platform, file);
  }

  #ctr(...args: string[]): string {
    return run('ctr', '--address', this.socket, '--namespace', 'k8s.io', ...args);
  }

  #shims(): number[] {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    return pids.map(Number).filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return command.includes('containerd-shim') && command.includes(`-address ${this.socket}`);
      } catch {
        // Ended meanwhile.
        return false;
      }
    });
  }

  /** Those whose names containerd's database knows are of this machine. */
  #podNetworks(): string[] {
    const database = join(this.dir, 'containerd/io.containerd.metadata.v1.bolt/meta.db');
    const text = readFileSync(database, 'latin1');
    return [...new Set(text.match(/cni-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g))];
  }
}

const platform = `linux/${{ x64: 'amd64' }[process.arch as string] ?? process.arch}`;

function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

async function eventuallySync(what: string, act: () => void): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      return act();
    } catch (cause) {
      if (tries === 100) throw new Error(`${what} does not answer`, { cause });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
