/**
 * Deployments: one ReplicaSet per template that ever was, sized by the plan of the rollout, with kubectl's revision
 * annotations. It has no progress deadline: a rollout that gets stuck stays visible in the status and goes on later.
 */

import { type Api, resource } from '../api.ts';
import {
  isJsonObject,
  type JsonObject,
  type JsonValue,
  type KubeObject,
  objectsAt,
  textAt,
  valueAt,
} from '../kube-object.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import type { Controller, ControllerComponents } from './controller.ts';
import {
  isOwnedBy,
  keyOf,
  numberOr,
  ownerKeys,
  ownerReference,
  splitKey,
  templateHash,
  texts,
} from './owned.ts';
import { reconcileKeys } from './reconcile-keys.ts';
import { ownedPods, writeStatus } from './replicaset.ts';
import { planRollout, type RolloutRules, type RolloutSet } from './rollout.ts';

const revisionAnnotation = 'deployment.kubernetes.io/revision';
const hashLabel = 'pod-template-hash';

export function createDeploymentController(components: ControllerComponents): Controller {
  const { api, clock } = components;
  const sources = [
    { resource: resource.deployments, keysOf: (object: KubeObject) => [keyOf(object)] },
    { resource: resource.replicaSets, keysOf: ownerKeys('Deployment') },
  ];
  return {
    name: 'deployment-controller',
    run: (signal) => reconcileKeys(components, sources, (key) => reconcile(api, key, clock.now()), signal),
  };
}

/** Pods tell their ReplicaSet, not the Deployment, when they are finally gone. */
const recreatePollMs = 1_000;

async function reconcile(api: Api, key: string, nowMs: number): Promise<number | undefined> {
  const at = { ...resource.deployments, ...splitKey(key) };
  const deployment = api.get(at);
  if (deployment === undefined || deployment.metadata.deletionTimestamp !== undefined) return undefined;
  const sets = ownedSets(api, deployment);
  const paused = valueAt(deployment, 'spec', 'paused') === true;
  const current = sets.find((set) => isCurrent(set, deployment));
  if (!paused) {
    const newest = await ensureCurrent(api, deployment, current, sets);
    const others = sets.filter(({ metadata }) => metadata.uid !== newest.metadata.uid);
    await resize(api, deployment, newest, others);
    await dropHistory(api, deployment, others);
    const revision = newest.metadata.annotations?.[revisionAnnotation];
    if (revision !== undefined && deployment.metadata.annotations?.[revisionAnnotation] !== revision) {
      await api.patch(at, { metadata: { annotations: { [revisionAnnotation]: revision } } });
    }
  } else if (current !== undefined && sets.every((set) => set === current || replicasOf(set) === 0)) {
    await setReplicas(api, current, replicasOf(deployment));
  }
  const status = statusOf(
    deployment,
    ownedSets(api, deployment),
    new Date(nowMs).toISOString().replace(/\.\d+/, ''),
  );
  await writeStatus(api, at, deployment, status);
  const recreate = textAt(deployment, 'spec', 'strategy', 'type') === 'Recreate';
  return recreate && !paused && numberOr(status.updatedReplicas, 0) < replicasOf(deployment)
    ? recreatePollMs
    : undefined;
}

/** Oldest first. */
function ownedSets(api: Api, deployment: KubeObject): readonly KubeObject[] {
  const { items } = api.list(resource.replicaSets, { namespace: deployment.metadata.namespace });
  return items.filter((set) => isOwnedBy(set, deployment)).toSorted((a, b) => revisionOf(a) - revisionOf(b));
}

function revisionOf(object: KubeObject): number {
  return Number(object.metadata.annotations?.[revisionAnnotation] ?? 0) || 0;
}

function replicasOf(object: KubeObject): number {
  return numberOr(valueAt(object, 'spec', 'replicas'), 1);
}

/** The set made from the deployment's template; its own copy has one label more. */
function isCurrent(set: KubeObject, deployment: KubeObject): boolean {
  const template = valueAt(set, 'spec', 'template');
  const labels = valueAt(template, 'metadata', 'labels');
  if (!isJsonObject(template) || !isJsonObject(labels)) return false;
  const { [hashLabel]: _, ...rest } = labels;
  const metadata = isJsonObject(template.metadata) ? template.metadata : {};
  return jsonEqual(
    { ...template, metadata: { ...metadata, labels: rest } },
    valueAt(deployment, 'spec', 'template'),
  );
}

async function ensureCurrent(
  api: Api,
  deployment: KubeObject,
  current: KubeObject | undefined,
  sets: readonly KubeObject[],
): Promise<KubeObject> {
  const latest = Math.max(0, ...sets.map(revisionOf));
  if (current === undefined) return api.create(resource.replicaSets, newSet(deployment, latest + 1));
  if (revisionOf(current) === latest && latest > 0) return current;
  const { name, namespace } = current.metadata;
  const annotations = { [revisionAnnotation]: String(latest + 1) };
  return api.patch({ ...resource.replicaSets, namespace, name }, { metadata: { annotations } });
}

