/**
 * The contract of a container runtime, shaped after CRI so that `cri`, `process` and `memory` stand behind it
 * alike. The runtime is the truth about what runs: callers keep no copy that could disagree.
 *
 * Create is find-or-create: a sandbox by pod uid and attempt, a container by sandbox, name and attempt. All
 * that is created carries the instance id, and lists show only what carries ours. Stop and remove of what is
 * gone already succeed. What is listed as created can be started, whoever created it; while somebody starts it,
 * it is neither started again nor removed. The suite in test/suites holds every implementation to this.
 */

import type { Readable, Writable } from 'node:stream';
import { HawserError } from '#protocol/errors.ts';

export const label = {
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  podUid: 'io.kubernetes.pod.uid',
  containerName: 'io.kubernetes.container.name',
  instance: 'hawser.io/instance',
} as const;

export const annotation = {
  /** The pause that precedes the start after this one, so that back-off survives a restart of ours. */
  backoffMs: 'hawser.io/backoff-ms',
} as const;

export class RuntimeError extends HawserError<
  | { code: 'not-found'; id: string }
  /** This runtime, or this machine, cannot do what the pod asks; the message says why. */
  | { code: 'cannot-create'; name: string }
  /** The command could not be started. */
  | { code: 'cannot-start'; name: string }
  /** Another call is starting that container: what comes of it is told as an event. */
  | { code: 'starting'; id: string }
  | { code: 'not-running'; id: string }
  | { code: 'unsupported'; what: string }
  | { code: 'timeout'; afterMs: number }
  | { code: 'unavailable'; what: string }
  /** No sandbox, for which the network plugin is the usual cause; the message is the runtime's own. */
  | { code: 'cannot-run-sandbox'; name: string }
  | { code: 'cannot-pull'; image: string }
  /** The runtime refused for a reason that it did not classify. */
  | { code: 'refused'; what: string }
> {}

export interface RuntimeVersion {
  /** Stands before `://` in a containerID: `process`, `containerd`, … */
  readonly name: string;
  readonly version: string;
}

export interface RuntimeCondition {
  readonly type: 'RuntimeReady' | 'NetworkReady';
  readonly ok: boolean;
  readonly reason: string;
  readonly message: string;
}

export interface RuntimeStatus {
  readonly conditions: readonly RuntimeCondition[];
  /** False: containers need no image, and nothing is pulled. */
  readonly usesImages: boolean;
  /** Undefined when volumes can appear at their mountPath; else why they cannot. */
  readonly mountsRefused: string | undefined;
  /** True: the runtime keeps logs within their limits itself. */
  readonly rotatesLogs: boolean;
}

export type Labels = Readonly<Record<string, string>>;

export interface SandboxConfig {
  readonly podUid: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly attempt: number;
  readonly hostname: string;
  readonly logDirectory: string;
  readonly hostNetwork: boolean;
  readonly labels: Labels;
  readonly annotations: Labels;
  /** Undefined: the machine's own resolver. */
  readonly dns?: DnsConfig | undefined;
  readonly portMappings?: readonly PortMapping[] | undefined;
  readonly linux?: LinuxSandbox | undefined;
  /** One of several ways to run pods that the runtime knows; undefined: its default. */
  readonly runtimeHandler?: string | undefined;
}

