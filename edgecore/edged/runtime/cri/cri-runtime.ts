/**
 * The `cri` runtime: containers of containerd or CRI-O. It keeps nothing that could disagree with the runtime; what
 * a later call needs rides on the sandbox as an annotation. Only what carries our instance id is listed, and so
 * only that is ever stopped or removed.
 */

import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import {
  type Container,
  type ContainerConfig,
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
  type RuntimeVersion,
  type Sandbox,
  type SandboxConfig,
  type SandboxStats,
  type SandboxStatus,
  type StreamSession,
} from '../runtime-service.ts';
import { readCgroupDriver } from './cgroup-driver.ts';
import { type CgroupDriver, type Cgroups, createCgroups, driverFix } from './cgroups.ts';
import { containerOf, sandboxOf, statusOf } from './cri-answers.ts';
import { CriCalls, notFound, unlessGone } from './cri-calls.ts';
import { type CriClient, createCriClient } from './cri-client.ts';
import { CriEndings } from './cri-endings.ts';
import { CriEvents } from './cri-events.ts';
import { CriImages } from './cri-images.ts';
import * as messages from './cri-messages.ts';
import {
  containerRequest,
  hidden,
  type KeptSandbox,
  keptSandbox,
  type SandboxRequest,
  sandboxRequest,
} from './cri-requests.ts';
import { containerStats, sandboxStats } from './cri-stats.ts';
import { openPortForward, openStreams } from './cri-streams.ts';

export interface CriRuntimeOptions {
  readonly socket: string;
  readonly protoFile: string;
  /** Our mark on everything that is created. */
  readonly instance: string;
  /** What edgecore.yaml says; the runtime's own is used all the same. */
  readonly cgroupDriver?: CgroupDriver | undefined;
}

type SandboxRecord = Pick<SandboxRequest, 'metadata' | 'labels' | 'annotations'> & {
  readonly kept: KeptSandbox;
};

const sandboxesMax = 256;

export function createCriRuntime(
  options: CriRuntimeOptions,
  components: { clock: Clock; log: Log },
  client = createCriClient(options, components),
): RuntimeService {
  return new CriRuntime(options, client, components);
}

class CriRuntime implements RuntimeService {
  readonly #instance: string;
  readonly #log: Log;
  readonly #configuredDriver: CgroupDriver | undefined;
  readonly #client: CriClient;
  readonly #calls: CriCalls;
  readonly #endings: CriEndings;
  readonly #images: CriImages;
  readonly #events: CriEvents;
  readonly #closed = new AbortController();
  /** What CreateContainer wants of sandboxes that we made a moment ago; it rides on each of them as well. */
  readonly #sandboxes = new Map<string, SandboxRecord>();
  #cgroups: Promise<Cgroups> | undefined;

