/**
 * What to do next for one pod: a pure function of the pod that is wanted, what the runtime says, and the time.
 * It remembers nothing: attempts, exit codes and the back-off pause stand in the runtime, so a restarted
 * edgecore plans on where the last one stopped.
 */

import { isSidecar, type Pod, type PodContainer, podLabel, storedRestarts } from './pod.ts';

export const backoffFirstMs = 10_000;
export const backoffMaxMs = 300_000;
/** A container that ran this long starts again at once, and its back-off from the beginning. */
export const backoffResetAfterMs = 600_000;

export interface ObservedContainer {
  readonly id: string;
  readonly sandboxId: string;
  readonly name: string;
  readonly attempt: number;
  readonly image: string;
  readonly state: 'created' | 'running' | 'exited' | 'unknown';
  readonly createdAtMs: number;
  readonly startedAtMs: number | undefined;
  readonly finishedAtMs: number | undefined;
  readonly exitCode: number | undefined;
  readonly reason: string;
  readonly message: string;
  readonly imageRef?: string | undefined;
  /** What its probes say; undefined where none were asked. */
  readonly health?: ObservedHealth | undefined;
  /** The pause before the start that follows this one. */
  readonly backoffMs: number;
}

export interface ObservedHealth {
  readonly started: boolean;
  readonly ready: boolean;
  /** Set when it is to be ended; its restart policy says what then. */
  readonly unhealthy: { readonly why: string; readonly graceMs: number | undefined } | undefined;
}

export interface ObservedSandbox {
  readonly id: string;
  readonly attempt: number;
  readonly ready: boolean;
  /** The pod's own address; undefined where it uses the machine's. */
  readonly ip?: string | undefined;
}

export interface Observed {
  readonly sandboxes: readonly ObservedSandbox[];
  readonly containers: readonly ObservedContainer[];
}

export interface Wanted {
  readonly pod: Pod;
  /** Set once the pod is to end; `removed` when the API knows it no more. */
  readonly ending: { readonly graceMs: number; readonly removed: boolean } | undefined;
  /** Set when it is to run no more, although it was not deleted. */
  readonly over?: PodVerdict | undefined;
  readonly deadKept?: DeadKept | undefined;
}

/** How many ended containers are kept of each name; the last one always is, since it says how it ended. */
export interface DeadKept {
  /** Negative: all. */
  readonly max: number;
  /** None is removed that is younger. */
  readonly ageMinMs: number;
}

const oneDead: DeadKept = { max: 1, ageMinMs: 0 };

/** How a pod has ended that did not end by itself: its time was over, it was evicted, or it had ended before. */
export interface PodVerdict {
  readonly phase: 'Failed' | 'Succeeded';
  readonly reason: string;
  readonly message: string;
  /** For its containers, where it is not their own. */
  readonly graceMs?: number | undefined;
}

export type Step =
  /** `replaces`: sandboxes that died, whose network is given back first. */
  | { readonly do: 'run-sandbox'; readonly attempt: number; readonly replaces: readonly string[] }
  | {
      readonly do: 'start';
      readonly sandboxId: string;
      readonly name: string;
      readonly attempt: number;
      readonly backoffMs: number;
      /** One that is there and was not seen to start: replacing it could end a start that is under way. */
      readonly createdId?: string;
    }
  | {
      readonly do: 'stop';
      readonly containerId: string;
      readonly name: string;
      readonly graceMs: number;
      /** Counted from when the pod began to end, for containers that have to wait for others. */
      readonly shared: boolean;
      readonly why: string;
    }
  | { readonly do: 'remove-container'; readonly containerId: string }
  | { readonly do: 'stop-sandbox'; readonly sandboxId: string }
  | { readonly do: 'remove-sandbox'; readonly sandboxId: string };

export interface Waiting {
  readonly reason: string;
  readonly message: string;
}

