/** The status of a pod as the API has it: a pure function of the pod, what the runtime says and what we wait for. */

import { newest, type Observed, type ObservedContainer, type PodVerdict, type Waiting } from './plan.ts';
import { isSidecar, type Pod, type PodContainer, storedRestarts } from './pod.ts';

export interface PodCondition {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly lastProbeTime: null;
  readonly lastTransitionTime: string;
  readonly reason?: string;
  readonly message?: string;
}

type ContainerStateValue =
  | { waiting: { reason: string; message?: string } }
  | { running: { startedAt: string } }
  | { terminated: Terminated };

interface Terminated {
  readonly exitCode: number;
  readonly reason: string;
  readonly message?: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly containerID: string;
}

export interface ContainerStatusValue {
  readonly name: string;
  readonly image: string;
  readonly imageID: string;
  readonly containerID?: string;
  readonly restartCount: number;
  readonly ready: boolean;
  readonly started: boolean;
  readonly state: ContainerStateValue;
  readonly lastState: ContainerStateValue | Record<string, never>;
}

export interface PodStatusValue {
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
  readonly reason?: string;
  readonly message?: string;
  readonly conditions: readonly PodCondition[];
  readonly hostIP: string;
  readonly hostIPs: readonly { readonly ip: string }[];
  readonly podIP?: string;
  readonly podIPs?: readonly { readonly ip: string }[];
  readonly startTime: string;
  readonly qosClass: string;
  readonly initContainerStatuses?: readonly ContainerStatusValue[];
  readonly containerStatuses: readonly ContainerStatusValue[];
}

export interface StatusInput {
  readonly pod: Pod;
  readonly observed: Observed;
  readonly waiting: ReadonlyMap<string, Waiting>;
  readonly runtimeName: string;
  readonly hostIp: string;
  readonly podIp: string | undefined;
  readonly startTimeMs: number;
  /** The conditions as they were: transition times are kept from here. */
  readonly conditions: readonly {
    readonly type: string;
    readonly status: string;
    readonly lastTransitionTime?: string | null | undefined;
  }[];
  /** The pod ends: nothing will be started any more. */
  readonly ending: boolean;
  /** It does not run any more, and not by itself. */
  readonly over?: PodVerdict | undefined;
  readonly nowMs: number;
}

export function podStatus(input: StatusInput): PodStatusValue {
  const { pod, hostIp, podIp } = input;
  const statuses = pod.spec.containers.map((it) => containerStatus(it, input, 'ContainerCreating'));
  const inits = pod.spec.initContainers.map((it) => containerStatus(it, input, 'PodInitializing'));
  const { over } = input;
  const phase = over?.phase ?? phaseOf(input, statuses, inits);
  return {
    phase,
    ...(over === undefined ? {} : { reason: over.reason, message: over.message }),
    conditions: conditionsOf(input, statuses, inits, phase),
    hostIP: hostIp,
    hostIPs: [{ ip: hostIp }],
    ...(podIp === undefined ? {} : { podIP: podIp, podIPs: [{ ip: podIp }] }),
    startTime: apiTime(input.startTimeMs),
    qosClass: qosClass(pod),
    ...(inits.length === 0 ? {} : { initContainerStatuses: inits }),
    containerStatuses: statuses,
  };
}

/** RFC 3339 in seconds, as the API writes times. */
export function apiTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

export function qosClass(pod: Pod): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const containers = [...pod.spec.containers, ...pod.spec.initContainers];
  const set = (map: Readonly<Record<string, string>> | null | undefined, name: string) => map?.[name] ?? '0';
  const has = (it: PodContainer) =>
    ['cpu', 'memory'].some(
      (name) => set(it.resources?.limits, name) !== '0' || set(it.resources?.requests, name) !== '0',
    );
  if (!containers.some(has)) return 'BestEffort';
  const guaranteed = containers.every((it) =>
    ['cpu', 'memory'].every((name) => {
      const limit = set(it.resources?.limits, name);
      return limit !== '0' && (it.resources?.requests?.[name] ?? limit) === limit;
    }),
  );
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

