/**
 * Keeps one pod as it is wanted. Level-triggered: each round looks at the runtime, plans, performs the steps and
 * reports; a poke (new spec, runtime event, changed configMap, link is back) only asks for another round. Slow
 * stops run beside the rounds, so a shorter grace is obeyed; nothing here waits for another pod.
 */

import { rm } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { CancelledError, describeError } from '#protocol/errors.ts';
import { operation } from '#protocol/names.ts';
import type { CloudRequests } from '../cloud-requests.ts';
import type { ClusterObjects } from '../cluster-objects.ts';
import { podLogDirectory, sandboxConfig } from '../container/container-config.ts';
import { ContainerHooks } from '../container/container-hooks.ts';
import { removeContainer } from '../container/container-logs.ts';
import { ContainerStarter, explain } from '../container/container-starter.ts';
import { ContainerStops } from '../container/container-stops.ts';
import type { PodSurroundings } from '../container/fields.ts';
import type { EventRecorder } from '../events.ts';
import type { ImagePulls } from '../images/image-pulls.ts';
import { PodImages } from '../images/pod-images.ts';
import { PodProbes } from '../probes/pod-probes.ts';
import { type DnsConfig, RuntimeError, type RuntimeService } from '../runtime/runtime-service.ts';
import type { ContainerMountsParts } from '../volumes/container-mounts.ts';
import type { Volumes } from '../volumes/volumes.ts';
import {
  type DeadKept,
  type Observed,
  type Plan,
  type PodVerdict,
  plan,
  type Step,
  type Waiting,
  type Wanted,
} from './plan.ts';
import { gracePeriodMs, type Pod, type PodContainer, podKey, podLabel, podNamespace } from './pod.ts';
import type { PodFiles } from './pod-files.ts';
import { ignoredFields } from './pod-linux.ts';
import { PodNotes } from './pod-notes.ts';
import { PodObserver } from './pod-observer.ts';
import { podStatus, type StatusInput } from './pod-status.ts';
import { retryMaxMs, retryMs, type StartFailure, StartFailures, sandboxKey } from './start-failures.ts';
import type { StatusReporter } from './status-sender.ts';

export interface PodWorkerComponents extends ContainerMountsParts {
  readonly runtime: RuntimeService;
  readonly runtimeName: string;
  /** Undefined where images are not used. */
  readonly pulls: ImagePulls | undefined;
  /** Undefined where containers have no root of their own. */
  readonly files: PodFiles | undefined;
  readonly volumes: Volumes;
  readonly objects: ClusterObjects;
  readonly cloud: CloudRequests;
  readonly sender: StatusReporter;
  readonly events: EventRecorder;
  readonly around: () => PodSurroundings;
  readonly dnsOf: (pod: Pod) => Promise<DnsConfig | undefined>;
  readonly podLogs: string;
  /** Where the profiles lie that pods name. */
  readonly seccompDirectory: string;
  readonly clusterDomain: string;
  /** Undefined: one of each name. */
  readonly deadKept?: DeadKept | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

const resyncMs = 60_000;
const roundsMax = 20;

export class PodWorker {
  readonly #with: PodWorkerComponents;
  readonly #log: Log;
  #pod: Pod;
  #removed = false;
  #poked = false;
  #wake: () => void = () => {};
  readonly #ending = new AbortController();
  readonly #stops: ContainerStops;
  readonly #failures: StartFailures;
  readonly #notes: PodNotes;
  #conditions: StatusInput['conditions'];
  readonly #starter: ContainerStarter;
  readonly #probes: PodProbes;
  readonly #hooks: ContainerHooks;
  readonly #observer: PodObserver;
  #deleteAsked = false;
  #hasEnded = false;
  /** Why it runs no more, and since when; `told` when the cloud has said so itself. */
  #over: { readonly verdict: PodVerdict; readonly told: boolean } | undefined;

