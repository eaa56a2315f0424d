/** What the server concludes about a node: conditions of one that fell silent, and the taints that follow. Pure. */

import {
  cloneJson,
  type JsonObject,
  type KubeObject,
  objectIn,
  objectsAt,
  textAt,
  valueAt,
} from '../kube-object.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import { notReadyTaint, unreachableTaint, unschedulableTaint } from './tolerations.ts';

const silent = { reason: 'NodeStatusUnknown', message: 'Kubelet stopped posting node status.' };
const neverHeard = { reason: 'NodeStatusNeverUpdated', message: 'Kubelet never posted node status.' };
const watchedConditions = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'];

export function readiness(node: KubeObject): 'True' | 'False' | 'Unknown' | undefined {
  const ready = objectsAt(node, 'status', 'conditions').find(({ type }) => type === 'Ready');
  const status = textAt(ready, 'status');
  return status === 'True' || status === 'False' || status === 'Unknown' ? status : undefined;
}

/** The node with the conditions of one that is not heard of; undefined when it has them already. */
export function asSilent(node: KubeObject, now: string): KubeObject | undefined {
  const draft = cloneJson(node);
  const status = objectIn(draft, 'status');
  const conditions = objectsAt(status, 'conditions').map((condition) => {
    const watched = watchedConditions.includes(textAt(condition, 'type') ?? '');
    if (!watched || condition.status === 'Unknown') return condition;
    return { ...condition, ...silent, status: 'Unknown', lastTransitionTime: now };
  });
  if (!conditions.some(({ type }) => type === 'Ready')) {
    conditions.push({
      type: 'Ready',
      status: 'Unknown',
      ...neverHeard,
      lastTransitionTime: now,
    });
  }
  status.conditions = conditions;
  return jsonEqual(draft, node) ? undefined : draft;
}

const ownTaints = [notReadyTaint, unreachableTaint, unschedulableTaint];

/** The node with the taints that its state asks for; undefined when it has exactly those. */
export function withTaints(node: KubeObject, now: string): KubeObject | undefined {
  const present = objectsAt(node, 'spec', 'taints');
  const wanted = taintsFor(node).map((taint) => {
    const known = present.find(({ key, effect }) => key === taint.key && effect === taint.effect);
    return known ?? { ...taint, ...(taint.effect === 'NoExecute' ? { timeAdded: now } : {}) };
  });
  const others = present.filter(({ key }) => !ownTaints.includes(String(key)));
  const same = (taint: JsonObject) => present.some((each) => jsonEqual(each, taint));
  if (others.length + wanted.length === present.length && wanted.every(same)) return undefined;
  const draft = cloneJson(node);
  const spec = objectIn(draft, 'spec');
  if (others.length + wanted.length === 0) delete spec.taints;
  else spec.taints = [...others, ...wanted];
  return draft;
}

function taintsFor(node: KubeObject): readonly JsonObject[] {
  const ready = readiness(node);
  const key = ready === 'True' ? undefined : ready === 'Unknown' ? unreachableTaint : notReadyTaint;
  return [
    ...(key === undefined
      ? []
      : [
          { key, effect: 'NoSchedule' },
          { key, effect: 'NoExecute' },
        ]),
    ...(valueAt(node, 'spec', 'unschedulable') === true
      ? [{ key: unschedulableTaint, effect: 'NoSchedule' }]
      : []),
  ];
}

/** A pod as others shall see it while its node is not ready; undefined when it already says so. */
export function asUnready(pod: KubeObject, now: string): KubeObject | undefined {
  const conditions = objectsAt(pod, 'status', 'conditions');
  if (!conditions.some(({ type, status }) => type === 'Ready' && status === 'True')) return undefined;
  const draft = cloneJson(pod);
  objectIn(draft, 'status').conditions = conditions.map((condition) =>
    condition.type === 'Ready' ? { ...condition, status: 'False', lastTransitionTime: now } : condition,
  );
  return draft;
}
