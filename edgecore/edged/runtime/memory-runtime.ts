/**
 * The runtime for tests: containers that exist in memory and do what the test says. `handle` ends containers,
 * makes starts fail, and keeps the order of calls. Nothing runs.
 */

import { PassThrough } from 'node:stream';
import type { Clock } from '#beehive/clock.ts';
import { EventFeed } from './event-feed.ts';
import {
  type ContainerConfig,
  type ContainerState,
  type ContainerStats,
  type ContainerStatus,
  type ExecRequest,
  type ExecResult,
  type Filter,
  type Image,
  label,
  type PullOptions,
  RuntimeError,
  type RuntimeEvent,
  type RuntimeService,
  type RuntimeStatus,
  type Sandbox,
  type SandboxConfig,
  type SandboxStatus,
  type StreamSession,
} from './runtime-service.ts';

interface MemorySandbox {
  readonly id: string;
  readonly config: SandboxConfig;
  readonly createdAtMs: number;
  ready: boolean;
}

interface MemoryContainer {
  readonly id: string;
  readonly sandbox: MemorySandbox;
  readonly config: ContainerConfig;
  readonly createdAtMs: number;
  state: ContainerState;
  starting: boolean;
  startedAtMs: number | undefined;
  finishedAtMs: number | undefined;
  exitCode: number | undefined;
  readonly exited: (() => void)[];
}

export interface MemoryRuntime extends RuntimeService {
  readonly handle: MemoryRuntimeHandle;
}

export interface MemoryRuntimeHandle {
  /** Each mutating call as `verb name#attempt`. */
  readonly calls: readonly string[];
  /** The newest container of that name ends. */
  exit(name: string, exitCode: number): void;
  /** What `startContainer` throws for that name; undefined heals it. */
  failStart(name: string, error: RuntimeError | undefined): void;
  /** Starts of that name take until the answer is called. */
  holdStart(name: string): () => void;
  /** Containers of that name ignore TERM. */
  ignoreTerm(name: string): void;
  /** What running a pod's sandbox throws; undefined heals it. */
  failSandbox(error: RuntimeError | undefined): void;
  /** What a command in the named container gives. */
  onExec(name: string, run: (command: readonly string[]) => Promise<ExecResult>): void;
  /** How a pull goes; by default it succeeds. Makes the runtime one that uses images. */
  onPull(pull: (reference: string, options: PullOptions) => Promise<string>): void;
  /** Images that are there without a pull. */
  readonly images: Set<string>;
  /** How large an image is, whether it is pinned, and whether somebody else's container is made from it. */
  readonly imageFacts: Map<string, { sizeBytes?: number; pinned?: boolean; usedByOthers?: boolean }>;
  /** What running containers of that name use. */
  use(
    name: string,
    stats: Partial<Pick<ContainerStats, 'cpuNanoseconds' | 'memory' | 'writableLayer'>>,
  ): void;
  /** As after a reboot: all processes gone, sandboxes not ready. */
  reboot(): void;
}

export function createMemoryRuntime(options: { clock: Clock; instance?: string }): MemoryRuntime {
  return new InMemory(options.clock, options.instance ?? 'memory');
}

class InMemory implements MemoryRuntime {
  readonly handle: MemoryRuntimeHandle;
  readonly #clock: Clock;
  readonly #instance: string;
  readonly #feed = new EventFeed<RuntimeEvent>();
  readonly #sandboxes = new Map<string, MemorySandbox>();
  readonly #containers = new Map<string, MemoryContainer>();
  readonly #calls: string[] = [];
  readonly #startFailures = new Map<string, RuntimeError>();
  readonly #held = new Map<string, Promise<void>>();
  readonly #deaf = new Set<string>();
  readonly #execs = new Map<string, (command: readonly string[]) => Promise<ExecResult>>();
  readonly #images = new Set<string>();
  readonly #imageFacts: MemoryRuntimeHandle['imageFacts'] = new Map();
  readonly #uses = new Map<string, Parameters<MemoryRuntimeHandle['use']>[1]>();
  #pull: ((reference: string, options: PullOptions) => Promise<string>) | undefined;
  #sandboxFailure: RuntimeError | undefined;
  #nextId = 1;

