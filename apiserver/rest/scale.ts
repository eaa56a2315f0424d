/** The scale subresource: a Scale made of an object's fields, and the fields a Scale sets. Pure. */

import {
  cloneJson,
  fieldOf,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  type KubeObject,
  objectIn,
  textAt,
  valueAt,
} from '../kube-object.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { badRequest } from '../status-error.ts';

export function toScale(definition: ResourceDefinition, object: KubeObject): KubeObject {
  const paths = pathsOf(definition);
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const selector = selectorText(
    paths.selector === undefined ? undefined : valueAt(object, ...paths.selector),
  );
  return {
    apiVersion: 'autoscaling/v1',
    kind: 'Scale',
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
    spec: { replicas: numberAt(object, paths.spec) },
    status: { replicas: numberAt(object, paths.status), ...(selector === '' ? {} : { selector }) },
  };
}

/** The object with the replicas that the scale wants. */
export function withScale(definition: ResourceDefinition, current: KubeObject, scale: JsonValue): KubeObject {
  const replicas = valueAt(scale, 'spec', 'replicas') ?? 0;
  if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas < 0) {
    throw badRequest('spec.replicas must be a whole number of at least 0');
  }
  const draft = cloneJson(current);
  const path = pathsOf(definition).spec;
  let parent: JsonObject = draft;
  for (const name of path.slice(0, -1)) parent = objectIn(parent, name);
  parent[path.at(-1) ?? 'replicas'] = replicas;
  const version = textAt(scale, 'metadata', 'resourceVersion');
  if (version !== undefined) draft.metadata.resourceVersion = version;
  else delete draft.metadata.resourceVersion;
  return draft;
}

function pathsOf({ scalePaths }: ResourceDefinition) {
  const split = (path: string) => path.split('.').filter((name) => name !== '');
  if (scalePaths === undefined) {
    return { spec: ['spec', 'replicas'], status: ['status', 'replicas'], selector: ['spec', 'selector'] };
  }
  const { spec, status, selector } = scalePaths;
  return {
    spec: split(spec),
    status: split(status),
    selector: selector === undefined ? undefined : split(selector),
  };
}

function numberAt(object: KubeObject, path: readonly string[]): number {
  const found = valueAt(object, ...path);
  return typeof found === 'number' ? found : 0;
}

function selectorText(selector: JsonValue | undefined): string {
  if (typeof selector === 'string') return selector;
  const labels = fieldOf(selector, 'matchLabels') ?? selector;
  if (!isJsonObject(labels)) return '';
  return Object.entries(labels)
    .filter(([, value]) => typeof value === 'string')
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(',');
}
