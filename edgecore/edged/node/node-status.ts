/**
 * Keeps our Node object in the cloud: registers it, registers it again after it was deleted, and sends its status
 * when it changed and every five minutes. Pods never wait for any of it.
 */

import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { noNamespace, operation } from '#protocol/names.ts';
import type { CloudRequests } from '../cloud-requests.ts';
import { apiTime } from '../pod/pod-status.ts';
import type { Image, RuntimeStatus, RuntimeVersion } from '../runtime/runtime-service.ts';
import type { NodeFacts } from './node-facts.ts';
import type { PressureCondition } from './thresholds.ts';

export interface NodeOptions {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly unknown[];
  readonly register: boolean;
  readonly schedulable: boolean;
  readonly kubeletVersion: string;
  readonly kubeletPort: number;
  readonly checkMs: number;
  readonly reportMs: number;
}

export interface NodeComponents {
  readonly cloud: CloudRequests;
  readonly facts: () => Promise<NodeFacts>;
  readonly runtimeStatus: () => Promise<RuntimeStatus>;
  readonly images: () => Promise<readonly Image[]>;
  /** Some pod wants an address of its own; without one, a machine without network plugin is as it should be. */
  readonly needsPodNetwork: () => boolean;
  /** What the node is short of. */
  readonly pressures: () => readonly PressureCondition[];
  readonly runtimeVersion: RuntimeVersion;
  /** Called when our Node's uid has become known. */
  readonly learned: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

const nodeSchema = z.looseObject({
  metadata: z.looseObject({ name: z.string(), uid: z.string().min(1) }),
  status: z
    .looseObject({
      conditions: z.array(z.looseObject({ type: z.string(), status: z.string().optional() })).optional(),
    })
    .optional(),
});

const imagesMax = 50;
const imageNamesMax = 5;

interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
}

export class NodeStatus {
  readonly #options: NodeOptions;
  readonly #with: NodeComponents;
  readonly #transitions = new Map<string, { status: string; sinceMs: number }>();
  #uid: string | undefined;
  #registered = false;
  #sentText = '';
  #sentBody = '';
  /** The control plane takes us for silent, and has not heard otherwise. */
  #isDoubted = false;
  /** At a cloud of ours a report leaves out what has not changed since the last; at KubeEdge's nobody has tried that. */
  #briefly = false;
  #sentMs = Number.NEGATIVE_INFINITY;
  #saidUnregistered = false;
  #wake: () => void = () => {};
  #asked = false;

  constructor(options: NodeOptions, components: NodeComponents) {
    this.#options = options;
    this.#with = components;
  }

  /** Known once the cloud, or the store, has shown our Node. */
  get uid(): string | undefined {
    return this.#uid;
  }

