/**
 * Keeps one pod as it is wanted. Level-triggered: each round looks at the runtime, plans, performs the steps and
 * reports; a poke (new spec, runtime event, changed configMap, link is back) only asks for another round. Slow
 * stops run beside the rounds, so a shorter grace is obeyed; nothing here waits for another pod.
 */

import { rm } from 'node:fs/promises';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { CancelledError, describeError } from '#protocol/errors.ts';
import { operation } from '#protocol/names.ts';
import type { CloudRequests } from './cloud-requests.ts';
import { type ClusterObjects, ObjectUnavailableError } from './cluster-objects.ts';
import { containerConfig, podLogDirectory, sandboxConfig } from './container-config.ts';
import { ContainerConfigError, resolveEnv } from './env.ts';
import type { EventRecorder } from './events.ts';
import type { PodSurroundings } from './fields.ts';
import {
  type Observed,
  type ObservedContainer,
  type Plan,
  plan,
  type Step,
  type Waiting,
  type Wanted,
} from './plan.ts';
import { gracePeriodMs, type Pod, type PodContainer, podKey, podNamespace } from './pod.ts';
import { podStatus, type StatusInput } from './pod-status.ts';
import { annotation, RuntimeError, type RuntimeService } from './runtime/runtime-service.ts';
import type { StatusSender } from './status-sender.ts';
import { mountsOf, type Volumes } from './volumes.ts';

export interface PodWorkerComponents {
  readonly runtime: RuntimeService;
  readonly runtimeName: string;
  readonly volumes: Volumes;
  readonly objects: ClusterObjects;
  readonly cloud: CloudRequests;
  readonly sender: StatusSender;
  readonly events: EventRecorder;
  readonly around: () => PodSurroundings;
  readonly podLogs: string;
  readonly clock: Clock;
  readonly log: Log;
}

interface StartFailure extends Waiting {
  readonly retryAtMs: number;
  readonly tries: number;
}

const resyncMs = 60_000;
const retryFirstMs = 1000;
const retryMaxMs = 10_000;
const roundsMax = 20;

export class PodWorker {
  readonly #with: PodWorkerComponents;
  readonly #log: Log;
  #pod: Pod;
  #removed = false;
  #poked = false;
  #wake: () => void = () => {};
  readonly #ending = new AbortController();
  readonly #stops = new Map<string, number>();
  readonly #failures = new Map<string, StartFailure>();
  readonly #startTimeMs: number;
  #conditions: StatusInput['conditions'];
  #volumesDueMs = 0;
  #deleteAsked = false;

  constructor(pod: Pod, components: PodWorkerComponents) {
    this.#with = components;
    this.#pod = pod;
    this.#log = components.log.child({ pod: podKey(pod) });
    const stored = pod.status?.startTime;
    this.#startTimeMs = stored ? Date.parse(stored) : components.clock.now();
    this.#conditions = pod.status?.conditions ?? [];
    this.#noteEnding();
  }

  get pod(): Pod {
    return this.#pod;
  }

  update(pod: Pod): void {
    this.#pod = pod;
    this.#noteEnding();
    this.poke();
  }

  /** The API knows the pod no more: end it, clean up, report nothing. */
  remove(): void {
    this.#removed = true;
    this.#noteEnding();
    this.poke();
  }