  constructor(pod: Pod, components: PodWorkerComponents) {
    this.#with = components;
    this.#pod = pod;
    this.#log = components.log.child({ pod: podKey(pod) });
    const directory = components.podDirectory(pod.metadata.uid);
    this.#notes = new PodNotes(pod, directory, { clock: components.clock, log: this.#log });
    this.#conditions = pod.status?.conditions ?? [];
    const images =
      components.pulls &&
      new PodImages({ ...components, pulls: components.pulls }, () => this.poke(), this.#ending.signal);
    this.#starter = new ContainerStarter({ ...components, log: this.#log }, images, this.#ending.signal);
    this.#probes = new PodProbes(pod, { ...components, log: this.#log }, () => this.poke());
    this.#failures = new StartFailures(components.clock);
    this.#observer = new PodObserver(components);
    this.#hooks = new ContainerHooks(components, () => this.poke());
    this.#stops = new ContainerStops({ ...components, log: this.#log }, this.#hooks, () => this.poke());
    this.#noteEnded();
    this.#recall();
    this.#noteEnding();
  }

  get pod(): Pod {
    return this.#pod;
  }

  /** It has ended, or is told to. */
  get isEnding(): boolean {
    return this.#over !== undefined || this.#ending.signal.aborted || this.#hasEnded;
  }

  update(pod: Pod): void {
    const before = this.#pod;
    this.#pod = pod;
    this.#noteEnded();
    this.#noteEnding();
    if (!isDeepStrictEqual(shownToPod(before), shownToPod(pod))) this.#starter.volumesChanged();
    this.poke();
  }

  /** Ends the pod for good without deleting it: an eviction, for example. The first verdict stands. */
  fail(verdict: PodVerdict): void {
    if (this.#over !== undefined || this.#ending.signal.aborted) return;
    this.#over = { verdict, told: false };
    this.#notes.keepVerdict(verdict);
    this.#stops.podEnds();
    this.#log.info({ reason: verdict.reason }, 'the pod is ended');
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
      if (what === 'volumes') this.#starter.volumesChanged();
      this.#deleteAsked = false;
      this.#failures.retryNow();
    }
    this.#poked = true;
    this.#wake();
  }

  /** Ends when the pod has been removed and nothing of it is left, or when aborted: then all runs on. */
  async run(signal: AbortSignal): Promise<void> {
    let tries = 0;
    this.#tellIgnored();
    while (!signal.aborted) {
      this.#poked = false;
      let wakeAtMs: number;
      try {
        const next = await this.#settle(signal);
        if (next === 'gone') break;
        wakeAtMs = next;
        tries = 0;
      } catch (error) {
        if (signal.aborted) break;
        this.#log.error({ err: error }, 'a round for the pod failed');
        tries += 1;
        wakeAtMs = this.#with.clock.now() + retryMs(tries);
      }
      await this.#wait(wakeAtMs, signal);
    }
    this.#probes.stop();
  }

  /** Rounds until there is nothing to do at once. */
  async #settle(signal: AbortSignal): Promise<'gone' | number> {
    const { clock } = this.#with;
    for (let round = 0; round < roundsMax; round += 1) {
      this.#noteDeadline();
      const observed = await this.#observe();
      const planned = plan(this.#wanted(), observed, clock.now());
      const acted = await this.#perform(planned, observed, signal);
      if (signal.aborted) break;
      if (acted) continue;
      if (observed.containers.some((it) => it.state === 'running'))
        await this.#starter.refreshVolumes(this.#pod, this.#around(observed));
      this.#report(observed, planned);
      if (planned.finished && (await this.#finish(signal))) return 'gone';
      return this.#nextAtMs(planned);
    }
    return clock.now();
  }

  #wanted(): Wanted {
    const ended = this.#removed || this.#pod.metadata.deletionTimestamp;
    const ending = ended ? { graceMs: gracePeriodMs(this.#pod), removed: this.#removed } : undefined;
    return { pod: this.#pod, ending, over: this.#over?.verdict, deadKept: this.#with.deadKept };
  }

  async #observe(): Promise<Observed> {
    const sandboxes = await this.#observer.sandboxes(this.#pod);
    const containers = await this.#observer.containers(this.#pod);
    this.#hooks.keepOnly(new Set(containers.map((it) => it.id)));
    const host = this.#around({ sandboxes, containers }).podIp;
    if (this.#ending.signal.aborted) this.#probes.stop();
    else this.#probes.follow(this.#pod, containers, host);
    return {
      sandboxes,
      containers: containers.map((it) => ({
        ...it,
        health: this.#hooks.of(it.id) ?? this.#probes.of(it.id),
      })),
    };
  }

  /** The node as this pod sees it: with its own address, where it has one. */
  #around(observed: Observed): PodSurroundings {
    const around = this.#with.around();
    const ip = observed.sandboxes.find((it) => it.ip !== undefined)?.ip;
    return ip === undefined ? around : { ...around, podIp: ip };
  }

  /** True when something was done that makes another look worth it. */
  async #perform(planned: Plan, observed: Observed, signal: AbortSignal): Promise<boolean> {
    let acted = false;
    for (const step of planned.steps) {
      if (signal.aborted) return false;
      if (step.do === 'stop') this.#stop(step, observed);
      else acted = (await this.#performOne(step, observed).catch(falseIfStarting)) || acted;
    }
    for (const [name, { reason, message }] of planned.waiting) {
      if (reason !== 'CrashLoopBackOff')
        this.#with.events.pod(this.#pod, 'Warning', 'Failed', `Error: ${message}`, name);
      else {
        const said = `Back-off restarting failed container ${name} in pod ${podLabel(this.#pod)}`;
        this.#with.events.pod(this.#pod, 'Warning', 'BackOff', said, name);
      }
    }
    return acted;
  }

  async #performOne(step: Exclude<Step, { do: 'stop' }>, observed: Observed): Promise<boolean> {
    const { runtime } = this.#with;
    switch (step.do) {
      case 'run-sandbox':
        return this.#runSandbox(step);
      case 'start':
        return this.#start(step, observed);
      case 'remove-container':
        await removeContainer(runtime, step.containerId);
        return true;
      case 'stop-sandbox':
        await runtime.stopPodSandbox(step.sandboxId);
        return true;
      case 'remove-sandbox':
        // Logs go first: once the sandbox is gone, nothing says any more that they were ours.
        if (this.#removed) await this.#removeLogs();
        await runtime.removePodSandbox(step.sandboxId);
        return true;
    }
  }

  #stop(step: Extract<Step, { do: 'stop' }>, observed: Observed): void {
    const { containerId, name } = step;
    const container = this.#containerOf(name);
    const target = container && { containerId, container, host: this.#around(observed).podIp };
    this.#stops.stop(this.#pod, step, target);
  }

  async #runSandbox({ attempt, replaces }: Extract<Step, { do: 'run-sandbox' }>): Promise<boolean> {
    const { runtime, podLogs, dnsOf, clusterDomain } = this.#with;
    if (this.#failures.blocks(sandboxKey) !== undefined) return false;
    try {
      for (const id of replaces) await runtime.stopPodSandbox(id);
      const dns = await dnsOf(this.#pod);
      await runtime.runPodSandbox(sandboxConfig(this.#pod, attempt, { podLogs, dns, clusterDomain }));
      this.#failures.clear(sandboxKey);
      return true;
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code === 'unavailable') throw error;
      const message = `Failed to create pod sandbox: ${describeError(error)}`;
      this.#failures.note(sandboxKey, { reason: 'ContainerCreating', message: '' });
      this.#log.warn({ why: message }, 'pod cannot start');
      this.#with.events.pod(this.#pod, 'Warning', 'FailedCreatePodSandBox', message);
      return false;
    }
  }

  async #start(step: Extract<Step, { do: 'start' }>, observed: Observed): Promise<boolean> {
    const { name } = step;
    const failure = this.#failures.blocks(name);
    if (failure !== undefined) {
      this.#backOffPull(name, failure);
      return false;
    }
    const container = this.#containerOf(name);
    if (container === undefined) return false;
    try {
      const around = this.#around(observed);
      const containerId = await this.#starter.start(this.#pod, container, step, around);
      if (containerId === undefined) return false;
      this.#failures.clear(name);
      this.#hooks.postStart(this.#pod, { containerId, container, host: around.podIp });
      return true;
    } catch (error) {
      if (error instanceof CancelledError) return true;
      if (error instanceof RuntimeError && error.code === 'starting') throw error;
      this.#noteFailure(name, error);
      return false;
    }
  }

  #containerOf(name: string): PodContainer | undefined {
    const { initContainers, containers } = this.#pod.spec;
    return [...initContainers, ...containers].find((it) => it.name === name);
  }

  #noteFailure(name: string, error: unknown): void {
    const { reason, events, message } = explain(error);
    this.#failures.note(name, { reason, message });
    this.#log.warn({ container: name, reason, why: message }, 'container cannot start');
    for (const event of events) {
      const about = event.reason === 'FailedMount' ? undefined : name;
      this.#with.events.pod(this.#pod, 'Warning', event.reason, event.message, about);
    }
    if (reason === 'ErrImagePull') this.#poked = true;
  }

  /** A pull that failed is told once as such, then as the wait for the next. */
  #backOffPull(name: string, failure: StartFailure): void {
    if (failure.reason !== 'ErrImagePull' && failure.reason !== 'ImagePullBackOff') return;
    const { events } = this.#with;
    const message = `Back-off pulling image "${this.#containerOf(name)?.image ?? ''}"`;
    this.#failures.retell(name, { reason: 'ImagePullBackOff', message });
    events.pod(this.#pod, 'Normal', 'BackOff', message, name);
    events.pod(this.#pod, 'Warning', 'Failed', 'Error: ImagePullBackOff', name);
  }

  #report(observed: Observed, planned: Plan): void {
    const nothingToSay = this.#ending.signal.aborted && observed.containers.length === 0;
    if (this.#removed || this.#over?.told || (nothingToSay && this.#pod.status?.phase)) return;
    const { clock, runtimeName, sender } = this.#with;
    const { hostIp, podIp } = this.#around(observed);
    const waiting = new Map<string, Waiting>(planned.waiting);
    const starting = new Set(planned.steps.flatMap((step) => (step.do === 'start' ? [step.name] : [])));
    for (const name of starting) {
      const failure = this.#failures.of(name);
      if (failure !== undefined) waiting.set(name, failure);
    }
    const status = podStatus({
      pod: this.#pod,
      observed,
      waiting,
      runtimeName,
      hostIp,
      podIp: observed.sandboxes.length === 0 ? undefined : podIp,
      startTimeMs: this.#notes.startTimeMs,
      conditions: this.#conditions,
      ending: this.#ending.signal.aborted,
      over: this.#over?.verdict,
      nowMs: clock.now(),
    });
    this.#conditions = status.conditions;
    this.#hasEnded = status.phase === 'Succeeded' || status.phase === 'Failed';
    sender.report(this.#pod, status);
  }

  /** Nothing runs any more. True when nothing is left to do for this pod at all. */
  async #finish(signal: AbortSignal): Promise<boolean> {
    const { volumes, sender, cloud } = this.#with;
    const { uid, name, deletionTimestamp } = this.#pod.metadata;
    if (this.#removed) {
      await volumes.remove(uid);
      await this.#removeLogs();
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

  #removeLogs(): Promise<void> {
    return rm(podLogDirectory(this.#pod, this.#with.podLogs), { recursive: true, force: true });
  }

  #nextAtMs(planned: Plan): number {
    const nowMs = this.#with.clock.now();
    const ending = this.#ending.signal.aborted;
    let atMs = Math.min(
      nowMs + (ending ? retryMaxMs : resyncMs),
      planned.wakeAtMs ?? Number.POSITIVE_INFINITY,
      this.#over === undefined ? this.#deadlineMs() : Number.POSITIVE_INFINITY,
    );
    for (const step of planned.steps) {
      const key = step.do === 'start' ? step.name : step.do === 'run-sandbox' ? sandboxKey : undefined;
      const failure = key === undefined ? undefined : this.#failures.of(key);
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

  #tellIgnored(): void {
    const fields = ignoredFields(this.#pod);
    if (fields.length === 0 || this.#ending.signal.aborted) return;
    const message = `These fields do nothing on this node: ${fields.join(', ')}`;
    this.#log.warn({ fields }, 'fields of the pod do nothing here');
    this.#with.events.pod(this.#pod, 'Warning', 'FieldsIgnored', message);
  }

  #noteEnding(): void {
    if (!this.#removed && !this.#pod.metadata.deletionTimestamp) return;
    this.#stops.podEnds();
    this.#ending.abort();
  }

  /** What the API calls ended does not start again, whatever the runtime has forgotten. */
  #noteEnded(): void {
    const { phase, reason, message } = this.#pod.status ?? {};
    if (this.#over !== undefined || (phase !== 'Failed' && phase !== 'Succeeded')) return;
    this.#over = { verdict: { phase, reason: reason ?? '', message: message ?? '' }, told: true };
    this.#stops.podEnds();
  }

  /** Ended by us before a restart, and perhaps not yet reported. */
  #recall(): void {
    const { verdict } = this.#notes;
    if (this.#over !== undefined || verdict === undefined) return;
    this.#over = { verdict, told: false };
    this.#stops.podEnds();
  }

  #deadlineMs(): number {
    const seconds = this.#pod.spec.activeDeadlineSeconds;
    return typeof seconds === 'number' ? this.#notes.startTimeMs + seconds * 1000 : Number.POSITIVE_INFINITY;
  }

  #noteDeadline(): void {
    if (this.#over !== undefined || this.#with.clock.now() < this.#deadlineMs()) return;
    const message = 'Pod was active on the node longer than the specified deadline';
    this.fail({ phase: 'Failed', reason: 'DeadlineExceeded', message });
    this.#with.events.pod(this.#pod, 'Normal', 'DeadlineExceeded', message);
  }
}

/** The edgecore before this one asked for that start: the runtime tells what comes of it. */
function falseIfStarting(error: unknown): boolean {
  if (error instanceof RuntimeError && error.code === 'starting') return false;
  throw error;
}

/** What of a pod stands in its downwardAPI volumes. */
function shownToPod({ metadata: { labels, annotations } }: Pod): unknown {
  return { labels, annotations };
}
