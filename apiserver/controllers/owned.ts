/** What workload controllers ask of the objects they own, and the pods they make from a template. */

import { createHash } from 'node:crypto';
import {
  isJsonObject,
  type JsonValue,
  type KubeObject,
  listAt,
  type OwnerReference,
  textAt,
  valueAt,
} from '../kube-object.ts';

export function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}

export function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

export function controllerOf({ metadata }: KubeObject): OwnerReference | undefined {
  return metadata.ownerReferences?.find(({ controller }) => controller === true);
}

/** The key of an object's controller of this kind. */
export function ownerKeys(kind: string): (object: KubeObject) => readonly string[] {
  return (object) => {
    const owner = controllerOf(object);
    return owner?.kind === kind ? [`${object.metadata.namespace ?? ''}/${owner.name}`] : [];
  };
}

export function isOwnedBy(object: KubeObject, owner: KubeObject): boolean {
  return controllerOf(object)?.uid === owner.metadata.uid;
}

export function ownerReference(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

export function numberOr(value: JsonValue | undefined, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}

/** Neither ended nor on its way out. */
export function isActive(pod: KubeObject): boolean {
  return pod.metadata.deletionTimestamp === undefined && !isEnded(pod);
}

export function isEnded(pod: KubeObject): boolean {
  const phase = textAt(pod, 'status', 'phase');
  return phase === 'Succeeded' || phase === 'Failed';
}

/** When the pod became ready; undefined while it is not. */
export function readySince(pod: KubeObject): number | undefined {
  const ready = listAt(pod, 'status', 'conditions').find((each) => textAt(each, 'type') === 'Ready');
  if (textAt(ready, 'status') !== 'True') return undefined;
  const since = Date.parse(textAt(ready, 'lastTransitionTime') ?? '');
  return Number.isNaN(since) ? 0 : since;
}

export interface Readiness {
  readonly ready: number;
  readonly available: number;
  /** Until the next ready pod counts as available. */
  readonly againAfterMs: number | undefined;
}

export function readinessOf(pods: readonly KubeObject[], minReadySeconds: number, nowMs: number): Readiness {
  const ages = pods.flatMap((pod) => readySince(pod) ?? []).map((since) => nowMs - since);
  const missing = ages.map((ageMs) => minReadySeconds * 1000 - ageMs).filter((ms) => ms > 0);
  return {
    ready: ages.length,
    available: ages.length - missing.length,
    againAfterMs: missing.length === 0 ? undefined : Math.min(...missing),
  };
}

export function podFromTemplate(owner: KubeObject, extraLabels: Record<string, string> = {}): KubeObject {
  const template = valueAt(owner, 'spec', 'template');
  const spec = valueAt(template, 'spec');
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: '',
      generateName: `${owner.metadata.name}-`,
      ...(owner.metadata.namespace === undefined ? {} : { namespace: owner.metadata.namespace }),
      labels: { ...texts(valueAt(template, 'metadata', 'labels')), ...extraLabels },
      annotations: texts(valueAt(template, 'metadata', 'annotations')),
      ownerReferences: [ownerReference(owner)],
    },
    spec: isJsonObject(spec) ? spec : {},
  };
}

export function texts(value: JsonValue | undefined): Record<string, string> {
  if (!isJsonObject(value)) return {};
  const entries = Object.entries(value);
  return Object.fromEntries(
    entries.flatMap(([key, text]) => (typeof text === 'string' ? [[key, text]] : [])),
  );
}

const hashLetters = 'bcdfghjklmnpqrstvwxz2456789';

/** The same short word for the same template, whatever the order of its fields. */
export function templateHash(template: JsonValue | undefined): string {
  const digest = createHash('sha256')
    .update(JSON.stringify(ordered(template)) ?? '')
    .digest();
  return [...digest.subarray(0, 10)].map((byte) => hashLetters[byte % hashLetters.length]).join('');
}

function ordered(value: JsonValue | undefined): JsonValue | undefined {
  if (Array.isArray(value)) return value.map((item) => ordered(item) ?? null);
  if (!isJsonObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, ordered(item)]));
}
