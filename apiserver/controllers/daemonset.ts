/** DaemonSets: one pod on each node that fits, placed by us; a changed template replaces them a few at a time. */

import { type Api, type ResourceRef, resource } from '../api.ts';
import {
  isJsonObject,
  type JsonObject,
  type KubeObject,
  objectsAt,
  textAt,
  valueAt,
} from '../kube-object.ts';
import type { Controller, ControllerComponents } from './controller.ts';
import { selectsNode } from './node-fit.ts';
import {
  isActive,
  isEnded,
  keyOf,
  numberOr,
  ownerKeys,
  podFromTemplate,
  readinessOf,
  splitKey,
  templateHash,
} from './owned.ts';
import { reconcileKeys } from './reconcile-keys.ts';
import { ownedPods, remove, writeStatus } from './replicaset.ts';
import { share } from './rollout.ts';
import { tolerates, untoleratedTaint } from './tolerations.ts';

export const daemonSets: ResourceRef = { group: 'apps', version: 'v1', plural: 'daemonsets' };
const hashLabel = 'controller-revision-hash';

/** What pods of DaemonSets stay through: they belong to the node whatever its state. */
const tolerated: readonly (readonly [key: string, effect: string])[] = [
  ['node.kubernetes.io/not-ready', 'NoExecute'],
  ['node.kubernetes.io/unreachable', 'NoExecute'],
  ['node.kubernetes.io/disk-pressure', 'NoSchedule'],
  ['node.kubernetes.io/memory-pressure', 'NoSchedule'],
  ['node.kubernetes.io/pid-pressure', 'NoSchedule'],
  ['node.kubernetes.io/unschedulable', 'NoSchedule'],
];

export function createDaemonSetController(components: ControllerComponents): Controller {
  const { api, clock } = components;
  const everySet = () => api.list(daemonSets).items.map(keyOf);
  const sources = [
    { resource: daemonSets, keysOf: (object: KubeObject) => [keyOf(object)] },
    { resource: resource.pods, keysOf: ownerKeys('DaemonSet') },
    { resource: resource.nodes, keysOf: everySet },
  ];
  return {
    name: 'daemonset-controller',
    run: (signal) => reconcileKeys(components, sources, (key) => reconcile(api, key, clock.now()), signal),
  };
}

async function reconcile(api: Api, key: string, nowMs: number): Promise<number | undefined> {
  const at = { ...daemonSets, ...splitKey(key) };
  const set = api.get(at);
  if (set === undefined || set.metadata.deletionTimestamp !== undefined) return undefined;
  const hash = templateHash(valueAt(set, 'spec', 'template'));
  const template = daemonPod(set, hash);
  const nodes = api.list(resource.nodes).items;
  const selected = nodes.filter((node) => selectsNode(template.spec, node));
  const named = (of: readonly KubeObject[]) => new Set(of.map(({ metadata }) => metadata.name));
  const fitting = named(selected.filter((node) => untoleratedTaint(template, node) === undefined));
  const keeping = named(selected.filter((node) => !drivesOut(template, node)));

  const seen = new Set<string>();
  for (const pod of ownedPods(api, set)) {
    const nodeName = textAt(pod, 'spec', 'nodeName') ?? '';
    const surplus = !keeping.has(nodeName) || isEnded(pod) || (isActive(pod) && seen.has(nodeName));
    // One that is still ending keeps its node: the next pod comes when it is gone.
    if (surplus && pod.metadata.deletionTimestamp === undefined) await remove(api, pod);
    else seen.add(nodeName);
  }
  for (const nodeName of fitting) {
    if (!seen.has(nodeName)) await api.create(resource.pods, onNode(template, nodeName));
  }
  const minReadySeconds = numberOr(valueAt(set, 'spec', 'minReadySeconds'), 0);
  const pods = ownedPods(api, set).filter(isActive);
  const { ready, available, againAfterMs } = readinessOf(pods, minReadySeconds, nowMs);
  await replaceOutdated(api, set, pods, hash, { wanted: fitting.size, available });
  await writeStatus(api, at, set, {
    observedGeneration: set.metadata.generation ?? 0,
    desiredNumberScheduled: fitting.size,
    currentNumberScheduled: pods.length,
    numberMisscheduled: 0,
    numberReady: ready,
    numberAvailable: available,
    numberUnavailable: Math.max(0, fitting.size - available),
    updatedNumberScheduled: pods.filter((pod) => pod.metadata.labels?.[hashLabel] === hash).length,
  });
  return againAfterMs;
}

function daemonPod(set: KubeObject, hash: string): KubeObject {
  const pod = podFromTemplate(set, { [hashLabel]: hash });
  const spec = isJsonObject(pod.spec) ? pod.spec : {};
  const added: JsonObject[] = tolerated.map(([key, effect]) => ({ key, operator: 'Exists', effect }));
  return { ...pod, spec: { ...spec, tolerations: [...objectsAt(spec, 'tolerations'), ...added] } };
}

/** A NoSchedule taint keeps new pods away, only NoExecute sends away those that run. */
function drivesOut(pod: KubeObject, node: KubeObject): boolean {
  const tolerations = objectsAt(pod, 'spec', 'tolerations');
  return objectsAt(node, 'spec', 'taints').some(
    (taint) => taint.effect === 'NoExecute' && !tolerations.some((each) => tolerates(each, taint)),
  );
}

function onNode(pod: KubeObject, nodeName: string): KubeObject {
  return { ...pod, spec: { ...(isJsonObject(pod.spec) ? pod.spec : {}), nodeName } };
}

async function replaceOutdated(
  api: Api,
  set: KubeObject,
  pods: readonly KubeObject[],
  hash: string,
  { wanted, available }: { readonly wanted: number; readonly available: number },
): Promise<void> {
  const strategy = valueAt(set, 'spec', 'updateStrategy');
  if (textAt(strategy, 'type') === 'OnDelete') return;
  const limit = valueAt(strategy, 'rollingUpdate', 'maxUnavailable');
  const allowed = share(
    typeof limit === 'number' || typeof limit === 'string' ? limit : 1,
    wanted,
    Math.ceil,
  );
  const outdated = pods.filter((pod) => pod.metadata.labels?.[hashLabel] !== hash);
  const mayGo = Math.max(0, Math.max(1, allowed) - (wanted - available));
  for (const pod of outdated.slice(0, mayGo)) await remove(api, pod);
}