export interface DnsConfig {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

export interface PortMapping {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
}

export type SeccompProfile = 'RuntimeDefault' | 'Unconfined' | { readonly localhost: string };

/** What only runtimes with namespaces and cgroups of their own can do; others leave it out. */
export interface LinuxSandbox {
  readonly qosClass?: 'Guaranteed' | 'Burstable' | 'BestEffort' | undefined;
  readonly hostPid?: boolean | undefined;
  readonly hostIpc?: boolean | undefined;
  readonly shareProcesses?: boolean | undefined;
  /** Some container of the pod will be. */
  readonly privileged?: boolean | undefined;
  readonly supplementalGroups?: readonly number[] | undefined;
  readonly sysctls?: Labels | undefined;
  readonly seccomp?: SeccompProfile | undefined;
}

export interface LinuxContainer {
  readonly privileged?: boolean | undefined;
  readonly readOnlyRoot?: boolean | undefined;
  readonly noNewPrivileges?: boolean | undefined;
  readonly addCapabilities?: readonly string[] | undefined;
  readonly dropCapabilities?: readonly string[] | undefined;
  readonly supplementalGroups?: readonly number[] | undefined;
  readonly seccomp?: SeccompProfile | undefined;
  readonly resources?: LinuxResources | undefined;
}

/** Zero: no limit, or the default. */
export interface LinuxResources {
  readonly cpuPeriod: number;
  readonly cpuQuota: number;
  readonly cpuShares: number;
  readonly memoryLimitBytes: number;
  readonly oomScoreAdj: number;
}

export interface Sandbox {
  readonly id: string;
  readonly podUid: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly attempt: number;
  readonly state: 'ready' | 'notready';
  readonly createdAtMs: number;
  readonly labels: Labels;
}

export interface SandboxStatus extends Sandbox {
  /** Undefined: the pod uses the node's address. */
  readonly ip: string | undefined;
}

export interface Mount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly readOnly: boolean;
  /** Left out, with no error, where the machine cannot mount: what admission added and nobody asked for. */
  readonly optional: boolean;
  readonly propagation?: 'None' | 'HostToContainer' | 'Bidirectional' | undefined;
}

export interface ContainerConfig {
  readonly name: string;
  readonly attempt: number;
  /** As the pod names it. */
  readonly image: string;
  /** What pulling it gave; undefined where images are not used. */
  readonly imageId?: string | undefined;
  /** Empty: the image's entrypoint. */
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir: string | undefined;
  readonly env: ReadonlyMap<string, string>;
  readonly mounts: readonly Mount[];
  readonly runAsUser: number | undefined;
  readonly runAsGroup: number | undefined;
  /** Below the sandbox's logDirectory. */
  readonly logPath: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly stdin?: boolean | undefined;
  readonly stdinOnce?: boolean | undefined;
  readonly tty?: boolean | undefined;
  readonly linux?: LinuxContainer | undefined;
}

export type ContainerState = 'created' | 'running' | 'exited' | 'unknown';

export interface Container {
  readonly id: string;
  readonly sandboxId: string;
  readonly podUid: string;
  readonly name: string;
  readonly attempt: number;
  readonly image: string;
  readonly state: ContainerState;
  readonly createdAtMs: number;
  readonly labels: Labels;
  readonly annotations: Labels;
}

export interface ContainerStatus extends Container {
  readonly startedAtMs: number | undefined;
  readonly finishedAtMs: number | undefined;
  readonly exitCode: number | undefined;
  readonly reason: string;
  readonly message: string;
  /** The image by its digest; empty where images are not used. */
  readonly imageRef: string;
  /** Absolute. */
  readonly logPath: string;
}

export interface Filter {
  readonly podUid?: string;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

export interface ExecRequest {
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly tty: boolean;
}

/** Streams of a running exec or attach. */
export interface StreamSession {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when it has ended; undefined for an attach that was cut. */
  readonly ended: Promise<{ readonly exitCode: number | undefined }>;
  resize(columns: number, rows: number): void;
  close(): void;
}

export interface Image {
  readonly id: string;
  readonly tags: readonly string[];
  readonly digests: readonly string[];
  readonly sizeBytes: number;
  /** The runtime wants it kept. */
  readonly pinned: boolean;
  /** Who runs in it by default, as far as the image says: by number or by name. */
  readonly user?: { readonly uid?: number | undefined; readonly name?: string | undefined } | undefined;
}

export interface PullAuth {
  readonly username: string;
  readonly password: string;
  readonly identityToken?: string | undefined;
}

export interface PullOptions {
  readonly auth?: PullAuth | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Undefined: this runtime does not know. */
export interface MemoryUse {
  readonly workingSetBytes: number;
  readonly usageBytes?: number | undefined;
  readonly rssBytes?: number | undefined;
}

export interface ContainerStats {
  readonly id: string;
  readonly podUid: string;
  readonly name: string;
  readonly atMs: number;
  readonly cpuNanoseconds: number;
  readonly memory: MemoryUse;
  /** What the container has written into its own root. */
  readonly writableLayer?: { readonly usedBytes: number; readonly inodesUsed: number } | undefined;
}

export interface NetworkUse {
  /** Of the interface. */
  readonly name: string;
  readonly rxBytes: number;
  readonly rxErrors: number;
  readonly txBytes: number;
  readonly txErrors: number;
}

export interface SandboxStats {
  readonly id: string;
  readonly podUid: string;
  readonly atMs: number;
  readonly cpuNanoseconds: number;
  readonly memory: MemoryUse;
  /** Undefined for a pod that uses the machine's network. */
  readonly network: NetworkUse | undefined;
  readonly processes: number | undefined;
}

export interface RuntimeEvent {
  readonly type: 'created' | 'started' | 'stopped' | 'deleted';
  readonly podUid: string;
  readonly containerId: string;
}

export interface RuntimeService {
  version(): Promise<RuntimeVersion>;
  status(): Promise<RuntimeStatus>;