  /** Look again now. `volumes`: what the pod refers to may have changed. */
  poke(what: 'runtime' | 'volumes' | 'cloud' = 'runtime'): void {
    if (what !== 'runtime') {
      if (what === 'volumes') this.#volumesDueMs = 0;
      this.#deleteAsked = false;
      for (const [name, failure] of this.#failures) this.#failures.set(name, { ...failure, retryAtMs: 0 });
    }
    this.#poked = true;
    this.#wake();
  }

  /** Ends when the pod has been removed and nothing of it is left, or when aborted: then all runs on. */
  async run(signal: AbortSignal): Promise<void> {
    let tries = 0;
    while (!signal.aborted) {
      this.#poked = false;
      let wakeAtMs: number;
      try {
        const next = await this.#settle(signal);
        if (next === 'gone') return;
        wakeAtMs = next;
        tries = 0;
      } catch (error) {
        if (signal.aborted) return;
        this.#log.error({ err: error }, 'a round for the pod failed');
        tries += 1;
        wakeAtMs = this.#with.clock.now() + retryMs(tries);
      }
      await this.#wait(wakeAtMs, signal);
    }
  }

  /** Rounds until there is nothing to do at once. */
  async #settle(signal: AbortSignal): Promise<'gone' | number> {
    const { clock } = this.#with;
    for (let round = 0; round < roundsMax; round += 1) {
      const observed = await this.#observe();
      const planned = plan(this.#wanted(), observed, clock.now());
      const acted = await this.#perform(planned, signal);
      if (signal.aborted) break;
      if (acted) continue;
      await this.#refreshVolumes(observed);
      this.#report(observed, planned);
      if (planned.finished && (await this.#finish(signal))) return 'gone';
      return this.#nextAtMs(planned);
    }
    return clock.now();
  }

  #wanted(): Wanted {
    const ended = this.#removed || this.#pod.metadata.deletionTimestamp;
    const ending = ended ? { graceMs: gracePeriodMs(this.#pod), removed: this.#removed } : undefined;
    return { pod: this.#pod, ending };
  }

  async #observe(): Promise<Observed> {
    const { runtime } = this.#with;
    const podUid = this.#pod.metadata.uid;
    const sandboxes = await runtime.listPodSandboxes({ podUid });
    const containers: ObservedContainer[] = [];
    for (const { id } of await runtime.listContainers({ podUid })) {
      try {
        const it = await runtime.containerStatus(id);
        containers.push({ ...it, backoffMs: Number(it.annotations[annotation.backoffMs] ?? 0) || 0 });
      } catch (error) {
        if (!(error instanceof RuntimeError && error.code === 'not-found')) throw error;
      }
    }
    return {
      sandboxes: sandboxes.map(({ id, attempt, state }) => ({ id, attempt, ready: state === 'ready' })),
      containers,
    };
  }

  /** True when something was done that makes another look worth it. */
  async #perform(planned: Plan, signal: AbortSignal): Promise<boolean> {
    let acted = false;
    for (const step of planned.steps) {
      if (signal.aborted) return false;
      if (step.do === 'stop') this.#stop(step);
      else acted = (await this.#performOne(step)) || acted;
    }
    for (const [name, waiting] of planned.waiting)
      this.#with.events.pod(this.#pod, 'Warning', 'BackOff', waiting.message, name);
    return acted;
  }

  async #performOne(step: Exclude<Step, { do: 'stop' }>): Promise<boolean> {
    const { runtime, podLogs } = this.#with;
    switch (step.do) {
      case 'run-sandbox':
        await runtime.runPodSandbox(sandboxConfig(this.#pod, step.attempt, podLogs));
        return true;
      case 'start':
        return this.#start(step);
      case 'remove-container':
        await runtime.removeContainer(step.containerId);
        return true;
      case 'stop-sandbox':
        await runtime.stopPodSandbox(step.sandboxId);
        return true;
      case 'remove-sandbox':
        await runtime.removePodSandbox(step.sandboxId);
        return true;
    }
  }

  #stop(step: Extract<Step, { do: 'stop' }>): void {
    const underway = this.#stops.get(step.containerId);
    if (underway !== undefined && underway <= step.graceMs) return;
    this.#stops.set(step.containerId, step.graceMs);
    const { runtime, events } = this.#with;
    if (underway === undefined)
      events.pod(this.#pod, 'Normal', 'Killing', `Stopping container ${step.name}: ${step.why}`, step.name);
    void runtime
      .stopContainer(step.containerId, step.graceMs)
      .catch((error: unknown) =>
        this.#log.error({ err: error, container: step.name }, 'cannot stop container'),
      )
      .finally(() => {
        this.#stops.delete(step.containerId);
        this.poke();
      });
  }

  async #start(step: Extract<Step, { do: 'start' }>): Promise<boolean> {
    const { runtime, events, clock } = this.#with;
    const failure = this.#failures.get(step.name);
    if (failure !== undefined && clock.now() < failure.retryAtMs) return false;
    const container = [...this.#pod.spec.initContainers, ...this.#pod.spec.containers].find(
      (it) => it.name === step.name,
    );
    if (container === undefined) return false;
    let id: string | undefined;
    try {
      const config = await unlessAborted(this.#configOf(container, step), this.#ending.signal);
      id = await runtime.createContainer(step.sandboxId, config);
      events.pod(this.#pod, 'Normal', 'Created', `Created container: ${step.name}`, step.name);
      await runtime.startContainer(id);
      events.pod(this.#pod, 'Normal', 'Started', `Started container ${step.name}`, step.name);
      this.#failures.delete(step.name);
      return true;
    } catch (error) {
      if (error instanceof CancelledError) return true;
      this.#noteFailure(step.name, error, (failure?.tries ?? 0) + 1);
      if (id !== undefined) await runtime.removeContainer(id);
      return false;
    }
  }

  async #configOf(container: PodContainer, step: Extract<Step, { do: 'start' }>) {
    const { volumes, objects, around } = this.#with;
    const pod = this.#pod;
    let mounts: Awaited<ReturnType<typeof mountsOf>>;
    try {
      const prepared = await volumes.prepare(pod, around());
      this.#volumesDueMs = this.#volumesDue(prepared.refreshAtMs);
      mounts = await mountsOf(container, prepared);
    } catch (error) {
      throw new VolumeFailure(error);
    }
    const env = await resolveEnv(pod, container, objects, around());
    return containerConfig(pod, container, step, env, mounts);
  }

  #noteFailure(name: string, error: unknown, tries: number): void {
    const { events, clock } = this.#with;
    const { reason, event, message } = explain(error);
    this.#failures.set(name, { reason, message, tries, retryAtMs: clock.now() + retryMs(tries) });
    this.#log.warn({ container: name, reason, why: message }, 'container cannot start');
    events.pod(this.#pod, 'Warning', event, message, event === 'FailedMount' ? undefined : name);
  }

  /** Files of configMaps, secrets and tokens follow their source while the pod runs. */
  async #refreshVolumes(observed: Observed): Promise<void> {
    const { clock, volumes, around } = this.#with;
    const runs = observed.containers.some((it) => it.state === 'running');
    if (!runs || this.#ending.signal.aborted || clock.now() < this.#volumesDueMs) return;
    this.#volumesDueMs = clock.now() + resyncMs;
    try {
      const prepared = await unlessAborted(volumes.prepare(this.#pod, around()), this.#ending.signal);
      this.#volumesDueMs = this.#volumesDue(prepared.refreshAtMs);
    } catch (error) {
      if (error instanceof CancelledError) return;
      this.#log.warn({ err: error }, 'volumes keep what they hold');
    }
  }

  #volumesDue(refreshAtMs: number | undefined): number {
    return Math.min(this.#with.clock.now() + resyncMs, refreshAtMs ?? Number.POSITIVE_INFINITY);
  }

  #report(observed: Observed, planned: Plan): void {
    const nothingToSay = this.#ending.signal.aborted && observed.containers.length === 0;
    if (this.#removed || (nothingToSay && this.#pod.status?.phase)) return;
    const { clock, runtimeName, sender, around } = this.#with;
    const { hostIp, podIp } = around();
    const waiting = new Map<string, Waiting>(planned.waiting);
    const starting = new Set(planned.steps.flatMap((step) => (step.do === 'start' ? [step.name] : [])));
    for (const [name, failure] of this.#failures) if (starting.has(name)) waiting.set(name, failure);
    const status = podStatus({
      pod: this.#pod,
      observed,
      waiting,
      runtimeName,
      hostIp,
      podIp: observed.sandboxes.length === 0 ? undefined : podIp,
      startTimeMs: this.#startTimeMs,
      conditions: this.#conditions,
      ending: this.#ending.signal.aborted,
      nowMs: clock.now(),
    });
    this.#conditions = status.conditions;
    sender.report(this.#pod, status);
  }

  /** Nothing runs any more. True when nothing is left to do for this pod at all. */
  async #finish(signal: AbortSignal): Promise<boolean> {
    const { volumes, podLogs, sender, cloud } = this.#with;
    const { uid, name, deletionTimestamp } = this.#pod.metadata;
    if (this.#removed) {
      await volumes.remove(uid);
      await rm(podLogDirectory(this.#pod, podLogs), { recursive: true, force: true });
      sender.forget(uid);
      return true;
    }
    if (!deletionTimestamp || this.#deleteAsked) return false;
    this.#deleteAsked = true;
    void sender
      .settled(this.#pod, signal)
      .then(async () => {
        if (signal.aborted || this.#removed) return;
        const options = { gracePeriodSeconds: 0, preconditions: { uid } };
        const resource = `${podNamespace(this.#pod)}/pod/${name}`;
        const answer = await cloud.ask(operation.delete, resource, options, signal);
        // Gone, or another pod by now: either way nobody asks for this one any more.
        if (answer.kind === 'object') return this.remove();
        this.#log.debug({ answer }, 'the deletion is not confirmed yet');
        this.#deleteAsked = false;
      })
      .catch((error: unknown) => {
        this.#deleteAsked = false;
        if (!signal.aborted) this.#log.warn({ err: error }, 'cannot report the deletion');
      });
    return false;
  }

  #nextAtMs(planned: Plan): number {
    const nowMs = this.#with.clock.now();
    const ending = this.#ending.signal.aborted;
    let atMs = Math.min(
      nowMs + (ending ? retryMaxMs : resyncMs),
      planned.wakeAtMs ?? Number.POSITIVE_INFINITY,
    );
    for (const step of planned.steps) {
      const failure = step.do === 'start' ? this.#failures.get(step.name) : undefined;
      if (failure !== undefined) atMs = Math.min(atMs, failure.retryAtMs);
    }
    return atMs;
  }

  async #wait(wakeAtMs: number, signal: AbortSignal): Promise<void> {
    if (this.#poked || signal.aborted) return;
    const done = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const either = AbortSignal.any([signal, done.signal]);
    const { clock } = this.#with;
    await Promise.race([woken, clock.sleep(Math.max(0, wakeAtMs - clock.now()), either).catch(() => {})]);
    done.abort();
    this.#wake = () => {};
  }

  #noteEnding(): void {
    if (this.#removed || this.#pod.metadata.deletionTimestamp) this.#ending.abort();
  }
}

class VolumeFailure extends Error {
  constructor(cause: unknown) {
    super(describeError(cause), { cause });
  }
}

function explain(error: unknown): { reason: string; event: string; message: string } {
  const message = describeError(error);
  if (error instanceof VolumeFailure) return { reason: 'ContainerCreating', event: 'FailedMount', message };
  if (error instanceof ContainerConfigError || error instanceof ObjectUnavailableError)
    return { reason: 'CreateContainerConfigError', event: 'Failed', message };
  const created = error instanceof RuntimeError && error.code === 'cannot-start';
  return { reason: created ? 'RunContainerError' : 'CreateContainerError', event: 'Failed', message };
}

function retryMs(tries: number): number {
  return Math.min(retryMaxMs, retryFirstMs * 2 ** Math.min(tries - 1, 10));
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    work.catch(() => {});
    throw new CancelledError();
  }
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(new CancelledError());
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
