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
import { type CloudRequests, createCloudRequests } from './cloud-requests.ts';
import { createClusterObjects } from './cluster-objects.ts';
import type { EdgedConfig } from './config.ts';
import type { PodSurroundings } from './container/fields.ts';
import { parseDurationMs } from './duration.ts';
import { createEdgedMetrics, type EdgedMetrics } from './edged-metrics.ts';
import { createEventRecorder } from './events.ts';
import { ImagePulls } from './images/image-pulls.ts';
import { refusalUnder } from './node/admission.ts';
import { LeaseKeeper } from './node/lease.ts';
import type { MachineUse } from './node/machine-use.ts';
import { NodeCare } from './node/node-care.ts';
import { type NodeFacts, readNodeFacts } from './node/node-facts.ts';
import { NodeStatus } from './node/node-status.ts';
import { Orphans } from './orphans.ts';
import { createPodDns } from './pod/dns.ts';
import type { Pod } from './pod/pod.ts';
import { createPodFiles } from './pod/pod-files.ts';
import type { PodWorkerComponents } from './pod/pod-worker.ts';
import { Pods } from './pod/pods.ts';
import { StatusSender } from './pod/status-sender.ts';
import {
  RuntimeError,
  type RuntimeService,
  type RuntimeStatus,
  type RuntimeVersion,
} from './runtime/runtime-service.ts';
import { MirrorPods } from './static/mirror-pods.ts';
import { StaticPods } from './static/static-pods.ts';
import { machineReader } from './stats/collector.ts';
import { createMachineMounts } from './volumes/machine-mounts.ts';
import { memoryPlaces } from './volumes/secret-directory.ts';
import { createVolumes } from './volumes/volumes.ts';

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
  /** How much of the machine is used; undefined: as it says itself. */
  readonly machine?: (() => Promise<MachineUse>) | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** What it says of itself, once. */
type RuntimeTraits = RuntimeVersion & Pick<RuntimeStatus, 'usesImages' | 'rotatesLogs'>;

const storedTimeoutMs = 10_000;
const podDrainMs = 5000;

/** MetaManager did not tell what is stored; the module is started again. */
class StoredListError extends HawserError<{ code: 'no-stored-list' }> {}

export function createEdged(options: EdgedOptions, components: EdgedComponents): Module {
  const counted = createEdgedMetrics(components.metrics);
  return {
    name: 'edged',
    async run(signal, ready) {
      try {
        await new Edged(options, components, counted).run(signal, ready);
      } catch (error) {
        if (!(error instanceof CancelledError && signal.aborted)) throw error;
      }
    },
  };
}

class Edged {
  readonly #options: EdgedOptions;
  readonly #with: EdgedComponents;
  readonly #log: Log;
  readonly #counted: EdgedMetrics;
  #pods: Pods | undefined;
  #orphans: Orphans | undefined;
  #mirrors: MirrorPods | undefined;
  #static: StaticPods | undefined;
  #care: NodeCare | undefined;
  #sender: StatusSender | undefined;
  #node: NodeStatus | undefined;
  #lease: LeaseKeeper | undefined;
  #signal: AbortSignal = new AbortController().signal;

  constructor(options: EdgedOptions, components: EdgedComponents, counted: EdgedMetrics) {
    this.#options = options;
    this.#with = components;
    this.#log = components.log.child({ module: 'edged' });
    this.#counted = counted;
  }

