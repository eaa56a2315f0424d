/**
 * ReplicaSets: as many active pods as are wanted, made from the template. Pods belong by owner reference alone: strays
 * that merely match the selector are left alone.
 */

import { type Api, resource } from '../api.ts';
import { isJsonObject, type JsonObject, type KubeObject, textAt, valueAt } from '../kube-object.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import { isNotFound } from '../status-error.ts';
import type { Controller, ControllerComponents } from './controller.ts';
import {
  isActive,
  isOwnedBy,
  keyOf,
  numberOr,
  ownerKeys,
  podFromTemplate,
  readinessOf,
  readySince,
  splitKey,
} from './owned.ts';
import { reconcileKeys } from './reconcile-keys.ts';

/** Pods made or deleted for one ReplicaSet before others get their turn. */
const burst = 50;

export function createReplicaSetController(components: ControllerComponents): Controller {
  const { api, clock } = components;
  const sources = [
    { resource: resource.replicaSets, keysOf: (object: KubeObject) => [keyOf(object)] },
    { resource: resource.pods, keysOf: ownerKeys('ReplicaSet') },
  ];
  return {
    name: 'replicaset-controller',
    run: (signal) => reconcileKeys(components, sources, (key) => reconcile(api, key, clock.now()), signal),
  };
}

async function reconcile(api: Api, key: string, nowMs: number): Promise<number | undefined> {
  const at = { ...resource.replicaSets, ...splitKey(key) };
  const set = api.get(at);
  if (set === undefined || set.metadata.deletionTimestamp !== undefined) return undefined;
  const wanted = numberOr(valueAt(set, 'spec', 'replicas'), 1);
  const active = ownedPods(api, set).filter(isActive);
  for (let missing = Math.min(wanted - active.length, burst); missing > 0; missing -= 1) {
    await api.create(resource.pods, podFromTemplate(set));
  }
  for (const pod of surplus(active, Math.min(active.length - wanted, burst))) await remove(api, pod);

  const pods = ownedPods(api, set).filter(isActive);
  const minReadySeconds = numberOr(valueAt(set, 'spec', 'minReadySeconds'), 0);
  const { ready, available, againAfterMs } = readinessOf(pods, minReadySeconds, nowMs);
  await writeStatus(api, at, set, {
    replicas: pods.length,
    fullyLabeledReplicas: pods.length,
    readyReplicas: ready,
    availableReplicas: available,
    observedGeneration: set.metadata.generation ?? 0,
  });
  return pods.length === wanted ? againAfterMs : 0;
}

export function ownedPods(api: Api, owner: KubeObject): readonly KubeObject[] {
  const { items } = api.list(resource.pods, { namespace: owner.metadata.namespace });
  return items.filter((pod) => isOwnedBy(pod, owner));
}

/** Those whose loss costs least: without a node, not ready, youngest. */
export function surplus(pods: readonly KubeObject[], count: number): readonly KubeObject[] {
  const rank = (pod: KubeObject) =>
    (textAt(pod, 'spec', 'nodeName') === undefined ? 0 : 2) + (readySince(pod) === undefined ? 0 : 1);
  const born = ({ metadata }: KubeObject) => metadata.creationTimestamp ?? '';
  return pods
    .toSorted((a, b) => rank(a) - rank(b) || (born(a) < born(b) ? 1 : -1))
    .slice(0, Math.max(0, count));
}

export async function remove(api: Api, pod: KubeObject): Promise<void> {
  const { name, namespace, uid } = pod.metadata;
  try {
    await api.delete({ ...resource.pods, namespace, name }, { preconditions: { uid } });
  } catch (error) {
    // Somebody else was faster: it is gone, as wanted.
    if (!isNotFound(error)) throw error;
  }
}

export async function writeStatus(
  api: Api,
  at: Parameters<Api['patch']>[0],
  object: KubeObject,
  status: JsonObject,
): Promise<void> {
  const current = isJsonObject(object.status) ? object.status : {};
  if (!jsonEqual({ ...current, ...status }, current)) await api.patch(at, { status }, 'status');
}