  constructor(clock: Clock, instance: string) {
    this.#clock = clock;
    this.#instance = instance;
    this.handle = {
      calls: this.#calls,
      exit: (name, exitCode) => {
        const newest = [...this.#containers.values()].filter((it) => it.config.name === name).at(-1);
        if (newest !== undefined) this.#end(newest, exitCode);
      },
      failStart: (name, error) => {
        if (error === undefined) this.#startFailures.delete(name);
        else this.#startFailures.set(name, error);
      },
      holdStart: (name) => {
        let release = () => {};
        const held = new Promise<void>((resolve) => {
          release = resolve;
        });
        this.#held.set(name, held);
        return () => {
          this.#held.delete(name);
          release();
        };
      },
      ignoreTerm: (name) => void this.#deaf.add(name),
      failSandbox: (error) => {
        this.#sandboxFailure = error;
      },
      onExec: (name, run) => void this.#execs.set(name, run),
      onPull: (pull) => {
        this.#pull = pull;
      },
      images: this.#images,
      imageFacts: this.#imageFacts,
      use: (name, stats) => void this.#uses.set(name, stats),
      reboot: () => {
        for (const it of this.#containers.values()) this.#end(it, 255);
        for (const it of this.#sandboxes.values()) it.ready = false;
      },
    };
  }

  async version() {
    return { name: 'memory', version: '1' };
  }

  async status(): Promise<RuntimeStatus> {
    const ready = { type: 'RuntimeReady', ok: true, reason: '', message: '' } as const;
    const usesImages = this.#pull !== undefined;
    return { conditions: [ready], usesImages, mountsRefused: undefined, rotatesLogs: false };
  }

  async runPodSandbox(config: SandboxConfig): Promise<string> {
    for (const it of this.#sandboxes.values())
      if (it.config.podUid === config.podUid && it.config.attempt === config.attempt) return it.id;
    if (this.#sandboxFailure !== undefined) throw this.#sandboxFailure;
    const id = `sandbox-${this.#nextId++}`;
    this.#sandboxes.set(id, { id, config, createdAtMs: this.#clock.now(), ready: true });
    this.#calls.push(`sandbox ${config.podName}#${config.attempt}`);
    return id;
  }

  async stopPodSandbox(id: string): Promise<void> {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) return;
    for (const it of this.#containers.values()) if (it.sandbox === sandbox) this.#end(it, 137);
    sandbox.ready = false;
  }

  async removePodSandbox(id: string): Promise<void> {
    await this.stopPodSandbox(id);
    for (const it of [...this.#containers.values()])
      if (it.sandbox.id === id) await this.removeContainer(it.id);
    this.#sandboxes.delete(id);
  }

  async listPodSandboxes(filter: Filter = {}): Promise<readonly Sandbox[]> {
    return [...this.#sandboxes.values()]
      .filter((it) => filter.podUid === undefined || it.config.podUid === filter.podUid)
      .map((it) => this.#sandboxStatus(it));
  }

  async podSandboxStatus(id: string): Promise<SandboxStatus> {
    return this.#sandboxStatus(this.#findSandbox(id));
  }

  async createContainer(sandboxId: string, config: ContainerConfig): Promise<string> {
    const sandbox = this.#findSandbox(sandboxId);
    for (const it of this.#containers.values()) {
      const same = it.config.name === config.name && it.config.attempt === config.attempt;
      if (it.sandbox === sandbox && same) return it.id;
    }
    const created: MemoryContainer = {
      id: `container-${this.#nextId++}`,
      sandbox,
      config,
      createdAtMs: this.#clock.now(),
      state: 'created',
      starting: false,
      startedAtMs: undefined,
      finishedAtMs: undefined,
      exitCode: undefined,
      exited: [],
    };
    this.#containers.set(created.id, created);
    this.#note('create', created);
    this.#tell('created', created);
    return created.id;
  }

  async startContainer(id: string): Promise<void> {
    const it = this.#find(id);
    const failure = this.#startFailures.get(it.config.name);
    if (failure !== undefined) throw failure;
    if (it.state !== 'created') return;
    refuseWhileStarting(it);
    const held = this.#held.get(it.config.name);
    if (held !== undefined) {
      it.starting = true;
      await held;
      it.starting = false;
      if (hasEnded(it)) return;
    }
    it.state = 'running';
    it.startedAtMs = this.#clock.now();
    this.#note('start', it);
    this.#tell('started', it);
  }

  async stopContainer(id: string, graceMs: number): Promise<void> {
    const it = this.#containers.get(id);
    if (it === undefined || it.state === 'exited') return;
    this.#note('stop', it);
    if (!this.#deaf.has(it.config.name)) return this.#end(it, 143);
    const exited = new Promise<void>((resolve) => it.exited.push(resolve));
    const done = new AbortController();
    await Promise.race([exited, this.#clock.sleep(graceMs, done.signal).catch(() => {})]);
    done.abort();
    this.#end(it, 137);
  }

  async removeContainer(id: string): Promise<void> {
    const it = this.#containers.get(id);
    if (it === undefined) return;
    refuseWhileStarting(it);
    this.#end(it, 137);
    this.#containers.delete(id);
    this.#note('remove', it);
    this.#tell('deleted', it);
  }

  async reopenContainerLog(id: string): Promise<void> {
    this.#note('reopen', this.#find(id));
  }

  async listContainers(filter: Filter = {}): Promise<readonly ContainerStatus[]> {
    return [...this.#containers.values()]
      .filter((it) => filter.podUid === undefined || it.sandbox.config.podUid === filter.podUid)
      .map((it) => this.#containerStatus(it));
  }

  async containerStatus(id: string): Promise<ContainerStatus> {
    return this.#containerStatus(this.#find(id));
  }

  async execSync(id: string, command: readonly string[]): Promise<ExecResult> {
    const it = this.#find(id);
    if (it.state !== 'running') throw new RuntimeError(`${id} does not run`, { code: 'not-running', id });
    const run = this.#execs.get(it.config.name);
    if (run !== undefined) return run(command);
    return { exitCode: 0, stdout: Buffer.from(`${command.join(' ')}\n`), stderr: Buffer.alloc(0) };
  }

  async exec(id: string, request: ExecRequest): Promise<StreamSession> {
    const { exitCode, stdout: said } = await this.execSync(id, request.command);
    const stdout = new PassThrough().end(said);
    const stderr = new PassThrough().end();
    const stdin = request.stdin ? new PassThrough().resume() : undefined;
    return { stdin, stdout, stderr, ended: Promise.resolve({ exitCode }), resize() {}, close() {} };
  }

  attach(id: string, request: Omit<ExecRequest, 'command'>): Promise<StreamSession> {
    return this.exec(id, { ...request, command: [] });
  }

  async portForward(sandboxId: string) {
    this.#findSandbox(sandboxId);
    const echo = new PassThrough();
    return { readable: echo, writable: echo };
  }

  async pullImage(reference: string, options: PullOptions = {}): Promise<string> {
    this.#calls.push(`pull ${reference}`);
    const id = (await this.#pull?.(reference, options)) ?? reference;
    this.#images.add(reference);
    return id;
  }

  async listImages(): Promise<readonly Image[]> {
    return [...this.#images].map((reference) => this.#image(reference));
  }

  async imageStatus(reference: string): Promise<Image | undefined> {
    return this.#images.has(reference) ? this.#image(reference) : undefined;
  }

  async removeImage(reference: string): Promise<void> {
    this.#images.delete(reference);
    this.#calls.push(`remove-image ${reference}`);
  }

  async imagesInUse(): Promise<ReadonlySet<string>> {
    const others = [...this.#imageFacts].flatMap(([name, it]) => (it.usedByOthers ? [name] : []));
    return new Set([...others, ...[...this.#containers.values()].map((it) => it.config.image)]);
  }

  async imageDirectory(): Promise<string | undefined> {
    return this.#pull === undefined ? undefined : '/images';
  }

  async listContainerStats(filter: Filter = {}): Promise<readonly ContainerStats[]> {
    const all = await this.listContainers(filter);
    return all
      .filter((it) => it.state === 'running')
      .map(({ id, podUid, name }) => ({
        id,
        podUid,
        name,
        atMs: this.#clock.now(),
        cpuNanoseconds: 0,
        memory: { workingSetBytes: 0 },
        ...this.#uses.get(name),
      }));
  }

  async listPodSandboxStats() {
    return [];
  }

  events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    return this.#feed.read(signal);
  }

  async close(): Promise<void> {}

  #image(reference: string): Image {
    const { sizeBytes = 1, pinned = false } = this.#imageFacts.get(reference) ?? {};
    return { id: reference, tags: [reference], digests: [], sizeBytes, pinned };
  }

  #find(id: string): MemoryContainer {
    const it = this.#containers.get(id);
    if (it === undefined) throw new RuntimeError(`no container ${id}`, { code: 'not-found', id });
    return it;
  }

  #findSandbox(id: string): MemorySandbox {
    const it = this.#sandboxes.get(id);
    if (it === undefined) throw new RuntimeError(`no sandbox ${id}`, { code: 'not-found', id });
    return it;
  }

  #end(it: MemoryContainer, exitCode: number): void {
    if (it.state !== 'running' && it.state !== 'created') return;
    it.state = 'exited';
    it.exitCode = exitCode;
    it.finishedAtMs = this.#clock.now();
    for (const exited of it.exited.splice(0)) exited();
    this.#tell('stopped', it);
  }

  #note(verb: string, it: MemoryContainer): void {
    this.#calls.push(`${verb} ${it.config.name}#${it.config.attempt}`);
  }

  #tell(type: RuntimeEvent['type'], it: MemoryContainer): void {
    this.#feed.publish({ type, podUid: it.sandbox.config.podUid, containerId: it.id });
  }

  #sandboxStatus({ id, config, ready, createdAtMs }: MemorySandbox): SandboxStatus {
    const { podUid, podName, podNamespace, attempt } = config;
    const labels = { ...config.labels, [label.instance]: this.#instance };
    const state = ready ? 'ready' : 'notready';
    return { id, podUid, podName, podNamespace, attempt, state, createdAtMs, labels, ip: undefined };
  }

  #containerStatus(it: MemoryContainer): ContainerStatus {
    const { id, sandbox, config, state, createdAtMs, startedAtMs, finishedAtMs, exitCode } = it;
    const { name, attempt, image, annotations } = config;
    return {
      id,
      sandboxId: sandbox.id,
      podUid: sandbox.config.podUid,
      name,
      attempt,
      image,
      state,
      createdAtMs,
      labels: { ...config.labels, [label.instance]: this.#instance },
      annotations,
      startedAtMs,
      finishedAtMs,
      exitCode,
      reason: exitCode === undefined ? '' : exitCode === 0 ? 'Completed' : 'Error',
      message: '',
      imageRef: config.imageId ?? '',
      logPath: `${sandbox.config.logDirectory}/${config.logPath}`,
    };
  }
}

function hasEnded({ state }: MemoryContainer): boolean {
  return state === 'exited';
}

function refuseWhileStarting({ id, starting }: MemoryContainer): void {
  if (starting) throw new RuntimeError(`${id} is being started`, { code: 'starting', id });
}