function containerStatus(container: PodContainer, input: StatusInput, idle: string): ContainerStatusValue {
  const { name } = container;
  const last = newest(input.observed, name);
  const waiting = input.waiting.get(name);
  const containerID = last === undefined ? undefined : `${input.runtimeName}://${last.id}`;
  const stored = storedRestarts(input.pod, name);
  const common = {
    name,
    image: container.image,
    imageID: last?.imageRef ?? '',
    ...(containerID === undefined ? {} : { containerID }),
    restartCount: last?.attempt ?? stored.restarts,
  };
  if (last?.state === 'running') {
    const before = input.observed.containers.find(
      (it) => it.name === name && it.attempt === last.attempt - 1,
    );
    return {
      ...common,
      ready: (last.health?.ready ?? true) && (last.health?.started ?? true),
      started: last.health?.started ?? true,
      state: { running: { startedAt: apiTime(last.startedAtMs ?? last.createdAtMs) } },
      lastState: before === undefined ? {} : { terminated: terminated(before, input.runtimeName) },
    };
  }
  const ended =
    last !== undefined && last.state !== 'created' ? terminated(last, input.runtimeName) : undefined;
  if (ended !== undefined && waiting === undefined) {
    const completedInit = idle === 'PodInitializing' && ended.exitCode === 0;
    return { ...common, ready: completedInit, started: false, state: { terminated: ended }, lastState: {} };
  }
  const why = waiting ?? { reason: initPending(input) ? 'PodInitializing' : idle, message: '' };
  const state = { waiting: { reason: why.reason, ...(why.message === '' ? {} : { message: why.message }) } };
  const lastState = ended === undefined ? {} : { terminated: ended };
  return { ...common, ready: false, started: false, state, lastState };
}

function initPending({ pod, observed }: StatusInput): boolean {
  return pod.spec.initContainers.some((it) => !initDone(it, newest(observed, it.name)));
}

function initDone(container: PodContainer, last: ObservedContainer | undefined): boolean {
  if (isSidecar(container)) return last?.state === 'running' && last.health?.started !== false;
  return last?.state === 'exited' && last.exitCode === 0;
}

function terminated(it: ObservedContainer, runtimeName: string): Terminated {
  return {
    exitCode: it.exitCode ?? 255,
    reason: it.reason || (it.exitCode === 0 ? 'Completed' : 'Error'),
    ...(it.message === '' ? {} : { message: it.message }),
    startedAt: it.startedAtMs === undefined ? null : apiTime(it.startedAtMs),
    finishedAt: it.finishedAtMs === undefined ? null : apiTime(it.finishedAtMs),
    containerID: `${runtimeName}://${it.id}`,
  };
}

function phaseOf(
  input: StatusInput,
  statuses: readonly ContainerStatusValue[],
  inits: readonly ContainerStatusValue[],
): PodStatusValue['phase'] {
  const { restartPolicy, initContainers } = input.pod.spec;
  const exitOf = (it: ContainerStatusValue) =>
    'terminated' in it.state ? it.state.terminated.exitCode : undefined;
  const ran = (it: ContainerStatusValue) =>
    'running' in it.state || exitOf(it) !== undefined || 'terminated' in it.lastState;
  const final = input.ending || restartPolicy !== 'Always';
  const initFailed = inits.some((it, at) => {
    const sidecar = initContainers[at] !== undefined && isSidecar(initContainers[at]);
    const code = exitOf(it);
    return !sidecar && code !== undefined && code !== 0 && (restartPolicy === 'Never' || input.ending);
  });
  if (initFailed) return 'Failed';
  if (final && statuses.every((it) => exitOf(it) !== undefined)) {
    if (statuses.every((it) => exitOf(it) === 0)) return 'Succeeded';
    if (restartPolicy === 'Never' || input.ending) return 'Failed';
  }
  return statuses.some(ran) && statuses.every((it) => ran(it) || input.ending) ? 'Running' : 'Pending';
}

function conditionsOf(
  input: StatusInput,
  statuses: readonly ContainerStatusValue[],
  inits: readonly ContainerStatusValue[],
  phase: PodStatusValue['phase'],
): PodCondition[] {
  const finished = phase === 'Succeeded' || phase === 'Failed';
  const unready = statuses.filter((it) => !it.ready).map((it) => it.name);
  const uninitialized = input.pod.spec.initContainers
    .filter((it) => !initDone(it, newest(input.observed, it.name)))
    .map((it) => it.name);
  const sandboxReady = input.observed.sandboxes.some((it) => it.ready);
  const initialized =
    uninitialized.length === 0 ||
    phase === 'Succeeded' ||
    statuses.some((it) => it.containerID !== undefined && inits.length > 0);
  const notReady = finished
    ? { reason: phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed' }
    : { reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` };
  const ready = unready.length === 0 && initialized && !finished;
  const make = (
    type: string,
    holds: boolean,
    why: { reason?: string; message?: string } = {},
  ): PodCondition => {
    const status = holds ? 'True' : 'False';
    const before = input.conditions.find((it) => it.type === type);
    const since = before?.status === status ? before.lastTransitionTime : undefined;
    return {
      type,
      status,
      lastProbeTime: null,
      lastTransitionTime: since ?? apiTime(input.nowMs),
      ...(holds ? {} : why),
    };
  };
  return [
    make('PodReadyToStartContainers', sandboxReady),
    make('Initialized', initialized, {
      reason: 'ContainersNotInitialized',
      message: `containers with incomplete status: [${uninitialized.join(' ')}]`,
    }),
    make('Ready', ready, notReady),
    make('ContainersReady', ready, notReady),
    make('PodScheduled', true),
  ];
}
