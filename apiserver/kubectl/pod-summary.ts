/** What kubectl shows of a pod in one line: ready containers, a status word and restarts. */

import { type JsonValue, type KubeObject, listAt, textAt, valueAt } from '../kube-object.ts';
import { ageOf } from './human-duration.ts';

export interface PodSummary {
  readonly ready: number;
  readonly containers: number;
  readonly status: string;
  readonly restarts: number;
  readonly lastRestartAt: string | undefined;
}

export function podSummary(pod: KubeObject): PodSummary {
  const sidecars = new Set(
    listAt(pod, 'spec', 'initContainers')
      .filter((container) => textAt(container, 'restartPolicy') === 'Always')
      .map((container) => textAt(container, 'name')),
  );
  const init = listAt(pod, 'status', 'initContainerStatuses');
  const statuses = listAt(pod, 'status', 'containerStatuses');
  const started = init.filter(
    (status) => sidecars.has(textAt(status, 'name')) && valueAt(status, 'started') === true,
  );
  const initializing = initStatus(pod, init, sidecars);
  const counted =
    initializing === undefined || conditionStatus(pod, 'Initialized') === 'True'
      ? [...init.filter((status) => sidecars.has(textAt(status, 'name'))), ...statuses]
      : init;
  const running = initializing === undefined ? statuses.filter(isReadyAndRunning) : [];
  return {
    ready: running.length + started.filter((status) => valueAt(status, 'ready') === true).length,
    containers: listAt(pod, 'spec', 'containers').length + sidecars.size,
    status: deletionStatus(pod) ?? initializing ?? containerStatus(pod, statuses, running.length > 0),
    restarts: counted.reduce<number>((sum, status) => sum + numberAt(status, 'restartCount'), 0),
    lastRestartAt: counted
      .flatMap((status) => textAt(status, 'lastState', 'terminated', 'finishedAt') ?? [])
      .sort()
      .at(-1),
  };
}

export function restartsText({ restarts, lastRestartAt }: PodSummary, nowMs: number): string {
  return restarts === 0 || lastRestartAt === undefined
    ? `${restarts}`
    : `${restarts} (${ageOf(lastRestartAt, nowMs)} ago)`;
}

export function conditionStatus(object: KubeObject, type: string): string | undefined {
  return textAt(condition(object, type), 'status');
}

export function condition(object: KubeObject, type: string): JsonValue | undefined {
  return listAt(object, 'status', 'conditions').find((each) => textAt(each, 'type') === type);
}

function deletionStatus(pod: KubeObject): string | undefined {
  if (pod.metadata.deletionTimestamp === undefined) return undefined;
  if (textAt(pod, 'status', 'reason') === 'NodeLost') return 'Unknown';
  return isFinished(pod) ? undefined : 'Terminating';
}

function isFinished(pod: KubeObject): boolean {
  const phase = textAt(pod, 'status', 'phase');
  return phase === 'Failed' || phase === 'Succeeded';
}

/** `Init:…` while an init container has yet to finish. */
function initStatus(
  pod: KubeObject,
  statuses: readonly JsonValue[],
  sidecars: ReadonlySet<string | undefined>,
): string | undefined {
  for (const [index, status] of statuses.entries()) {
    if (valueAt(status, 'state', 'terminated', 'exitCode') === 0) continue;
    if (sidecars.has(textAt(status, 'name')) && valueAt(status, 'started') === true) continue;
    if (valueAt(status, 'state', 'terminated') !== undefined) return `Init:${terminatedText(status)}`;
    const waiting = textAt(status, 'state', 'waiting', 'reason') ?? '';
    if (waiting !== '' && waiting !== 'PodInitializing') return `Init:${waiting}`;
    return `Init:${index}/${listAt(pod, 'spec', 'initContainers').length}`;
  }
  return undefined;
}

function containerStatus(pod: KubeObject, statuses: readonly JsonValue[], anyRunning: boolean): string {
  const scheduled = condition(pod, 'PodScheduled');
  const gated = textAt(scheduled, 'reason') === 'SchedulingGated';
  const own = textAt(pod, 'status', 'reason') ?? '';
  const phase = own === '' ? (textAt(pod, 'status', 'phase') ?? 'Unknown') : own;
  let reason = gated ? 'SchedulingGated' : phase;
  for (const status of statuses.toReversed()) {
    const waiting = textAt(status, 'state', 'waiting', 'reason') ?? '';
    if (waiting !== '') reason = waiting;
    else if (valueAt(status, 'state', 'terminated') !== undefined) reason = terminatedText(status);
  }
  if (reason !== 'Completed' || !anyRunning) return reason;
  return conditionStatus(pod, 'Ready') === 'True' ? 'Running' : 'NotReady';
}

function terminatedText(status: JsonValue): string {
  const reason = textAt(status, 'state', 'terminated', 'reason') ?? '';
  if (reason !== '') return reason;
  const signal = numberAt(valueAt(status, 'state', 'terminated'), 'signal');
  if (signal !== 0) return `Signal:${signal}`;
  return `ExitCode:${numberAt(valueAt(status, 'state', 'terminated'), 'exitCode')}`;
}

function isReadyAndRunning(status: JsonValue): boolean {
  return valueAt(status, 'ready') === true && valueAt(status, 'state', 'running') !== undefined;
}

export function numberAt(value: unknown, ...path: readonly string[]): number {
  const found = valueAt(value, ...path);
  return typeof found === 'number' ? found : 0;
}