export interface Plan {
  readonly steps: readonly Step[];
  /** Look again then, even if nothing happens. */
  readonly wakeAtMs: number | undefined;
  /** Why a container is not started now. */
  readonly waiting: ReadonlyMap<string, Waiting>;
  /** Nothing of the pod runs and nothing will. */
  readonly finished: boolean;
}

export function plan(wanted: Wanted, observed: Observed, nowMs: number): Plan {
  if (wanted.ending !== undefined) return planEnd(wanted.ending, wanted.pod, observed);
  const draft = new Draft();
  const { pod, over } = wanted;
  if (over !== undefined) return planFinished(draft, pod, observed, over.graceMs);
  if (pod.unreadable !== undefined) return planUnreadable(draft, pod, pod.unreadable);
  const sandbox = newestReady(observed.sandboxes);
  stopStrays(draft, pod, observed, sandbox);
  removeOld(draft, observed, sandbox, wanted.deadKept ?? oneDead, nowMs);
  if (isFinished(pod, observed)) return planFinished(draft, pod, observed);
  if (sandbox === undefined) {
    // Containers may outlive a sandbox that died: they end before their pod starts anew.
    if (draft.stopping) return draft.done(false);
    const attempt = Math.max(-1, ...observed.sandboxes.map((it) => it.attempt)) + 1;
    draft.steps.push({ do: 'run-sandbox', attempt, replaces: observed.sandboxes.map((it) => it.id) });
    return draft.done(false);
  }
  if (draft.stopping) return draft.done(false);
  if (planInit(draft, pod, observed, sandbox, nowMs)) {
    for (const container of pod.spec.containers) {
      planContainer(draft, pod, container, policyOf(pod, container), observed, sandbox, nowMs);
    }
  }
  return draft.done(false);
}

/** True when every container has ended for good under the restart policy. */
export function isFinished(pod: Pod, observed: Observed): boolean {
  const { restartPolicy } = pod.spec;
  if (restartPolicy === 'Always') return false;
  const failedInit = pod.spec.initContainers.some((container) => {
    const last = newest(observed, container.name);
    return !isSidecar(container) && restartPolicy === 'Never' && last !== undefined && hasFailed(last);
  });
  if (failedInit) return true;
  return pod.spec.containers.every((container) => {
    const last = newest(observed, container.name);
    return last !== undefined && hasEnded(last) && (restartPolicy === 'Never' || last.exitCode === 0);
  });
}

export function newest(observed: Observed, name: string): ObservedContainer | undefined {
  let found: ObservedContainer | undefined;
  for (const it of observed.containers) {
    if (it.name === name && (found === undefined || it.attempt > found.attempt)) found = it;
  }
  return found;
}

/** When a container that ended may start again, and the pause that its next end will bring. */
export function restartAt(
  last: ObservedContainer,
  sandboxId: string,
): { readonly atMs: number; readonly nextBackoffMs: number } {
  const endedMs = last.finishedAtMs ?? last.createdAtMs;
  const ranMs = endedMs - (last.startedAtMs ?? endedMs);
  const pauseMs = last.sandboxId !== sandboxId || ranMs >= backoffResetAfterMs ? 0 : last.backoffMs;
  const nextBackoffMs = pauseMs === 0 ? backoffFirstMs : Math.min(backoffMaxMs, pauseMs * 2);
  return { atMs: endedMs + pauseMs, nextBackoffMs };
}

class Draft {
  readonly steps: Step[] = [];
  readonly waiting = new Map<string, Waiting>();
  wakeAtMs: number | undefined;

  get stopping(): boolean {
    return this.steps.some((step) => step.do === 'stop');
  }

  wakeAt(atMs: number): void {
    this.wakeAtMs = Math.min(atMs, this.wakeAtMs ?? atMs);
  }

  done(finished: boolean): Plan {
    const { steps, waiting, wakeAtMs } = this;
    return { steps, waiting, wakeAtMs, finished };
  }
}

