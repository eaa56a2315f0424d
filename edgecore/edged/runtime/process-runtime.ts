/**
 * The `process` runtime: a container is its `command` as a supervised process group on the host. Images are not
 * pulled and limits are not enforced; pods share the host's network.
 *
 * Built so that nothing hangs on edgecore's life: a shell script of 1 MB per container (process-shim.ts) waits
 * for the command and writes its exit code, one log writer per edge (process-logs.ts) writes all logs, and the
 * state directory (process-state.ts) is the whole truth. A daemon that owned the containers would take them
 * with it when it dies; here any part may be killed, and the next edgecore finds the rest. Mounts are per
 * container, because two containers of a pod may want different volumes at one path.
 */

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { type FSWatcher, mkdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { describeError } from '#protocol/errors.ts';
import { EventFeed } from './event-feed.ts';
import { type ExecTarget, exec, execSync, portForward } from './process-exec.ts';
import { identify, signal } from './process-identity.ts';
import { launch, refuseStart, refuseWhatCannotBe } from './process-launch.ts';
import { LogWriterKeeper } from './process-log-keeper.ts';
import { endAll, endStrays, probeNamespace, usageOfGroups } from './process-machine.ts';
import { type Namespace, shimScript } from './process-shim.ts';
import { type ContainerRecord, ProcessState, type RunState, type SandboxRecord } from './process-state.ts';
import {
  type Container,
  type ContainerConfig,
  type ContainerStats,
  type ContainerStatus,
  type ExecRequest,
  type ExecResult,
  type Filter,
  label,
  RuntimeError,
  type RuntimeEvent,
  type RuntimeService,
  type RuntimeStatus,
  type RuntimeVersion,
  type Sandbox,
  type SandboxConfig,
  type SandboxStatus,
  type StreamSession,
} from './runtime-service.ts';

export interface ProcessRuntimeOptions {
  /** Where the state is kept; one edge, one directory. */
  readonly root: string;
  /** Our mark on everything that is created. */
  readonly instance: string;
  /** The bundled log writer (dist/process-logs.js). */
  readonly logWriterFile: string;
  readonly logBytesMax?: number;
  readonly logFilesMax?: number;
}

const checkMs = 1000;
const startTimeoutMs = 10_000;

export function createProcessRuntime(
  options: ProcessRuntimeOptions,
  components: { clock: Clock; log: Log },
): RuntimeService {
  return new ProcessRuntime(options, components);
}

interface Tracked {
  readonly record: ContainerRecord;
  /** Not kept on disk; undefined for what an earlier edgecore started. */
  readonly config: ContainerConfig | undefined;
  run: RunState;
  watcher: FSWatcher | undefined;
  termSent: boolean;
  readonly changed: Set<() => void>;
}

class ProcessRuntime implements RuntimeService {
  readonly #options: ProcessRuntimeOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #state: ProcessState;
  readonly #script: string;
  readonly #namespace: Namespace;
  readonly #mountsRefused: string | undefined;
  readonly #feed = new EventFeed<RuntimeEvent>();
  readonly #sandboxes = new Map<string, SandboxRecord>();
  readonly #containers = new Map<string, Tracked>();
  readonly #closed = new AbortController();
  readonly #writer: LogWriterKeeper;

  constructor(options: ProcessRuntimeOptions, components: { clock: Clock; log: Log }) {
    this.#options = options;
    this.#clock = components.clock;
    this.#log = components.log.child({ module: 'process-runtime' });
    this.#state = new ProcessState(options.root);
    this.#writer = new LogWriterKeeper(options.logWriterFile, this.#state, this.#log);
    this.#script = this.#state.writeScript(shimScript);
    const { namespace, refused } = probeNamespace(this.#state.containersDirectory);
    this.#namespace = namespace;
    this.#mountsRefused = refused;
    for (const id of this.#state.halfMade()) {
      endStrays(id, { shim: undefined });
      this.#state.removeContainer(id);
    }
    for (const record of this.#state.sandboxes()) this.#sandboxes.set(record.id, record);
    for (const record of this.#state.containers()) this.#track(record, undefined);
    this.#writer.ensure();
    void this.#checkNowAndThen();
  }

  async version(): Promise<RuntimeVersion> {
    return { name: 'process', version: '1' };
  }

  async status(): Promise<RuntimeStatus> {
    const { missing } = this.#writer;
    return {
      conditions: [
        { type: 'RuntimeReady', ok: missing === '', reason: missing && 'LogWriterMissing', message: missing },
        { type: 'NetworkReady', ok: true, reason: '', message: '' },
      ],
      usesImages: false,
      mountsRefused: this.#mountsRefused,
      rotatesLogs: true,
    };
  }

  async runPodSandbox(config: SandboxConfig): Promise<string> {
    for (const it of this.#sandboxes.values())
      if (it.podUid === config.podUid && it.attempt === config.attempt) return it.id;
    const record: SandboxRecord = {
      id: newId(),
      podUid: config.podUid,
      podName: config.podName,
      podNamespace: config.podNamespace,
      attempt: config.attempt,
      hostname: config.hostname,
      logDirectory: config.logDirectory,
      createdAtMs: this.#clock.now(),
      bootId: this.#state.bootId,
      stopped: false,
      labels: { ...config.labels, [label.instance]: this.#options.instance },
    };
    this.#state.writeSandbox(record);
    this.#sandboxes.set(record.id, record);
    return record.id;
  }

  async stopPodSandbox(id: string): Promise<void> {
    const record = this.#sandboxes.get(id);
    if (record === undefined) return;
    await Promise.all(this.#inSandbox(id).map((it) => this.stopContainer(it.record.id, 0)));
    if (record.stopped) return;
    const stopped = { ...record, stopped: true };
    this.#state.writeSandbox(stopped);
    this.#sandboxes.set(id, stopped);
  }

  async removePodSandbox(id: string): Promise<void> {
    await this.stopPodSandbox(id);
    for (const it of this.#inSandbox(id)) await this.removeContainer(it.record.id);
    this.#state.removeSandbox(id);
    this.#sandboxes.delete(id);
  }

  async listPodSandboxes(filter: Filter = {}): Promise<readonly Sandbox[]> {
    return [...this.#sandboxes.values()]
      .filter((it) => filter.podUid === undefined || it.podUid === filter.podUid)
      .map((it) => this.#sandboxStatus(it));
  }

  async podSandboxStatus(id: string): Promise<SandboxStatus> {
    const record = this.#sandboxes.get(id);
    if (record === undefined) throw new RuntimeError(`no sandbox ${id}`, { code: 'not-found', id });
    return this.#sandboxStatus(record);
  }

  async createContainer(sandboxId: string, config: ContainerConfig): Promise<string> {
    const sandbox = this.#sandboxes.get(sandboxId);
    if (sandbox === undefined)
      throw new RuntimeError(`no sandbox ${sandboxId}`, { code: 'not-found', id: sandboxId });
    for (const { record } of this.#inSandbox(sandboxId))
      if (record.name === config.name && record.attempt === config.attempt) return record.id;
    refuseWhatCannotBe(config, this.#mountsRefused);
    const record: ContainerRecord = {
      id: newId(),
      sandboxId,
      podUid: sandbox.podUid,
      name: config.name,
      attempt: config.attempt,
      image: config.image,
      createdAtMs: this.#clock.now(),
      bootId: this.#state.bootId,
      namespace: this.#mountsOf(config).length > 0 ? this.#namespace : 'none',
      logPath: join(sandbox.logDirectory, config.logPath),
      labels: { ...config.labels, [label.instance]: this.#options.instance },
      annotations: { ...config.annotations },
    };
    mkdirSync(join(record.logPath, '..'), { recursive: true, mode: 0o755 });
    this.#state.createContainer(record, {
      path: record.logPath,
      bytesMax: this.#options.logBytesMax ?? 10 * 1024 * 1024,
      filesMax: this.#options.logFilesMax ?? 5,
    });
    this.#track(record, config);
    this.#tell('created', record);
    return record.id;
  }

  async startContainer(id: string): Promise<void> {
    const it = this.#find(id);
    const { record, config } = it;
    if (config === undefined || this.#observe(it).state !== 'created') return;
    const { args, env } = await launch(config, {
      id,
      script: this.#script,
      directory: this.#state.directory(id),
      namespace: record.namespace,
      mounts: this.#mountsOf(config),
      hostname: this.#sandboxes.get(record.sandboxId)?.hostname ?? '',
    });
    await this.#spawn(it, args, env);
    this.#tell('started', record);
  }

  async stopContainer(id: string, graceMs: number): Promise<void> {
    const it = this.#containers.get(id);
    if (it === undefined || this.#observe(it).state !== 'running') {
      if (it !== undefined) endStrays(it.record.id, it.run);
      return;
    }
    if (!it.termSent && graceMs > 0 && it.run.process !== undefined)
      it.termSent = signal(it.run.process, 'SIGTERM', 'group');
    const done = new AbortController();
    const late = graceMs > 0 ? this.#clock.sleep(graceMs, done.signal).catch(() => {}) : undefined;
    await Promise.race([late, this.#exited(it, done.signal)]);
    while (this.#observe(it).state === 'running' && !this.#closed.signal.aborted) {
      endAll(id, it.run);
      await Promise.race([
        this.#exited(it, done.signal),
        this.#clock.sleep(100, done.signal).catch(() => {}),
      ]);
    }
    done.abort();
    endStrays(it.record.id, it.run);
  }

  async removeContainer(id: string): Promise<void> {
    const it = this.#containers.get(id);
    if (it === undefined) return;
    await this.stopContainer(id, 0);
    const { shim } = this.#observe(it);
    if (shim !== undefined) signal(shim, 'SIGKILL', 'process');
    it.watcher?.close();
    this.#containers.delete(id);
    this.#state.removeContainer(id);
    this.#tell('deleted', it.record);
  }

  async listContainers(filter: Filter = {}): Promise<readonly Container[]> {
    return [...this.#containers.values()]
      .filter((it) => filter.podUid === undefined || it.record.podUid === filter.podUid)
      .map((it) => this.#containerStatus(it));
  }

  async containerStatus(id: string): Promise<ContainerStatus> {
    return this.#containerStatus(this.#find(id));
  }

  async execSync(id: string, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    return execSync(this.#running(id), command, timeoutMs, this.#clock);
  }

  async exec(id: string, request: ExecRequest): Promise<StreamSession> {
    if (request.tty)
      throw new RuntimeError('the process runtime has no terminals: leave out --tty', {
        code: 'unsupported',
        what: 'tty',
      });
    return exec(this.#running(id), request, this.#clock);
  }

  async attach(id: string): Promise<StreamSession> {
    this.#running(id);
    const { logPath } = this.#find(id).record;
    throw new RuntimeError(`the process runtime cannot attach: read the log ${logPath}`, {
      code: 'unsupported',
      what: 'attach',
    });
  }

  async portForward(sandboxId: string, port: number) {
    await this.podSandboxStatus(sandboxId);
    return portForward(port);
  }

  async pullImage(reference: string): Promise<string> {
    throw new RuntimeError(`the process runtime pulls no images (${reference})`, {
      code: 'unsupported',
      what: 'images',
    });
  }

  async reopenContainerLog(): Promise<void> {
    throw new RuntimeError('the process runtime rotates its logs itself', {
      code: 'unsupported',
      what: 'reopening a log',
    });
  }

  async listImages() {
    return [];
  }

  async imageStatus() {
    return undefined;
  }

  async removeImage(): Promise<void> {}

  async imagesInUse() {
    return new Set<string>();
  }

  async imageDirectory() {
    return undefined;
  }

  async listContainerStats(filter: Filter = {}): Promise<readonly ContainerStats[]> {
    const all = await this.listContainers(filter);
    const groups = all.flatMap(({ id }) => this.#containers.get(id)?.run.process?.pid ?? []);
    const used = usageOfGroups(new Set(groups));
    return all.flatMap(({ id, podUid, name, state }) => {
      const pid = this.#containers.get(id)?.run.process?.pid;
      const found = state === 'running' && pid !== undefined ? used.get(pid) : undefined;
      return found === undefined ? [] : [{ id, podUid, name, atMs: this.#clock.now(), ...found }];
    });
  }

  async listPodSandboxStats() {
    return [];
  }

  events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    return this.#feed.read(AbortSignal.any([signal, this.#closed.signal]));
  }

  async close(): Promise<void> {
    this.#closed.abort();
    for (const it of this.#containers.values()) it.watcher?.close();
  }

  #mountsOf(config: ContainerConfig) {
    return this.#mountsRefused === undefined ? config.mounts : [];
  }

  async #spawn(it: Tracked, args: string[], env: Record<string, string>): Promise<void> {
    const child = spawn('/bin/sh', args, { detached: true, stdio: 'ignore', env, cwd: '/' });
    const failed = new Promise<Error>((resolve) => child.once('error', resolve));
    const shim = child.pid === undefined ? undefined : identify(child.pid);
    if (shim === undefined) throw refuseStart(it.record.name, describeError(await failed));
    this.#state.markStarted(it.record.id, shim);
    child.unref();
    const done = new AbortController();
    const isUp = () => {
      const run = this.#observe(it);
      return run.process !== undefined || run.state === 'exited';
    };
    child.once('exit', () => this.#changed(it));
    await Promise.race([
      this.#until(it, isUp, done.signal),
      this.#clock.sleep(startTimeoutMs, done.signal).catch(() => {}),
    ]);
    done.abort();
  }

  #track(record: ContainerRecord, config: ContainerConfig | undefined): void {
    const it: Tracked = {
      record,
      config,
      run: this.#state.observe(record),
      watcher: undefined,
      termSent: false,
      changed: new Set(),
    };
    this.#containers.set(record.id, it);
    if (it.run.state === 'exited') return;
    it.watcher = watch(this.#state.directory(record.id), (_event, name) => {
      if (name === 'exit' || name === 'pid') this.#changed(it);
    });
    it.watcher.on('error', () => it.watcher?.close());
  }

  /** The state as it is now; an end is told once. */
  #observe(it: Tracked): RunState {
    if (it.run.state === 'exited') return it.run;
    it.run = this.#state.observe(it.record);
    if (it.run.state === 'exited') {
      it.watcher?.close();
      endStrays(it.record.id, it.run);
      this.#tell('stopped', it.record);
    }
    return it.run;
  }

  #changed(it: Tracked): void {
    if (!this.#containers.has(it.record.id)) return;
    this.#observe(it);
    for (const wake of [...it.changed]) wake();
  }

  #exited(it: Tracked, signal: AbortSignal): Promise<void> {
    return this.#until(it, () => this.#observe(it).state === 'exited', signal);
  }

  async #until(it: Tracked, holds: () => boolean, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const look = () => {
        if (!signal.aborted && !holds()) return;
        it.changed.delete(look);
        resolve();
      };
      it.changed.add(look);
      signal.addEventListener('abort', look, { once: true });
      look();
    });
  }

  /** A shim that was killed tells nothing, so running containers are looked at each second; so is the log writer. */
  async #checkNowAndThen(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      await this.#clock.sleep(checkMs, signal).catch(() => {});
      if (signal.aborted) return;
      try {
        for (const it of this.#containers.values()) if (it.run.state === 'running') this.#changed(it);
        this.#writer.ensure();
      } catch (error) {
        this.#log.warn({ err: error }, 'cannot look after the containers');
      }
    }
  }

  #running(id: string): ExecTarget {
    const it = this.#find(id);
    const run = this.#observe(it);
    if (run.state !== 'running' || run.process === undefined)
      throw new RuntimeError(`container ${it.record.name} does not run`, { code: 'not-running', id });
    return { containerId: id, process: run.process, namespace: it.record.namespace };
  }

  #find(id: string): Tracked {
    const it = this.#containers.get(id);
    if (it === undefined) throw new RuntimeError(`no container ${id}`, { code: 'not-found', id });
    return it;
  }

  #inSandbox(id: string): Tracked[] {
    return [...this.#containers.values()].filter((it) => it.record.sandboxId === id);
  }

  #tell(type: RuntimeEvent['type'], record: ContainerRecord): void {
    this.#feed.publish({ type, podUid: record.podUid, containerId: record.id });
  }

  #sandboxStatus(it: SandboxRecord): SandboxStatus {
    const { id, podUid, podName, podNamespace, attempt, createdAtMs, labels } = it;
    const state = !it.stopped && it.bootId === this.#state.bootId ? 'ready' : 'notready';
    return { id, podUid, podName, podNamespace, attempt, createdAtMs, labels, state, ip: undefined };
  }

  #containerStatus(it: Tracked): ContainerStatus {
    const { id, sandboxId, podUid, name, attempt, image, createdAtMs, labels, annotations, logPath } =
      it.record;
    const { state, startedAtMs, finishedAtMs, exitCode, reason, message } = this.#observe(it);
    const identity = {
      id,
      sandboxId,
      podUid,
      name,
      attempt,
      image,
      createdAtMs,
      labels,
      annotations,
      logPath,
    };
    return { ...identity, state, startedAtMs, finishedAtMs, exitCode, reason, message, imageRef: '' };
  }
}

function newId(): string {
  return randomUUID().replaceAll('-', '');
}