  constructor(options: CriRuntimeOptions, client: CriClient, { clock, log }: { clock: Clock; log: Log }) {
    this.#instance = options.instance;
    this.#log = log.child({ module: 'cri-runtime' });
    this.#configuredDriver = options.cgroupDriver;
    this.#client = client;
    this.#calls = new CriCalls(client);
    this.#endings = new CriEndings(this.#calls, clock, this.#closed.signal);
    this.#images = new CriImages(this.#calls);
    this.#events = new CriEvents({
      client,
      clock,
      log: this.#log,
      instance: options.instance,
      list: async () => [await this.listPodSandboxes(), await this.listContainers()],
      signal: this.#closed.signal,
    });
  }

  async version(): Promise<RuntimeVersion> {
    const answer = await this.#calls.read(
      'RuntimeService/Version',
      { version: 'v1' },
      messages.versionAnswer,
    );
    return { name: answer.runtime_name, version: answer.runtime_version };
  }

  async status(): Promise<RuntimeStatus> {
    const { status } = await this.#calls.read('RuntimeService/Status', {}, messages.statusAnswer);
    const conditions = (status?.conditions ?? []).flatMap(({ type, status: ok, reason, message }) =>
      type === 'RuntimeReady' || type === 'NetworkReady' ? [{ type, ok, reason, message } as const] : [],
    );
    return { conditions, usesImages: true, mountsRefused: undefined, rotatesLogs: false };
  }

  async runPodSandbox(config: SandboxConfig): Promise<string> {
    const { podUid, podName, attempt } = config;
    await mkdir(config.logDirectory, { recursive: true, mode: 0o755 });
    const request = {
      config: sandboxRequest(config, this.#instance, await this.#podCgroups()),
      runtime_handler: config.runtimeHandler ?? '',
    };
    try {
      const method = 'RuntimeService/RunPodSandbox';
      const { pod_sandbox_id: id } = await this.#calls.change(method, request, messages.sandboxIdAnswer);
      this.#events.know(id, { podUid, state: 'ready' });
      this.#remember(id, request.config);
      return id;
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'refused') throw error;
      // Runtimes refuse a name twice: asking first whether it is there would cost every pod a call.
      const there = (await this.listPodSandboxes({ podUid })).find((it) => it.attempt === attempt);
      if (there !== undefined) return there.id;
      throw new RuntimeError(
        error.message,
        { code: 'cannot-run-sandbox', name: podName },
        { retry: 'backoff', cause: error },
      );
    }
  }

  #remember(id: string, { metadata, labels, annotations, ...kept }: SandboxRequest): void {
    this.#sandboxes.set(id, { metadata, labels, annotations, kept });
    for (const oldest of this.#sandboxes.keys()) {
      if (this.#sandboxes.size <= sandboxesMax) break;
      this.#sandboxes.delete(oldest);
    }
  }

  async stopPodSandbox(id: string): Promise<void> {
    if ((await unlessGone(this.#sandboxStatus(id))) === undefined) return;
    await this.#stopSandbox(id);
    this.#events.know(id, { state: 'notready' });
  }

  async removePodSandbox(id: string): Promise<void> {
    const found = await unlessGone(this.#sandboxStatus(id));
    if (found === undefined) return;
    const { state, annotations } = found.status;
    // One that was stopped has given its network back; asking for that again would cost a run of each plugin.
    if (state === 'SANDBOX_READY') await this.#stopSandbox(id);
    // Empty by now; without the sandbox nothing would say any more that they were ours.
    const parent = keptSandbox(annotations)?.linux.cgroup_parent;
    if (parent !== undefined) await (await this.#podCgroups()).remove(parent);
    const request = { pod_sandbox_id: id };
    const method = 'RuntimeService/RemovePodSandbox';
    const remove = () => this.#calls.change(method, request, messages.emptyAnswer, id);
    await unlessGone(this.#endings.end(remove));
    this.#sandboxes.delete(id);
    this.#events.forget(id);
  }

  async listPodSandboxes(filter: Filter = {}): Promise<readonly Sandbox[]> {
    const request = { filter: { label_selector: this.#labelsOf(filter) } };
    const { items } = await this.#calls.read(
      'RuntimeService/ListPodSandbox',
      request,
      messages.sandboxesAnswer,
    );
    return items.map(sandboxOf);
  }

  async podSandboxStatus(id: string): Promise<SandboxStatus> {
    const { status } = await this.#sandboxStatus(id);
    return { ...sandboxOf(status), ip: status.network?.ip || undefined };
  }

  async createContainer(sandboxId: string, config: ContainerConfig): Promise<string> {
    const sandbox = this.#sandboxes.get(sandboxId) ?? (await this.#keptOf(sandboxId));
    const { kept, metadata, labels, annotations } = sandbox;
    await mkdir(dirname(join(kept.log_directory, config.logPath)), { recursive: true, mode: 0o755 });
    const request = {
      pod_sandbox_id: sandboxId,
      config: containerRequest(config, { sandboxId, labels, kept }, this.#instance),
      sandbox_config: { ...kept, metadata, labels, annotations },
    };
    const method = 'RuntimeService/CreateContainer';
    try {
      const answer = messages.containerIdAnswer;
      const { container_id: id } = await this.#calls.change(method, request, answer, sandboxId);
      this.#events.know(id, { podUid: labels[label.podUid] ?? '', state: 'created' });
      return id;
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'refused') throw error;
      const mine = { pod_sandbox_id: sandboxId, label_selector: this.#labelsOf({}) };
      const there = (await this.#containersOf(mine)).find(
        ({ metadata: { name, attempt } }) => name === config.name && attempt === config.attempt,
      );
      if (there !== undefined) return there.id;
      const detail = { code: 'cannot-create', name: config.name } as const;
      throw new RuntimeError(error.message, detail, { cause: error });
    }
  }

  async #keptOf(sandboxId: string): Promise<SandboxRecord> {
    const { metadata, labels, annotations } = (await this.#sandboxStatus(sandboxId)).status;
    const kept = keptSandbox(annotations);
    if (kept === undefined) throw notFound(sandboxId, 'sandbox of ours');
    return { metadata, labels, annotations, kept };
  }

  async startContainer(id: string): Promise<void> {
    try {
      const request = { container_id: id };
      await this.#calls.change('RuntimeService/StartContainer', request, messages.emptyAnswer, id);
      this.#events.know(id, { state: 'running' });
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'refused') throw error;
      const { state, name } = await this.containerStatus(id);
      if (state === 'running') return;
      throw new RuntimeError(error.message, { code: 'cannot-start', name }, { cause: error });
    }
  }

  async stopContainer(id: string, graceMs: number): Promise<void> {
    if (!(await this.#isOurs(id))) return;
    await this.#stopContainer(id, graceMs);
    this.#events.know(id, { state: 'exited' });
  }

  async removeContainer(id: string): Promise<void> {
    if (!(await this.#isOurs(id))) return;
    await this.#stopContainer(id, 0);
    const request = { container_id: id };
    const method = 'RuntimeService/RemoveContainer';
    const remove = () => this.#calls.change(method, request, messages.emptyAnswer, id);
    await unlessGone(this.#endings.end(remove));
    this.#events.forget(id);
  }

  async reopenContainerLog(id: string): Promise<void> {
    if (!(await this.#isOurs(id))) throw notFound(id, 'container of ours');
    const method = 'RuntimeService/ReopenContainerLog';
    await this.#calls.change(method, { container_id: id }, messages.emptyAnswer, id);
  }

  async listContainers(filter: Filter = {}): Promise<readonly Container[]> {
    return (await this.#containersOf({ label_selector: this.#labelsOf(filter) })).map(containerOf);
  }

  async containerStatus(id: string): Promise<ContainerStatus> {
    const [method, request] = ['RuntimeService/ContainerStatus', { container_id: id }] as const;
    const { status } = await this.#calls.read(method, request, messages.containerStatusAnswer, id);
    const isOurs = status.labels[label.instance] === this.#instance;
    // One that an older edgecore made does not name its sandbox.
    const sandboxId = status.annotations[hidden.sandboxId] ?? (await this.#find(id))?.pod_sandbox_id;
    if (!isOurs || sandboxId === undefined) throw notFound(id, 'container of ours');
    return statusOf(status, sandboxId);
  }

  async execSync(id: string, command: readonly string[], timeoutMs: number): Promise<ExecResult> {
    const seconds = Math.max(1, Math.ceil(timeoutMs / 1000));
    const request = { container_id: id, cmd: [...command], timeout: seconds };
    const options = { timeoutMs: seconds * 1000 + 5000 };
    try {
      const method = 'RuntimeService/ExecSync';
      const answer = await this.#calls.call(method, request, messages.execSyncAnswer, options, id);
      const { stdout, stderr, exit_code: exitCode } = answer;
      return { exitCode, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) };
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'refused') throw error;
      if ((await this.containerStatus(id)).state !== 'running')
        throw new RuntimeError(`container ${id} does not run`, { code: 'not-running', id }, { cause: error });
      if (/timed? ?out|timeout .* exceeded/i.test(error.message))
        throw new RuntimeError(error.message, { code: 'timeout', afterMs: timeoutMs }, { cause: error });
      throw error;
    }
  }

  async exec(id: string, { command, stdin, tty }: ExecRequest): Promise<StreamSession> {
    const request = { container_id: id, cmd: [...command], stdin, tty, stdout: true, stderr: !tty };
    const { url } = await this.#calls.read('RuntimeService/Exec', request, messages.urlAnswer, id);
    return openStreams(url, { stdin });
  }

  async attach(id: string, { stdin, tty }: Omit<ExecRequest, 'command'>): Promise<StreamSession> {
    const request = { container_id: id, stdin, tty, stdout: true, stderr: !tty };
    const { url } = await this.#calls.read('RuntimeService/Attach', request, messages.urlAnswer, id);
    return openStreams(url, { stdin });
  }

  async portForward(sandboxId: string, port: number) {
    const request = { pod_sandbox_id: sandboxId, port: [port] };
    const { url } = await this.#calls.read(
      'RuntimeService/PortForward',
      request,
      messages.urlAnswer,
      sandboxId,
    );
    return openPortForward(url, port);
  }

  pullImage(reference: string, options: PullOptions = {}): Promise<string> {
    return this.#images.pull(reference, options, this.#closed.signal);
  }

  listImages(): Promise<readonly Image[]> {
    return this.#images.list();
  }

  imageStatus(reference: string): Promise<Image | undefined> {
    return this.#images.status(reference);
  }

  removeImage(reference: string): Promise<void> {
    return this.#images.remove(reference);
  }

  imagesInUse(): Promise<ReadonlySet<string>> {
    return this.#images.inUse();
  }

  imageDirectory(): Promise<string | undefined> {
    return this.#images.directory();
  }

  async listContainerStats(filter: Filter = {}): Promise<readonly ContainerStats[]> {
    const [stats, containers] = await Promise.all([
      containerStats(this.#calls, this.#labelsOf(filter)),
      this.listContainers(filter),
    ]);
    const running = new Set(containers.filter((it) => it.state === 'running').map((it) => it.id));
    return stats.filter((it) => running.has(it.id));
  }

  listPodSandboxStats(filter: Filter = {}): Promise<readonly SandboxStats[]> {
    return sandboxStats(this.#calls, this.#labelsOf(filter));
  }

  events(signal: AbortSignal): AsyncIterable<RuntimeEvent> {
    return this.#events.read(signal);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#client.close();
  }

  #labelsOf({ podUid }: Filter): Record<string, string> {
    return { [label.instance]: this.#instance, ...(podUid === undefined ? {} : { [label.podUid]: podUid }) };
  }

  #stopSandbox(id: string) {
    const request = { pod_sandbox_id: id };
    const stop = () => this.#calls.change('RuntimeService/StopPodSandbox', request, messages.emptyAnswer);
    return unlessGone(this.#endings.end(stop));
  }

  #stopContainer(id: string, graceMs: number) {
    const request = { container_id: id, timeout: Math.ceil(graceMs / 1000) };
    const method = 'RuntimeService/StopContainer';
    const stop = () => this.#calls.change(method, request, messages.emptyAnswer, id, graceMs);
    return unlessGone(this.#endings.end(stop));
  }

  async #isOurs(containerId: string): Promise<boolean> {
    return (await this.#find(containerId)) !== undefined;
  }

  async #find(containerId: string): Promise<messages.CriContainer | undefined> {
    return (await this.#containersOf({ id: containerId, label_selector: this.#labelsOf({}) }))[0];
  }

  async #containersOf(filter: object): Promise<readonly messages.CriContainer[]> {
    const method = 'RuntimeService/ListContainers';
    return (await this.#calls.read(method, { filter }, messages.containersAnswer)).containers;
  }

  async #sandboxStatus(id: string) {
    const request = { pod_sandbox_id: id };
    const method = 'RuntimeService/PodSandboxStatus';
    const answer = await this.#calls.read(method, request, messages.sandboxStatusAnswer, id);
    if (answer.status.labels[label.instance] !== this.#instance) throw notFound(id, 'sandbox of ours');
    return answer;
  }

  /** The driver is the runtime's; asked once, again after a failure. */
  #podCgroups(): Promise<Cgroups> {
    this.#cgroups ??= this.#driver().then(createCgroups);
    this.#cgroups.catch(() => {
      this.#cgroups = undefined;
    });
    return this.#cgroups;
  }

  async #driver(): Promise<CgroupDriver> {
    const used = (await readCgroupDriver(this.#calls)) ?? 'cgroupfs';
    const configured = this.#configuredDriver;
    if (configured !== undefined && configured !== used)
      this.#log.warn(
        { configured, used },
        `tailoredKubeletConfig.cgroupDriver is not the driver of the container runtime, which is used; remove the field, or ${driverFix(configured)}`,
      );
    return used;
  }
}
