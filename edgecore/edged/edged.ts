/**
 * Edged: runs the pods that MetaManager holds for this node, one worker each, and keeps the node's status and
 * lease. It starts from the store without waiting for the cloud, adopts what runs, and removes what carries our
 * mark and belongs to no stored pod, but only after the stored list was read.
 */

import { join } from 'node:path';
import { z } from 'zod';
import type { Bus, InboxOptions } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { BusError } from '#beehive/errors.ts';
import type { Log } from '#beehive/log.ts';
import type { Metrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import { CancelledError, HawserError } from '#protocol/errors.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { connection, group, noNamespace, operation, source } from '#protocol/names.ts';
import { parseObjectPath } from '#protocol/resource-path.ts';
import { createCloudRequests } from './cloud-requests.ts';
import { createClusterObjects } from './cluster-objects.ts';
import type { EdgedConfig } from './config.ts';
import { createPodDns } from './dns.ts';
import { parseDurationMs } from './duration.ts';
import { createEventRecorder } from './events.ts';
import type { PodSurroundings } from './fields.ts';
import { ImagePulls } from './image-pulls.ts';
import { LeaseKeeper } from './lease.ts';
import { type NodeFacts, readNodeFacts } from './node-facts.ts';
import { NodeStatus } from './node-status.ts';
import { type Pod, podKey, podSchema } from './pod.ts';
import { createPodFiles } from './pod-files.ts';
import { PodWorker, type PodWorkerComponents } from './pod-worker.ts';
import { references } from './references.ts';
import {
  RuntimeError,
  type RuntimeService,
  type RuntimeStatus,
  type RuntimeVersion,
  type Sandbox,
} from './runtime/runtime-service.ts';
import { memoryPlaces } from './secret-directory.ts';
import { StatusSender } from './status-sender.ts';
import { createVolumes } from './volumes.ts';

export const edgedInbox: InboxOptions = { capacity: 1024, lanesMax: 16 };

export interface EdgedOptions extends EdgedConfig {
  /** Our release, for the node's kubeletVersion. */
  readonly version: string;
}

export interface EdgedComponents {
  readonly bus: Bus;
  readonly runtime: RuntimeService;
  /** Whether the list of stored pods is all of them. */
  readonly memory: { isWhole(): boolean; becameWhole(): Promise<void> };
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

const storedTimeoutMs = 10_000;
const orphansEveryMs = 60_000;
/** Between two looks for orphans, however many appear. */
const orphansApartMs = 2000;
const podDrainMs = 5000;
const endedMax = 1024;

/** MetaManager did not tell what is stored; the module is started again. */
class StoredListError extends HawserError<{ code: 'no-stored-list' }> {}

export function createEdged(options: EdgedOptions, components: EdgedComponents): Module {
  return {
    name: 'edged',
    async run(signal, ready) {
      try {
        await new Edged(options, components).run(signal, ready);
      } catch (error) {
        if (!(error instanceof CancelledError && signal.aborted)) throw error;
      }
    },
  };
}

interface Running {
  readonly worker: PodWorker;
  readonly done: Promise<void>;
}

class Edged {
  readonly #options: EdgedOptions;
  readonly #with: EdgedComponents;
  readonly #log: Log;
  readonly #workers = new Map<string, Running>();
  readonly #ended = new Set<string>();
  #orphanSeen = new AbortController();
  #workerComponents: PodWorkerComponents | undefined;
  #sender: StatusSender | undefined;
  #node: NodeStatus | undefined;
  #lease: LeaseKeeper | undefined;
  #signal: AbortSignal = new AbortController().signal;
  #saidThatOrphansStay = false;

  constructor(options: EdgedOptions, components: EdgedComponents) {
    this.#options = options;
    this.#with = components;
    this.#log = components.log.child({ module: 'edged' });
    const pods = components.metrics.gauge('hawser_edged_pods_count', 'Pods that have a worker');
    this.#countPods = () => pods.set(this.#workers.size);
  }

  readonly #countPods: () => void;

  async run(signal: AbortSignal, ready: () => void): Promise<void> {
    const { bus, runtime } = this.#with;
    this.#signal = signal;
    const version = await runtime.version();
    const { usesImages } = await runtime.status();
    let facts = await this.#facts();
    const readFacts = async () => {
      facts = await this.#facts();
      return facts;
    };
    this.#build({ ...version, usesImages }, readFacts, () => this.#around(facts));
    await this.#loadStored();
    const work = [
      bus.serve('edged', (envelope) => this.#handle(envelope), signal),
      this.#node?.run(signal),
      this.#lease?.run(signal),
      this.#sender?.run(signal),
      this.#followRuntime(signal),
      this.#removeOrphansNowAndThen(signal),
    ];
    ready();
    await Promise.all(work);
    await Promise.race([
      Promise.all([...this.#workers.values()].map((it) => it.done)),
      this.#with.clock.sleep(podDrainMs),
    ]);
  }

  #build(
    runtimeVersion: RuntimeVersion & Pick<RuntimeStatus, 'usesImages'>,
    facts: () => Promise<NodeFacts>,
    around: () => PodSurroundings,
  ): void {
    const { bus, runtime, clock } = this.#with;
    const options = this.#options;
    const kubelet = options.tailoredKubeletConfig;
    const log = this.#log;
    const cloud = createCloudRequests({ bus, clock });
    const objects = createClusterObjects({ bus, clock });
    const nodeName = options.hostnameOverride;
    this.#sender = new StatusSender({ cloud, clock, log, seen: (object) => this.#seenPod(object) });
    this.#node = new NodeStatus(
      {
        name: nodeName,
        labels: options.nodeLabels,
        taints: options.taints,
        register: options.registerNode,
        schedulable: options.registerSchedulable,
        kubeletVersion: `v1.32.0-hawser-v${options.version}`,
        kubeletPort: kubelet.readOnlyPort,
        checkMs: parseDurationMs(kubelet.nodeStatusUpdateFrequency) ?? 10_000,
        reportMs: parseDurationMs(kubelet.nodeStatusReportFrequency) ?? 300_000,
      },
      {
        cloud,
        facts,
        runtimeStatus: () => runtimeStatus(runtime),
        images: () =>
          runtimeVersion.usesImages ? runtime.listImages().catch(() => []) : Promise.resolve([]),
        needsPodNetwork: () => [...this.#workers.values()].some(({ worker }) => !worker.pod.spec.hostNetwork),
        runtimeVersion,
        clock,
        log,
        learned: () => this.#lease?.poke(),
      },
    );
    const node = this.#node;
    this.#lease = new LeaseKeeper(
      { nodeName, durationSeconds: kubelet.nodeLeaseDurationSeconds },
      { cloud, clock, log, nodeUid: () => node.uid },
    );
    this.#workerComponents = {
      runtime,
      runtimeName: runtimeVersion.name,
      volumes: createVolumes(options.rootDirectory, { objects, clock, log, memoryPlaces }),
      objects,
      cloud,
      sender: this.#sender,
      events: createEventRecorder({ nodeName, enabled: options.reportEvent }, { bus, clock }),
      around,
      pulls: runtimeVersion.usesImages ? new ImagePulls(runtime) : undefined,
      files: runtimeVersion.usesImages
        ? createPodFiles((uid) => join(options.rootDirectory, 'pods', uid))
        : undefined,
      dnsOf: createPodDns(kubelet),
      podLogs: kubelet.podLogsDir,
      clock,
      log,
    };
  }

  #facts(): Promise<NodeFacts> {
    return readNodeFacts({
      nodeIp: this.#options.nodeIP,
      interfaceName: this.#options.customInterfaceName,
      maxPods: this.#options.tailoredKubeletConfig.maxPods,
      rootDirectory: this.#options.rootDirectory,
    });
  }

  #around({ internalIp, allocatable }: NodeFacts): PodSurroundings {
    return { nodeName: this.#options.hostnameOverride, hostIp: internalIp, podIp: internalIp, allocatable };
  }

  async #loadStored(): Promise<void> {
    const pods = await this.#stored(`${noNamespace}/pod`);
    for (const pod of z.array(z.unknown()).catch([]).parse(pods)) this.#applyPod(pod);
    this.#log.info({ pods: this.#workers.size }, 'stored pods loaded');
    try {
      this.#node?.learn(await this.#stored(`${noNamespace}/node/${this.#options.hostnameOverride}`));
    } catch (error) {
      if (!(error instanceof StoredListError)) throw error;
    }
  }

  async #stored(resource: string): Promise<unknown> {
    const route = { source: source.edged, group: group.meta, operation: operation.query, resource };
    const question = newEnvelope(route, null, { timestampMs: this.#with.clock.now() });
    const failed = (why: string, cause?: unknown) =>
      new StoredListError(
        `MetaManager did not answer ${resource}: ${why}`,
        { code: 'no-stored-list' },
        { cause },
      );
    try {
      const answer = await this.#with.bus.request('metamanager', question, {
        timeoutMs: storedTimeoutMs,
        signal: this.#signal,
      });
      if (answer.route.operation === operation.error) throw failed(String(answer.content));
      return answer.content;
    } catch (error) {
      if (error instanceof BusError) throw failed(error.message, error);
      throw error;
    }
  }

  async #handle(envelope: Envelope): Promise<void> {
    const { resource, operation: what } = envelope.route;
    if (what === operation.connect) {
      if (envelope.content === connection.connected) this.#connected();
      return;
    }
    const { type, namespace, name } = parseObjectPath(resource);
    if (type === 'pod') {
      if (what === operation.delete) await this.#removePod(envelope.content);
      else if (what === operation.insert || what === operation.update) this.#applyPod(envelope.content);
    } else if (type === 'configmap' || type === 'secret') {
      this.#pokeUsers(`${namespace ?? ''}/${type}/${name ?? ''}`);
    } else if (type === 'node' && name === this.#options.hostnameOverride) {
      if (what === operation.delete) this.#node?.forget();
      else this.#node?.learn(envelope.content);
    }
  }

  #connected(): void {
    this.#node?.connected();
    this.#lease?.poke();
    this.#sender?.connected();
    for (const { worker } of this.#workers.values()) worker.poke('cloud');
  }

  #applyPod(content: unknown): void {
    const parsed = podSchema.safeParse(content);
    if (!parsed.success) {
      const issues = parsed.error.issues.slice(0, 5).map((it) => `${it.path.join('.')}: ${it.message}`);
      this.#log.warn({ issues }, 'a pod that cannot be read is left alone');
      return;
    }
    const pod = parsed.data;
    if (pod.spec.nodeName && pod.spec.nodeName !== this.#options.hostnameOverride) return;
    const { uid } = pod.metadata;
    if (this.#ended.has(uid)) return;
    const known = this.#workers.get(uid);
    if (known !== undefined) {
      known.worker.update(pod);
      return;
    }
    for (const { worker } of this.#workers.values()) if (podKey(worker.pod) === podKey(pod)) worker.remove();
    this.#startWorker(pod);
  }

  #startWorker(pod: Pod): void {
    const components = this.#workerComponents;
    if (components === undefined) return;
    const { uid } = pod.metadata;
    const worker = new PodWorker(pod, components);
    const done = worker.run(this.#signal).finally(() => {
      if (this.#signal.aborted) return;
      this.#workers.delete(uid);
      this.#noteEnded(uid);
      this.#countPods();
    });
    this.#workers.set(uid, { worker, done });
    this.#countPods();
  }

  /** A late update of a pod that has ended must not bring it back. */
  #noteEnded(uid: string): void {
    this.#ended.add(uid);
    for (const oldest of this.#ended) {
      if (this.#ended.size <= endedMax) break;
      this.#ended.delete(oldest);
    }
  }

  async #removePod(content: unknown): Promise<void> {
    const uid = z.looseObject({ metadata: z.looseObject({ uid: z.string() }) }).safeParse(content).data
      ?.metadata.uid;
    if (uid === undefined) {
      this.#log.warn({}, 'the deletion of a pod without uid is left alone');
      return;
    }
    const known = this.#workers.get(uid);
    if (known !== undefined) known.worker.remove();
    else await this.#removeSandboxes((sandbox) => sandbox.podUid === uid, 'it was deleted');
  }

  /** The cloud's answer to a status shows a deletion that has not come down yet. */
  #seenPod(object: unknown): void {
    const parsed = podSchema.safeParse(object);
    if (!parsed.success || !parsed.data.metadata.deletionTimestamp) return;
    const known = this.#workers.get(parsed.data.metadata.uid)?.worker;
    if (known !== undefined && !known.pod.metadata.deletionTimestamp) known.update(parsed.data);
  }

  #pokeUsers(reference: string): void {
    for (const { worker } of this.#workers.values())
      if (references(worker.pod).has(reference)) worker.poke('volumes');
  }

  async #followRuntime(signal: AbortSignal): Promise<void> {
    for await (const { podUid, type } of this.#with.runtime.events(signal)) {
      const known = this.#workers.get(podUid);
      if (known !== undefined) known.worker.poke();
      else if (type === 'created') this.#orphanSeen.abort();
    }
  }

  async #removeOrphansNowAndThen(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#orphanSeen = new AbortController();
      try {
        await this.#removeOrphans();
      } catch (error) {
        this.#log.warn({ err: error }, 'cannot remove orphans');
      }
      const seen = this.#orphanSeen.signal;
      await this.#with.clock.sleep(orphansEveryMs, AbortSignal.any([signal, seen])).catch(() => {});
      if (seen.aborted) await this.#with.clock.sleep(orphansApartMs, signal).catch(() => {});
    }
  }

  async #removeOrphans(): Promise<void> {
    if (!(await this.#mayRemoveOrphans())) return;
    await this.#removeSandboxes(({ podUid }) => !this.#workers.has(podUid), 'no stored pod is it');
    const volumes = this.#workerComponents?.volumes;
    for (const uid of (await volumes?.present()) ?? [])
      if (!this.#workers.has(uid)) await volumes?.remove(uid);
  }

  /** After a loss of the store what runs is kept until the cloud has filled it, or nothing is left that it lacks. */
  async #mayRemoveOrphans(): Promise<boolean> {
    const { memory, runtime } = this.#with;
    if (memory.isWhole()) return true;
    const unknown = (await runtime.listPodSandboxes()).filter(({ podUid }) => !this.#workers.has(podUid));
    if (unknown.length === 0) {
      await memory.becameWhole();
      return true;
    }
    if (!this.#saidThatOrphansStay) {
      const pods = unknown.map(({ podNamespace, podName }) => `${podNamespace}/${podName}`);
      this.#log.warn(
        { pods },
        'the store was lost: what runs and is not stored stays until the cloud has told all',
      );
    }
    this.#saidThatOrphansStay = true;
    return false;
  }

  async #removeSandboxes(chosen: (sandbox: Sandbox) => boolean, reason: string): Promise<void> {
    const { runtime } = this.#with;
    for (const sandbox of (await runtime.listPodSandboxes()).filter(chosen)) {
      const pod = `${sandbox.podNamespace}/${sandbox.podName}`;
      this.#log.info({ pod, uid: sandbox.podUid, reason }, 'removing an orphan');
      await runtime.removePodSandbox(sandbox.id);
    }
  }
}

/** A runtime that does not answer is news about the node, not a reason to be silent about it. */
async function runtimeStatus(runtime: RuntimeService): Promise<RuntimeStatus> {
  try {
    return await runtime.status();
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    const { message } = error;
    const down = { type: 'RuntimeReady', ok: false, reason: 'ContainerRuntimeUnavailable', message } as const;
    return { conditions: [down], usesImages: true, mountsRefused: undefined };
  }
}