function planEnd(ending: { graceMs: number; removed: boolean }, pod: Pod, observed: Observed): Plan {
  const draft = new Draft();
  if (stopAll(draft, pod, observed, ending.graceMs, '')) return draft.done(false);
  for (const it of observed.sandboxes) {
    if (ending.removed) draft.steps.push({ do: 'remove-sandbox', sandboxId: it.id });
    else if (it.ready) draft.steps.push({ do: 'stop-sandbox', sandboxId: it.id });
  }
  return draft.done(draft.steps.length === 0);
}

function planFinished(draft: Draft, pod: Pod, observed: Observed, graceMs = graceOf(pod)): Plan {
  if (stopAll(draft, pod, observed, graceMs, '')) return draft.done(false);
  for (const it of observed.sandboxes)
    if (it.ready) draft.steps.push({ do: 'stop-sandbox', sandboxId: it.id });
  return draft.done(draft.steps.length === 0);
}

/** Nothing is begun or ended on a misunderstanding. */
function planUnreadable(draft: Draft, pod: Pod, message: string): Plan {
  const reason = 'CreateContainerConfigError';
  for (const { name } of [...pod.spec.initContainers, ...pod.spec.containers])
    draft.waiting.set(name, { reason, message });
  return draft.done(false);
}

/** First the containers, then the sidecars that served them, last started first ended. True while something runs. */
function stopAll(draft: Draft, pod: Pod, observed: Observed, graceMs: number, why: string): boolean {
  const running = observed.containers.filter((it) => it.state === 'running' || it.state === 'unknown');
  const sidecars = pod.spec.initContainers.filter(isSidecar).map((it) => it.name);
  const mains = running.filter((it) => !sidecars.includes(it.name));
  const last = sidecars.findLast((name) => running.some((it) => it.name === name));
  for (const { id, name } of mains.length > 0 ? mains : running.filter((it) => it.name === last))
    draft.steps.push({ do: 'stop', containerId: id, name, graceMs, shared: true, why });
  return running.length > 0;
}

function graceOf(pod: Pod): number {
  return (pod.spec.terminationGracePeriodSeconds ?? 30) * 1000;
}

/** Containers of an old sandbox, an older attempt, a name the pod no longer has, or an older image. */
function stopStrays(draft: Draft, pod: Pod, observed: Observed, sandbox: ObservedSandbox | undefined): void {
  const specs = new Map([...pod.spec.initContainers, ...pod.spec.containers].map((it) => [it.name, it]));
  for (const it of observed.containers) {
    if (it.state !== 'running') continue;
    const spec = specs.get(it.name);
    const stray = spec === undefined || it.sandboxId !== sandbox?.id || newest(observed, it.name) !== it;
    const unhealthy = it.health?.unhealthy;
    if (!stray && spec.image === it.image && unhealthy === undefined) continue;
    draft.steps.push({
      do: 'stop',
      containerId: it.id,
      name: it.name,
      graceMs: unhealthy?.graceMs ?? graceOf(pod),
      shared: false,
      why: stray ? '' : (unhealthy?.why ?? `Container ${it.name} definition changed, will be restarted`),
    });
  }
}

/** Keeps what runs, the newest that have ended, and the sandboxes they are in. */
function removeOld(
  draft: Draft,
  observed: Observed,
  sandbox: ObservedSandbox | undefined,
  dead: DeadKept,
  nowMs: number,
): void {
  const kept = new Set<string>();
  for (const it of observed.containers) {
    const newerDead = observed.containers.filter(
      (other) => other.name === it.name && other.attempt > it.attempt && hasEnded(other),
    );
    const surplus = hasEnded(it) && dead.max >= 0 && newerDead.length >= Math.max(1, dead.max);
    const dueMs = it.createdAtMs + dead.ageMinMs;
    if (surplus && nowMs >= dueMs) {
      draft.steps.push({ do: 'remove-container', containerId: it.id });
      continue;
    }
    if (surplus) draft.wakeAt(dueMs);
    kept.add(it.sandboxId);
  }
  for (const it of observed.sandboxes) {
    const replaced = sandbox !== undefined && it.attempt < sandbox.attempt;
    if (replaced && !kept.has(it.id)) draft.steps.push({ do: 'remove-sandbox', sandboxId: it.id });
  }
}

