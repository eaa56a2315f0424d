/**
 * A directory of its own, free ports, and the bundled commands run as a user runs them: what every end-to-end
 * test begins with. `close` resets what was set up and fails when something of it still runs.
 */

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '#beehive/clock.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { createKubeApi } from '#cloudcore/kube/client.ts';
import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { serviceStateSchema } from '#keadm/service/supervise.ts';
import { filesBelow } from '#test/files-below.ts';
import { freePorts } from '#test/free-port.ts';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Ports {
  readonly api: number;
  readonly hub: number;
  readonly bootstrap: number;
  readonly monitor: number;
}

export class Workspace {
  readonly dir: string;
  readonly ports: Ports;
  readonly #resets: (readonly string[])[] = [];

  private constructor(dir: string, ports: Ports) {
    this.dir = dir;
    this.ports = ports;
  }

  static async open(): Promise<Workspace> {
    const [api, hub, bootstrap, monitor] = await freePorts(4);
    return new Workspace(await mkdtemp(join(tmpdir(), 'hawser-e2e-')), {
      api: api ?? 0,
      hub: hub ?? 0,
      bootstrap: bootstrap ?? 0,
      monitor: monitor ?? 0,
    });
  }

  get cloudDir(): string {
    return join(this.dir, 'cloud');
  }

  edgeDir(name: string): string {
    return join(this.dir, name);
  }

  get adminConf(): string {
    return join(this.cloudDir, 'admin.conf');
  }

  /** Runs keadm; whatever it set up is reset at `close`. */
  async keadm(...args: string[]): Promise<CommandResult> {
    const dataDir = args[args.indexOf('--data-dir') + 1];
    if (args[0] === 'init') this.#resets.unshift(['reset', 'cloud', '--data-dir', dataDir ?? '']);
    if (args[0] === 'join') this.#resets.unshift(['reset', 'edge', '--data-dir', dataDir ?? '']);
    return await runCommand(process.execPath, [join(packageRoot(), 'dist/keadm.js'), ...args], this.dir);
  }

  /** For what another command than `keadm` of this class sets up. */
  resetLater(role: 'cloud' | 'edge', dataDir: string): void {
    this.#resets.unshift(['reset', role, '--data-dir', dataDir]);
  }

  init(...more: string[]): Promise<CommandResult> {
    const set = [
      `modules.cloudHub.websocket.port=${this.ports.hub}`,
      `modules.cloudHub.https.port=${this.ports.bootstrap}`,
      `commonConfig.monitorServer.bindAddress=127.0.0.1:${this.ports.monitor}`,
    ].join(',');
    return this.keadm(
      'init',
      ...['--data-dir', this.cloudDir, '--advertise-address', '127.0.0.1'],
      ...['--api-port', String(this.ports.api), '--set', set],
      ...more,
    );
  }

  async token(): Promise<string> {
    const { code, stdout, stderr } = await this.keadm(
      'gettoken',
      '--data-dir',
      this.cloudDir,
      '--kube-config',
      this.#kubeConfig,
    );
    if (code !== 0) throw new Error(`keadm gettoken failed: ${stderr}`);
    return stdout.trim();
  }

  join(name: string, token: string, ...more: string[]): Promise<CommandResult> {
    return this.keadm(
      'join',
      ...['--data-dir', this.edgeDir(name), '--edgenode-name', name, '--runtime', 'process'],
      ...['--cloudcore-ipport', `127.0.0.1:${this.ports.hub}`, '--certport', String(this.ports.bootstrap)],
      ...['--token', token],
      ...more,
    );
  }

  /** The kubeconfig of a cluster that is not ours; the embedded API's otherwise. */
  useKubeConfig(file: string): void {
    this.#external = file;
  }

  #external: string | undefined;

  get #kubeConfig(): string {
    return this.#external ?? this.adminConf;
  }

  api(): Promise<KubeApi> {
    return createKubeApi(this.#kubeConfig);
  }

  /** What the supervisor of a service keeps about it: the processes of both. */
  async service(
    dir: string,
    name: 'apiserver' | 'cloudcore' | 'edgecore',
  ): Promise<{ supervisor: number; daemon: number }> {
    const files = await filesBelow(join(dir, 'lib'));
    const file = files.find((entry) => new RegExp(`(^|/)${name}(@[^/]*)?\\.json$`).test(entry));
    if (file === undefined) throw new Error(`${name} never ran in ${dir}`);
    const state = serviceStateSchema.parse(JSON.parse(await readFile(join(dir, 'lib', file), 'utf8')));
    if (state.daemon === undefined) throw new Error(`${name} is not running`);
    return { supervisor: state.supervisor.pid, daemon: state.daemon.pid };
  }

  async close(): Promise<void> {
    const failures: string[] = [];
    const seen = new Set<string>();
    for (const args of this.#resets) {
      if (seen.has(args.join(' '))) continue;
      seen.add(args.join(' '));
      const { code, stderr } = await runCommand(
        process.execPath,
        [join(packageRoot(), 'dist/keadm.js'), ...args],
        this.dir,
      );
      if (code !== 0 && !stderr.includes('nothing to reset'))
        failures.push(`keadm ${args.join(' ')}: ${stderr}`);
    }
    if (failures.length > 0) throw new Error(failures.join('\n'));
    await rm(this.dir, { recursive: true, force: true });
  }
}

export function runCommand(command: string, args: readonly string[], cwd: string): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}

const lookEveryMs = 100;

/**
 * Asks again until `read` gives something; the last refusal's reason stands in the error. It gives up after as many
 * looks as fit into that time, so that a machine that is slow at everything has longer.
 */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  read: () => Promise<T | undefined>,
): Promise<T> {
  let last: unknown;
  for (let looks = 0; looks * lookEveryMs <= timeoutMs; looks += 1) {
    try {
      const value = await read();
      if (value !== undefined) return value;
    } catch (error) {
      last = error;
    }
    await systemClock.sleep(lookEveryMs);
  }
  throw new Error(`${what}: not within ${timeoutMs} ms`, { cause: last });
}
