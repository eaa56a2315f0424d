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
  type ContainerStatus,
  type Filter,
  label,
  RuntimeError,
  type RuntimeEvent,
  type RuntimeService,
  type SandboxConfig,
  type SandboxStatus,
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
  /** Containers of that name ignore TERM. */
  ignoreTerm(name: string): void;
  /** As after a reboot: all processes gone, sandboxes not ready. */
  reboot(): void;
}

export function createMemoryRuntime(options: { clock: Clock; instance?: string }): MemoryRuntime {
  const { clock } = options;
  const instance = options.instance ?? 'memory';
  const feed = new EventFeed<RuntimeEvent>();
  const sandboxes = new Map<string, MemorySandbox>();
  const containers = new Map<string, MemoryContainer>();
  const calls: string[] = [];
  const startFailures = new Map<string, RuntimeError>();
  const deaf = new Set<string>();
  let nextId = 1;

  const labelsOf = (config: { labels: Readonly<Record<string, string>> }) => ({
    ...config.labels,
    [label.instance]: instance,
  });
  const sandboxStatus = (it: MemorySandbox): SandboxStatus => ({
    id: it.id,
    podUid: it.config.podUid,
    podName: it.config.podName,
    podNamespace: it.config.podNamespace,
    attempt: it.config.attempt,
    state: it.ready ? 'ready' : 'notready',
    createdAtMs: it.createdAtMs,
    labels: labelsOf(it.config),
    ip: undefined,
  });
  const containerStatus = (it: MemoryContainer): ContainerStatus => ({
    id: it.id,
    sandboxId: it.sandbox.id,
    podUid: it.sandbox.config.podUid,
    name: it.config.name,
    attempt: it.config.attempt,
    image: it.config.image,
    state: it.state,
    createdAtMs: it.createdAtMs,
    labels: labelsOf(it.config),
    annotations: it.config.annotations,
    startedAtMs: it.startedAtMs,
    finishedAtMs: it.finishedAtMs,
    exitCode: it.exitCode,
    reason: it.exitCode === undefined ? '' : it.exitCode === 0 ? 'Completed' : 'Error',
    message: '',
    logPath: `${it.sandbox.config.logDirectory}/${it.config.logPath}`,
  });
  const find = (id: string): MemoryContainer => {
    const it = containers.get(id);
    if (it === undefined) throw new RuntimeError(`no container ${id}`, { code: 'not-found', id });
    return it;
  };
  const findSandbox = (id: string): MemorySandbox => {
    const it = sandboxes.get(id);
    if (it === undefined) throw new RuntimeError(`no sandbox ${id}`, { code: 'not-found', id });
    return it;
  };
  const tell = (type: RuntimeEvent['type'], it: MemoryContainer) =>
    feed.publish({ type, podUid: it.sandbox.config.podUid, containerId: it.id });
  const end = (it: MemoryContainer, exitCode: number) => {
    if (it.state !== 'running' && it.state !== 'created') return;
    it.state = 'exited';
    it.exitCode = exitCode;
    it.finishedAtMs = clock.now();
    for (const exited of it.exited.splice(0)) exited();
    tell('stopped', it);
  };
  const note = (verb: string, it: MemoryContainer) =>
    calls.push(`${verb} ${it.config.name}#${it.config.attempt}`);
  const ofPod = <T>(all: Iterable<T>, uidOf: (it: T) => string, filter: Filter = {}) =>
    [...all].filter((it) => filter.podUid === undefined || uidOf(it) === filter.podUid);

  const runtime: MemoryRuntime = {
    version: async () => ({ name: 'memory', version: '1' }),
    status: async () => ({
      conditions: [{ type: 'RuntimeReady', ok: true, reason: '', message: '' }],
      usesImages: false,
      mountsRefused: undefined,
    }),
    async runPodSandbox(config) {
      for (const it of sandboxes.values()) {
        if (it.config.podUid === config.podUid && it.config.attempt === config.attempt) return it.id;
      }
      const id = `sandbox-${nextId++}`;
      sandboxes.set(id, { id, config, createdAtMs: clock.now(), ready: true });
      calls.push(`sandbox ${config.podName}#${config.attempt}`);
      return id;
    },
    async stopPodSandbox(id) {
      const sandbox = sandboxes.get(id);
      if (sandbox === undefined) return;
      for (const it of containers.values()) if (it.sandbox === sandbox) end(it, 137);
      sandbox.ready = false;
    },
    async removePodSandbox(id) {
      await runtime.stopPodSandbox(id);
      for (const it of [...containers.values()])
        if (it.sandbox.id === id) await runtime.removeContainer(it.id);
      sandboxes.delete(id);
    },
    listPodSandboxes: async (filter) =>
      ofPod(sandboxes.values(), (it) => it.config.podUid, filter).map(sandboxStatus),
    podSandboxStatus: async (id) => sandboxStatus(findSandbox(id)),
    async createContainer(sandboxId, config) {
      const sandbox = findSandbox(sandboxId);
      for (const it of containers.values()) {
        if (it.sandbox === sandbox && it.config.name === config.name && it.config.attempt === config.attempt)
          return it.id;
      }
      const id = `container-${nextId++}`;
      const created: MemoryContainer = {
        id,
        sandbox,
        config,
        createdAtMs: clock.now(),
        state: 'created',
        startedAtMs: undefined,
        finishedAtMs: undefined,
        exitCode: undefined,
        exited: [],
      };
      containers.set(id, created);
      note('create', created);
      tell('created', created);
      return id;
    },
    async startContainer(id) {
      const it = find(id);
      const failure = startFailures.get(it.config.name);
      if (failure !== undefined) throw failure;
      if (it.state !== 'created') return;
      it.state = 'running';
      it.startedAtMs = clock.now();
      note('start', it);
      tell('started', it);
    },
    async stopContainer(id, graceMs) {
      const it = containers.get(id);
      if (it === undefined || it.state === 'exited') return;
      note('stop', it);
      if (!deaf.has(it.config.name)) return end(it, 143);
      const exited = new Promise<void>((resolve) => it.exited.push(resolve));
      const done = new AbortController();
      await Promise.race([exited, clock.sleep(graceMs, done.signal).catch(() => {})]);
      done.abort();
      end(it, 137);
    },
    async removeContainer(id) {
      const it = containers.get(id);
      if (it === undefined) return;
      end(it, 137);
      containers.delete(id);
      note('remove', it);
      tell('deleted', it);
    },
    listContainers: async (filter) =>
      ofPod(containers.values(), (it) => it.sandbox.config.podUid, filter).map(containerStatus),
    containerStatus: async (id) => containerStatus(find(id)),
    async execSync(id, command) {
      if (find(id).state !== 'running')
        throw new RuntimeError(`${id} does not run`, { code: 'not-running', id });
      return { exitCode: 0, stdout: Buffer.from(`${command.join(' ')}\n`), stderr: Buffer.alloc(0) };
    },
    async exec(id, request) {
      const { exitCode, stdout } = await runtime.execSync(id, request.command, 0);
      const out = new PassThrough();
      const err = new PassThrough();
      out.end(stdout);
      err.end();
      return {
        stdin: request.stdin ? new PassThrough().resume() : undefined,
        stdout: out,
        stderr: err,
        ended: Promise.resolve({ exitCode }),
        resize() {},
        close() {},
      };
    },
    attach: (id, request) => runtime.exec(id, { ...request, command: [] }),
    async portForward(sandboxId) {
      findSandbox(sandboxId);
      const echo = new PassThrough();
      return { readable: echo, writable: echo };
    },
    async pullImage(reference) {
      return reference;
    },
    listImages: async () => [],
    imageStatus: async () => undefined,
    async removeImage() {},
    listContainerStats: async (filter) =>
      ofPod(containers.values(), (it) => it.sandbox.config.podUid, filter)
        .filter((it) => it.state === 'running')
        .map((it) => ({
          id: it.id,
          podUid: it.sandbox.config.podUid,
          name: it.config.name,
          atMs: clock.now(),
          cpuNanoseconds: 0,
          memoryBytes: 0,
        })),
    events: (signal) => feed.read(signal),
    async close() {},
    handle: {
      calls,
      exit(name, exitCode) {
        const newest = [...containers.values()].filter((it) => it.config.name === name).at(-1);
        if (newest !== undefined) end(newest, exitCode);
      },
      failStart(name, error) {
        if (error === undefined) startFailures.delete(name);
        else startFailures.set(name, error);
      },
      ignoreTerm: (name) => void deaf.add(name),
      reboot() {
        for (const it of containers.values()) end(it, 255);
        for (const it of sandboxes.values()) it.ready = false;
      },
    },
  };
  return runtime;
}