  async run(signal: AbortSignal, ready: () => void): Promise<void> {
    const { bus, runtime } = this.#with;
    this.#signal = signal;
    const version = await runtime.version();
    const { usesImages, rotatesLogs } = await runtime.status();
    let facts = await this.#facts();
    const readFacts = async () => {
      facts = await this.#facts();
      return facts;
    };
    this.#build({ ...version, usesImages, rotatesLogs }, readFacts, () => this.#around(facts));
    await this.#loadStored();
    await this.#static?.load();
    const work = [
      bus.serve('edged', (envelope) => this.#handle(envelope), signal),
      this.#node?.run(signal),
      this.#lease?.run(signal),
      this.#sender?.run(signal),
      this.#followRuntime(signal),
      this.#orphans?.run(signal),
      this.#mirrors?.run(signal),
      this.#static?.run(signal),
      this.#care?.run(signal),
    ];
    ready();
    await Promise.all(work);
    await Promise.race([this.#pods?.drained(), this.#with.clock.sleep(podDrainMs)]);
  }

  #build(
    runtimeVersion: RuntimeTraits,
    facts: () => Promise<NodeFacts>,
    around: () => PodSurroundings,
  ): void {
    const { bus, clock } = this.#with;
    const log = this.#log;
    const cloud = createCloudRequests({ bus, clock });
    const sender = new StatusSender({ cloud, clock, log, seen: (object) => this.#pods?.seen(object) });
    const node = this.#buildNode(runtimeVersion, cloud, facts);
    this.#sender = sender;
    this.#node = node;
    const { hostnameOverride: nodeName, tailoredKubeletConfig: kubelet } = this.#options;
    this.#lease = new LeaseKeeper(
      { nodeName, durationSeconds: kubelet.nodeLeaseDurationSeconds },
      { cloud, clock, log, nodeUid: () => node.uid },
    );
    this.#buildPods(runtimeVersion, { cloud, sender, node, around });
  }

  #buildNode(
    runtimeVersion: RuntimeTraits,
    cloud: CloudRequests,
    facts: () => Promise<NodeFacts>,
  ): NodeStatus {
    const { runtime, clock } = this.#with;
    const options = this.#options;
    const kubelet = options.tailoredKubeletConfig;
    return new NodeStatus(
      {
        name: options.hostnameOverride,
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
        // Sandboxes of pods that end may stay until there is a plugin to take their network back.
        needsPodNetwork: () =>
          this.#pods?.workers.some((it) => !it.isEnding && !it.pod.spec.hostNetwork) ?? false,
        pressures: () => this.#care?.conditions ?? [],
        runtimeVersion,
        clock,
        log: this.#log,
        learned: () => {
          this.#lease?.poke();
          this.#mirrors?.poke();
        },
      },
    );
  }

  #buildPods(
    { name: runtimeName, usesImages, rotatesLogs }: RuntimeTraits,
    made: Pick<PodWorkerComponents, 'cloud' | 'around'> & { sender: StatusSender; node: NodeStatus },
  ): void {
    const { bus, runtime, clock, memory } = this.#with;
    const { cloud, sender, node, around } = made;
    const options = this.#options;
    const { hostnameOverride: nodeName, tailoredKubeletConfig: kubelet } = options;
    const log = this.#log;
    const objects = createClusterObjects({ bus, clock });
    const mounts = createMachineMounts();
    const root = options.rootDirectory;
    const podDirectory = (uid: string) => join(root, 'pods', uid);
    const volumes = createVolumes(root, { objects, clock, log, memoryPlaces, mounts });
    const events = createEventRecorder({ nodeName, enabled: options.reportEvent }, { bus, clock });
    const worker: PodWorkerComponents = {
      runtime,
      runtimeName,
      volumes,
      objects,
      cloud,
      sender,
      events,
      around,
      pulls: usesImages ? new ImagePulls(runtime) : undefined,
      files: usesImages ? createPodFiles(podDirectory, kubelet.clusterDomain) : undefined,
      mounts,
      podDirectory,
      seccompDirectory: join(root, 'seccomp'),
      clusterDomain: kubelet.clusterDomain,
      dnsOf: createPodDns(kubelet),
      podLogs: kubelet.podLogsDir,
      deadKept: {
        max: options.maxPerPodContainerCount,
        ageMinMs: parseDurationMs(options.minimumGCAge) ?? 0,
      },
      clock,
      log,
    };
    const machine = this.#with.machine ?? machineReader(runtime, options.rootDirectory, clock);
    const care = new NodeCare(
      options,
      { usesImages, rotatesLogs },
      {
        runtime,
        machine,
        events,
        counted: this.#counted,
        clock,
        log,
        pods: () => this.#pods?.workers ?? [],
        changed: () => node.poke(),
      },
    );
    this.#care = care;
    const refusalOf = (pod: Pod) => refusalUnder(care.conditions, pod);
    const mirrors = new MirrorPods({ nodeName, nodeUid: () => node.uid, cloud, sender, clock, log });
    const pods = new Pods(
      { nodeName, signal: this.#signal, counted: this.#counted.pods, refusalOf },
      worker,
      mirrors,
    );
    const isKnown = (podUid: string) => pods.has(podUid);
    this.#pods = pods;
    this.#mirrors = mirrors;
    this.#static = this.#staticPods(pods, mirrors, usesImages);
    const podLogs = kubelet.podLogsDir;
    this.#orphans = new Orphans({ runtime, volumes, isKnown, podLogs, memory, clock, log });
  }

  #staticPods(pods: Pods, mirrors: MirrorPods, isolated: boolean): StaticPods | undefined {
    const { hostnameOverride: nodeName, tailoredKubeletConfig: kubelet } = this.#options;
    if (kubelet.staticPodPath === '') return undefined;
    const rereadMs = parseDurationMs(kubelet.fileCheckFrequency) ?? 20_000;
    const keptDirectory = join(this.#options.rootDirectory, 'static-pods');
    const options = { directory: kubelet.staticPodPath, nodeName, isolated, rereadMs, keptDirectory };
    return new StaticPods(options, { pods, mirrors, clock: this.#with.clock, log: this.#log });
  }

  #facts(): Promise<NodeFacts> {
    return readNodeFacts({
      nodeIp: this.#options.nodeIP,
      interfaceName: this.#options.customInterfaceName,
      rootDirectory: this.#options.rootDirectory,
      kubelet: this.#options.tailoredKubeletConfig,
    });
  }

  #around({ internalIp, allocatable }: NodeFacts): PodSurroundings {
    return { nodeName: this.#options.hostnameOverride, hostIp: internalIp, podIp: internalIp, allocatable };
  }

  async #loadStored(): Promise<void> {
    const pods = await this.#stored(`${noNamespace}/pod`);
    for (const pod of z.array(z.unknown()).catch([]).parse(pods)) this.#pods?.apply(pod);
    this.#log.info({ pods: this.#pods?.count }, 'stored pods loaded');
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
      if (envelope.content === connection.connected) this.#connected(envelope.header.hawserSession === true);
      return;
    }
    const { type, namespace, name } = parseObjectPath(resource);
    if (type === 'pod') {
      if (what === operation.delete) await this.#removePod(envelope.content);
      else if (what === operation.insert || what === operation.update) this.#pods?.apply(envelope.content);
    } else if (type === 'configmap' || type === 'secret') {
      this.#pods?.changed(`${namespace ?? ''}/${type}/${name ?? ''}`);
    } else if (type === 'node' && name === this.#options.hostnameOverride) {
      if (what === operation.delete) this.#node?.forget();
      else this.#node?.learn(envelope.content);
    }
  }

  #connected(ours: boolean): void {
    this.#node?.connected(ours);
    this.#lease?.connected(ours);
    this.#sender?.connected();
    this.#mirrors?.poke();
    this.#pods?.connected();
  }

  async #removePod(content: unknown): Promise<void> {
    const uid = this.#pods?.remove(content);
    if (uid === undefined || this.#pods?.has(uid)) return;
    await this.#orphans?.removeSandboxes((sandbox) => sandbox.podUid === uid, 'it was deleted');
  }

  async #followRuntime(signal: AbortSignal): Promise<void> {
    for await (const { podUid, type } of this.#with.runtime.events(signal)) {
      const known = this.#pods?.of(podUid);
      if (known !== undefined) known.poke();
      else if (type === 'created') this.#orphans?.appeared();
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
    return { conditions: [down], usesImages: true, mountsRefused: undefined, rotatesLogs: false };
  }
}