  /** @throws RuntimeError `cannot-run-sandbox` */
  runPodSandbox(config: SandboxConfig): Promise<string>;
  /** Stops its containers too, at once. */
  stopPodSandbox(id: string): Promise<void>;
  /** Removes its containers too. */
  removePodSandbox(id: string): Promise<void>;
  listPodSandboxes(filter?: Filter): Promise<readonly Sandbox[]>;
  /** @throws RuntimeError `not-found` */
  podSandboxStatus(id: string): Promise<SandboxStatus>;

  /** @throws RuntimeError `cannot-create`, `not-found` (sandbox) */
  createContainer(sandboxId: string, config: ContainerConfig): Promise<string>;
  /** @throws RuntimeError `cannot-start`, `not-found` */
  startContainer(id: string): Promise<void>;
  /** TERM, then KILL after the grace; resolves when it has exited. A second call may shorten the grace. */
  stopContainer(id: string, graceMs: number): Promise<void>;
  /** Kills it first when it runs. The log stays. */
  removeContainer(id: string): Promise<void>;
  /** The log was renamed: writes go to a new file of the old name. `unsupported` where the runtime rotates itself. */
  reopenContainerLog(id: string): Promise<void>;
  listContainers(filter?: Filter): Promise<readonly Container[]>;
  /** @throws RuntimeError `not-found` */
  containerStatus(id: string): Promise<ContainerStatus>;

  /** @throws RuntimeError `not-running`, `timeout` (what ran was killed) */
  execSync(id: string, command: readonly string[], timeoutMs: number): Promise<ExecResult>;
  exec(id: string, request: ExecRequest): Promise<StreamSession>;
  attach(id: string, request: Omit<ExecRequest, 'command'>): Promise<StreamSession>;
  /** A byte stream to the port inside the pod's network. */
  portForward(
    sandboxId: string,
    port: number,
  ): Promise<{ readonly readable: Readable; readonly writable: Writable }>;

  /** @throws RuntimeError `cannot-pull`, `timeout`; `unsupported` where images are not used. */
  pullImage(reference: string, options?: PullOptions): Promise<string>;
  listImages(): Promise<readonly Image[]>;
  imageStatus(reference: string): Promise<Image | undefined>;
  removeImage(reference: string): Promise<void>;
  /** Ids and names of the images that anything in the runtime is made from, whoever made it. */
  imagesInUse(): Promise<ReadonlySet<string>>;
  /** A directory on the filesystem that images are kept on; undefined where there are none. */
  imageDirectory(): Promise<string | undefined>;

  /** Of what runs. */
  listContainerStats(filter?: Filter): Promise<readonly ContainerStats[]>;
  /** Whole pods, as far as the runtime counts them; empty where it does not. */
  listPodSandboxStats(filter?: Filter): Promise<readonly SandboxStats[]>;
  /** Changes as they happen until the signal is aborted; may miss some, so callers also list now and then. */
  events(signal: AbortSignal): AsyncIterable<RuntimeEvent>;
  /** Lets go of watches and handles. What runs goes on running. */
  close(): Promise<void>;
}
