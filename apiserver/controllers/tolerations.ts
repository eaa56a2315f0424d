/** Taints of nodes and the tolerations of pods. Pure. */

import { type JsonObject, type KubeObject, objectsAt, textAt } from '../kube-object.ts';

export const notReadyTaint = 'node.kubernetes.io/not-ready';
export const unreachableTaint = 'node.kubernetes.io/unreachable';
export const unschedulableTaint = 'node.kubernetes.io/unschedulable';

export function tolerates(toleration: JsonObject, taint: JsonObject): boolean {
  const effect = textAt(toleration, 'effect') ?? '';
  if (effect !== '' && effect !== taint.effect) return false;
  const key = textAt(toleration, 'key') ?? '';
  const exists = textAt(toleration, 'operator') === 'Exists';
  if (key === '') return exists;
  return key === taint.key && (exists || (toleration.value ?? '') === (taint.value ?? ''));
}

/** The first taint that keeps the pod from being put on the node. */
export function untoleratedTaint(pod: KubeObject, node: KubeObject): JsonObject | undefined {
  const tolerations = objectsAt(pod, 'spec', 'tolerations');
  return objectsAt(node, 'spec', 'taints').find(
    (taint) =>
      (taint.effect === 'NoSchedule' || taint.effect === 'NoExecute') &&
      !tolerations.some((toleration) => tolerates(toleration, taint)),
  );
}

/** When the NoExecute taints of its node drive a pod out; undefined: never. */
export function evictionTimeMs(pod: KubeObject, node: KubeObject, nowMs: number): number | undefined {
  const tolerations = objectsAt(pod, 'spec', 'tolerations');
  let earliest: number | undefined;
  for (const taint of objectsAt(node, 'spec', 'taints')) {
    if (taint.effect !== 'NoExecute') continue;
    const fitting = tolerations.filter((toleration) => tolerates(toleration, taint));
    if (fitting.length === 0) return nowMs;
    const seconds = fitting.flatMap(({ tolerationSeconds }) =>
      typeof tolerationSeconds === 'number' ? [tolerationSeconds] : [],
    );
    if (seconds.length === 0) continue;
    const since = Date.parse(textAt(taint, 'timeAdded') ?? '') || nowMs;
    const due = since + Math.max(0, Math.min(...seconds)) * 1000;
    earliest = Math.min(earliest ?? due, due);
  }
  return earliest;
}