/** True when the init containers have done their part and the others may run. */
function planInit(
  draft: Draft,
  pod: Pod,
  observed: Observed,
  sandbox: ObservedSandbox,
  nowMs: number,
): boolean {
  const mainStarted = pod.spec.containers.some((container) => {
    const last = newest(observed, container.name);
    return last?.sandboxId === sandbox.id && last.state !== 'created';
  });
  for (const container of pod.spec.initContainers) {
    const last = newest(observed, container.name);
    const here = last?.sandboxId === sandbox.id ? last : undefined;
    if (isSidecar(container)) {
      if (here?.state === 'running' && here.health?.started !== false) continue;
      planContainer(draft, pod, container, 'Always', observed, sandbox, nowMs);
      if (!mainStarted) return false;
      continue;
    }
    if (mainStarted || (here !== undefined && hasEnded(here) && here.exitCode === 0)) continue;
    const policy = pod.spec.restartPolicy === 'Never' ? 'Never' : 'OnFailure';
    planContainer(draft, pod, container, policy, observed, sandbox, nowMs);
    return false;
  }
  return true;
}

type Policy = Pod['spec']['restartPolicy'];

function policyOf(pod: Pod, container: PodContainer): Policy {
  return isSidecar(container) ? 'Always' : pod.spec.restartPolicy;
}

function planContainer(
  draft: Draft,
  pod: Pod,
  container: PodContainer,
  policy: Policy,
  observed: Observed,
  sandbox: ObservedSandbox,
  nowMs: number,
): void {
  const { name } = container;
  const last = newest(observed, name);
  const start = (attempt: number, backoffMs: number, created: { createdId?: string } = {}) =>
    draft.steps.push({ do: 'start', sandboxId: sandbox.id, name, attempt, backoffMs, ...created });
  if (last === undefined) {
    const { restarts, ran } = storedRestarts(pod, name);
    start(ran ? restarts + 1 : restarts, 0);
    return;
  }
  if (last.state === 'running') return;
  const imageChanged = last.image !== container.image;
  if (last.state === 'created') {
    const usable = last.sandboxId === sandbox.id && !imageChanged;
    if (!usable) draft.steps.push({ do: 'remove-container', containerId: last.id });
    start(last.attempt, last.backoffMs, usable ? { createdId: last.id } : {});
    return;
  }
  const anew =
    last.sandboxId !== sandbox.id && policy !== 'Never' && pod.spec.initContainers.includes(container);
  const again = policy === 'Always' || (policy === 'OnFailure' && hasFailed(last)) || imageChanged || anew;
  if (!again) return;
  const { atMs, nextBackoffMs } = restartAt(last, sandbox.id);
  if (imageChanged || nowMs >= atMs) {
    start(last.attempt + 1, nextBackoffMs);
    return;
  }
  draft.wakeAt(atMs);
  draft.waiting.set(name, {
    reason: 'CrashLoopBackOff',
    message: `back-off ${formatPause(last.backoffMs)} restarting failed container=${name} pod=${podLabel(pod)}`,
  });
}

function newestReady(sandboxes: readonly ObservedSandbox[]): ObservedSandbox | undefined {
  return sandboxes.filter((it) => it.ready).sort((a, b) => b.attempt - a.attempt)[0];
}

function hasEnded(it: ObservedContainer): boolean {
  return it.state === 'exited' || it.state === 'unknown';
}

function hasFailed(it: ObservedContainer): boolean {
  return hasEnded(it) && it.exitCode !== 0;
}

/** As Go writes durations. */
function formatPause(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds % 60}s`;
}