  /** Our Node as it came from the store or the cloud. Where the control plane takes us for silent, it hears otherwise. */
  learn(node: unknown): void {
    const parsed = nodeSchema.safeParse(node);
    if (!parsed.success || parsed.data.metadata.name !== this.#options.name) return;
    const { metadata, status } = parsed.data;
    const isSilent =
      status?.conditions?.some((it) => it.type === 'Ready' && it.status === 'Unknown') ?? false;
    if (isSilent && !this.#isDoubted) {
      this.#isDoubted = true;
      this.poke();
    }
    if (metadata.uid === this.#uid) return;
    this.#uid = metadata.uid;
    this.#with.learned();
  }

  /** The Node was deleted: it is registered again when the cloud is there. */
  forget(): void {
    this.#uid = undefined;
    this.#sayAll();
  }

  /** The link is back: the cloud may be another, or may have lost us. */
  connected(ours: boolean): void {
    this.#briefly = ours;
    this.#sayAll();
    this.poke();
  }

  #sayAll(): void {
    this.#registered = false;
    this.#sentText = '';
    this.#sentBody = '';
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#with;
    while (!signal.aborted) {
      this.#asked = false;
      try {
        if (!this.#registered) await this.#register(signal);
        if (this.#registered) await this.#report(signal);
      } catch (error) {
        if (signal.aborted) return;
        log.error({ err: error }, 'cannot report the node');
      }
      await this.#pause(clock, signal);
    }
  }

  async #register(signal: AbortSignal): Promise<void> {
    const { cloud, log } = this.#with;
    const { name } = this.#options;
    if (!this.#options.register) {
      this.#registered = true;
      return;
    }
    const answer = await cloud.ask(
      operation.insert,
      `${noNamespace}/node/${name}`,
      await this.#node(),
      signal,
    );
    if (answer.kind === 'object' || (answer.kind === 'refused' && answer.reason === 'AlreadyExists')) {
      if (answer.kind === 'object') this.learn(answer.object);
      this.#registered = true;
      this.#saidUnregistered = false;
      log.info(
        { node: name, uid: this.#uid },
        answer.kind === 'object' ? 'node registered' : 'node is known',
      );
      return;
    }
    const why = answer.kind === 'refused' ? `${answer.reason}: ${answer.message}` : answer.why;
    if (!this.#saidUnregistered) log.info({ node: name, why }, 'node not registered yet, going on trying');
    this.#saidUnregistered = true;
  }

  async #report(signal: AbortSignal): Promise<void> {
    const { clock, cloud, log } = this.#with;
    const status = await this.#status();
    const text = JSON.stringify(status);
    const nowMs = clock.now();
    const isDoubted = this.#isDoubted;
    if (!isDoubted && text === this.#sentText && nowMs - this.#sentMs < this.#options.reportMs) return;
    this.#isDoubted = false;
    const body = JSON.stringify(status.body);
    const news = this.#briefly && body === this.#sentBody ? {} : status.body;
    const patch = JSON.stringify({ status: this.#withTimes(news, status.conditions) });
    const resource = `${noNamespace}/nodepatch/${this.#options.name}`;
    const answer = await cloud.ask(operation.patch, resource, patch, signal);
    if (answer.kind === 'object') {
      this.#sentText = text;
      this.#sentBody = body;
      this.#sentMs = nowMs;
      this.learn(answer.object);
      return;
    }
    this.#isDoubted ||= isDoubted;
    if (answer.kind === 'refused') {
      log.warn({ reason: answer.reason, said: answer.message }, 'node status refused');
      if (answer.reason === 'NotFound') this.forget();
    }
  }

  async #node(): Promise<unknown> {
    const { name, labels, taints, schedulable } = this.#options;
    const { architecture } = await this.#with.facts();
    const { body, conditions } = await this.#status();
    const spec = {
      ...(schedulable ? {} : { unschedulable: true }),
      ...(taints.length === 0 ? {} : { taints }),
    };
    return {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name,
        creationTimestamp: null,
        labels: {
          'kubernetes.io/hostname': name,
          'kubernetes.io/os': 'linux',
          'kubernetes.io/arch': architecture,
          'beta.kubernetes.io/os': 'linux',
          'beta.kubernetes.io/arch': architecture,
          'node-role.kubernetes.io/edge': '',
          'node-role.kubernetes.io/agent': '',
          ...labels,
        },
        annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
      },
      spec,
      status: {
        ...this.#withTimes(body, conditions),
        // Only here: the cloud may set its own port later, and a patch of ours would undo it.
        daemonEndpoints: { kubeletEndpoint: { Port: this.#options.kubeletPort } },
      },
    };
  }

  async #status(): Promise<{ body: Record<string, unknown>; conditions: readonly Condition[] }> {
    const { facts: readFacts, runtimeStatus, runtimeVersion, images } = this.#with;
    const facts = await readFacts();
    const listed = await images();
    return {
      body: {
        capacity: facts.capacity,
        allocatable: facts.allocatable,
        addresses: [
          { type: 'InternalIP', address: facts.internalIp },
          { type: 'Hostname', address: this.#options.name },
        ],
        nodeInfo: {
          machineID: facts.machineId,
          systemUUID: facts.systemUuid,
          bootID: facts.bootId,
          kernelVersion: facts.kernelVersion,
          osImage: facts.osImage,
          containerRuntimeVersion: `${runtimeVersion.name}://${runtimeVersion.version}`,
          kubeletVersion: this.#options.kubeletVersion,
          kubeProxyVersion: '',
          operatingSystem: 'linux',
          architecture: facts.architecture,
        },
        ...(listed.length === 0 ? {} : { images: imagesOf(listed) }),
      },
      conditions: conditionsOf(await runtimeStatus(), this.#with.needsPodNetwork(), this.#with.pressures()),
    };
  }

  #withTimes(body: Record<string, unknown>, conditions: readonly Condition[]): Record<string, unknown> {
    const nowMs = this.#with.clock.now();
    const timed = conditions.map((it) => {
      const before = this.#transitions.get(it.type);
      const sinceMs = before?.status === it.status ? before.sinceMs : nowMs;
      this.#transitions.set(it.type, { status: it.status, sinceMs });
      const { type, status, reason, message } = it;
      const lastTransitionTime = apiTime(sinceMs);
      return { type, status, lastHeartbeatTime: apiTime(nowMs), lastTransitionTime, reason, message };
    });
    return { ...body, conditions: timed };
  }

  /** Something that it tells has changed. */
  poke(): void {
    this.#asked = true;
    this.#wake();
  }

  async #pause(clock: Clock, signal: AbortSignal): Promise<void> {
    if (this.#asked || signal.aborted) return;
    const done = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const either = AbortSignal.any([signal, done.signal]);
    await Promise.race([woken, clock.sleep(this.#options.checkMs, either).catch(() => {})]);
    done.abort();
  }
}

function conditionsOf(
  runtime: RuntimeStatus,
  needsPodNetwork: boolean,
  pressures: readonly PressureCondition[],
): readonly Condition[] {
  const failed = runtime.conditions.filter((it) => !it.ok && (it.type !== 'NetworkReady' || needsPodNetwork));
  const [first] = failed;
  const ready: Condition =
    first === undefined
      ? { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'edged is posting ready status' }
      : {
          type: 'Ready',
          status: 'False',
          reason: first.reason || 'KubeletNotReady',
          message: failed.map((it) => `${it.type}=false, ${it.reason}: ${it.message}`).join('; '),
        };
  return [
    ...pressureWords.map(({ type, short, enough }): Condition => {
      const isShort = pressures.includes(type);
      return { type, status: isShort ? 'True' : 'False', ...(isShort ? short : enough) };
    }),
    ready,
  ];
}

/** The kubelet's. */
const pressureWords = [
  {
    type: 'MemoryPressure',
    short: { reason: 'KubeletHasInsufficientMemory', message: 'kubelet has insufficient memory available' },
    enough: { reason: 'KubeletHasSufficientMemory', message: 'kubelet has sufficient memory available' },
  },
  {
    type: 'DiskPressure',
    short: { reason: 'KubeletHasDiskPressure', message: 'kubelet has disk pressure' },
    enough: { reason: 'KubeletHasNoDiskPressure', message: 'kubelet has no disk pressure' },
  },
  {
    type: 'PIDPressure',
    short: { reason: 'KubeletHasInsufficientPID', message: 'kubelet has insufficient PID available' },
    enough: { reason: 'KubeletHasSufficientPID', message: 'kubelet has sufficient PID available' },
  },
] as const;

/** The largest, as far as the API keeps them. */
function imagesOf(images: readonly Image[]): readonly { names: readonly string[]; sizeBytes: number }[] {
  return [...images]
    .filter((it) => it.tags.length + it.digests.length > 0)
    .sort((a, b) => b.sizeBytes - a.sizeBytes || (a.id < b.id ? -1 : 1))
    .slice(0, imagesMax)
    .map((it) => ({ names: [...it.digests, ...it.tags].slice(0, imageNamesMax), sizeBytes: it.sizeBytes }));
}