function newSet(deployment: KubeObject, revision: number): KubeObject {
  const template = valueAt(deployment, 'spec', 'template');
  const selector = valueAt(deployment, 'spec', 'selector');
  const hash = templateHash(template);
  const labels = { ...texts(valueAt(template, 'metadata', 'labels')), [hashLabel]: hash };
  const templateMetadata = valueAt(template, 'metadata');
  const spec: JsonObject = {
    replicas: 0,
    selector: {
      ...(isJsonObject(selector) ? selector : {}),
      matchLabels: { ...texts(valueAt(selector, 'matchLabels')), [hashLabel]: hash },
    },
    template: {
      ...(isJsonObject(template) ? template : {}),
      metadata: { ...(isJsonObject(templateMetadata) ? templateMetadata : {}), labels },
    },
  };
  const minReadySeconds = valueAt(deployment, 'spec', 'minReadySeconds');
  const { namespace, name } = deployment.metadata;
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${name}-${hash}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels,
      annotations: { [revisionAnnotation]: String(revision) },
      ownerReferences: [ownerReference(deployment)],
    },
    spec: minReadySeconds === undefined ? spec : { ...spec, minReadySeconds },
  };
}

async function resize(
  api: Api,
  deployment: KubeObject,
  current: KubeObject,
  old: readonly KubeObject[],
): Promise<void> {
  const strategy = valueAt(deployment, 'spec', 'strategy');
  const rules: RolloutRules = {
    replicas: replicasOf(deployment),
    recreate: textAt(strategy, 'type') === 'Recreate',
    maxSurge: countOrShare(valueAt(strategy, 'rollingUpdate', 'maxSurge')),
    maxUnavailable: countOrShare(valueAt(strategy, 'rollingUpdate', 'maxUnavailable')),
  };
  const facts = (set: KubeObject): RolloutSet => ({
    name: set.metadata.name,
    replicas: replicasOf(set),
    available: numberOr(valueAt(set, 'status', 'availableReplicas'), 0),
    pods: rules.recreate ? ownedPods(api, set).length : 0,
  });
  const plan = planRollout(rules, facts(current), old.map(facts));
  for (const set of [current, ...old]) {
    const replicas = plan.get(set.metadata.name);
    if (replicas !== undefined) await setReplicas(api, set, replicas);
  }
}

function countOrShare(value: JsonValue | undefined): number | string {
  return typeof value === 'number' || typeof value === 'string' ? value : '25%';
}

async function setReplicas(api: Api, set: KubeObject, replicas: number): Promise<void> {
  if (replicasOf(set) === replicas) return;
  const { name, namespace } = set.metadata;
  await api.patch({ ...resource.replicaSets, namespace, name }, { spec: { replicas } });
}

async function dropHistory(api: Api, deployment: KubeObject, old: readonly KubeObject[]): Promise<void> {
  const kept = numberOr(valueAt(deployment, 'spec', 'revisionHistoryLimit'), 10);
  const idle = old.filter(
    (set) => replicasOf(set) === 0 && numberOr(valueAt(set, 'status', 'replicas'), 0) === 0,
  );
  for (const { metadata } of idle.slice(0, Math.max(0, idle.length - kept))) {
    const { name, namespace, uid } = metadata;
    await api.delete({ ...resource.replicaSets, namespace, name }, { preconditions: { uid } });
  }
}

function statusOf(deployment: KubeObject, sets: readonly KubeObject[], now: string): JsonObject {
  const sum = (field: string, of: readonly KubeObject[]) =>
    of.reduce((total, set) => total + numberOr(valueAt(set, 'status', field), 0), 0);
  const wanted = replicasOf(deployment);
  const updated = sum(
    'replicas',
    sets.filter((set) => isCurrent(set, deployment)),
  );
  const [replicas, available] = [sum('replicas', sets), sum('availableReplicas', sets)];
  const done = updated === wanted && replicas === wanted && available === wanted;
  const enough = available >= wanted - Math.ceil(wanted / 4);
  return {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas,
    updatedReplicas: updated,
    readyReplicas: sum('readyReplicas', sets),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, Math.max(wanted, replicas) - available),
    conditions: conditionsOf(deployment, now, [
      ['Available', enough, enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable'],
      ['Progressing', true, done ? 'NewReplicaSetAvailable' : 'ReplicaSetUpdated'],
    ]),
  };
}

function conditionsOf(
  deployment: KubeObject,
  now: string,
  wanted: readonly (readonly [type: string, holds: boolean, reason: string])[],
): JsonObject[] {
  const before = objectsAt(deployment, 'status', 'conditions');
  return wanted.map(([type, holds, reason]) => {
    const old = before.find((condition) => condition.type === type);
    const status = holds ? 'True' : 'False';
    const message = reason.replaceAll(/\B[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    if (old?.status === status && old.reason === reason) return old;
    const lastTransitionTime = old?.status === status ? (old.lastTransitionTime ?? now) : now;
    return { type, status, reason, message, lastTransitionTime, lastUpdateTime: now };
  });
}
