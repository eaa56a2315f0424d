/**
 * Server-side apply: an applied configuration states the fields that its manager wants; what it no longer states
 * and nobody else owns goes; what another manager set to another value is a conflict unless forced.
 */

import { fieldOf, isJsonObject, type JsonObject, type JsonValue, type KubeObject } from '../kube-object.ts';
import { type StatusCause, StatusError } from '../status-error.ts';
import {
  difference,
  emptySet,
  type FieldSet,
  intersection,
  isEmptySet,
  keyElement,
  pathsOf,
  setOfValue,
  union,
  valueElement,
} from './field-set.ts';
import { jsonEqual } from './json-equal.ts';
import { inOrder } from './list-order.ts';
import {
  changedFields,
  isWriter,
  type Manager,
  managerOf,
  ownable,
  readManagers,
  timeOf,
  type Writer,
  withManagers,
} from './managed-fields.ts';
import { checkNesting } from './nesting.ts';
import { fieldShape, type Shape, settled, shapeOf } from './shape.ts';

export interface Applier extends Writer {
  readonly force: boolean;
}

/**
 * The object after the apply, managedFields included; `current` is undefined when it does not exist yet.
 * @throws StatusError Conflict with one FieldManagerConflict cause per field, as kubectl shows them.
 */
export function applyConfiguration(
  current: KubeObject | undefined,
  applied: KubeObject,
  applier: Applier,
): KubeObject {
  checkNesting(applied);
  const shape = shapeOf(applier.definition);
  const stated = withoutNulls(ownable(applied, applier));
  const statedSet = setOfValue(stated, shape);
  const managers = readManagers(current?.metadata.managedFields);
  const own = managers.find((manager) => isWriter(manager, applier, 'Apply'));
  const others = managers.filter((manager) => manager !== own);

  const differing =
    current === undefined ? emptySet : changedFields(ownable(current, applier), stated, shape);
  if (!applier.force) {
    // What kubectl's client-side apply set is kubectl's to change, so that moving to server-side apply is no conflict.
    const former = lastAppliedBy(current, applier);
    const conceded = former === undefined ? emptySet : setOfValue(ownable(former, applier), shape);
    refuseConflicts(others, difference(differing, conceded));
  }
  const kept = others.map((manager) => ({ ...manager, set: difference(manager.set, differing) }));

  const base = current ?? { apiVersion: applied.apiVersion, kind: applied.kind, metadata: identity(applied) };
  const merged = mergeStated(base, stated, shape);
  const dropped = difference(own?.set ?? emptySet, statedSet);
  const ownedByOthers = kept.map(({ set }) => set).reduce(union, statedSet);
  const left = withoutFields(merged, dropped, ownedByOthers, shape);
  const body = isJsonObject(left) ? left : {};
  const metadata = isJsonObject(body.metadata) ? body.metadata : {};
  const result = {
    ...body,
    apiVersion: base.apiVersion,
    kind: base.kind,
    metadata: { ...metadata, name: base.metadata.name },
  };
  // What is left of metadata differs from what `base` has by fields that `ownable` names, whose types apply checks.
  const object = followed(result as KubeObject, applied, applier);

  const unchanged =
    current !== undefined &&
    own !== undefined &&
    isEmptySet(dropped) &&
    isEmptySet(difference(statedSet, own.set)) &&
    jsonEqual(ownable(current, applier), ownable(object, applier));
  const time = unchanged ? own.time : timeOf(applier);
  return withManagers(object, [...kept, managerOf(applier, 'Apply', statedSet, time)]);
}

const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';
const kubectlManager = 'kubectl';

/** What kubectl last applied from the client's side, when this is kubectl applying from the server's side. */
function lastAppliedBy(current: KubeObject | undefined, applier: Applier): KubeObject | undefined {
  const text = current?.metadata.annotations?.[lastApplied];
  if (text === undefined || applier.manager !== kubectlManager || applier.subresource !== undefined)
    return undefined;
  try {
    const value: unknown = JSON.parse(text);
    const metadata = fieldOf(value, 'metadata');
    if (!isJsonObject(value) || !isJsonObject(metadata)) return undefined;
    const { apiVersion, kind, name } = { apiVersion: '', kind: '', ...value, name: metadata.name };
    if (typeof apiVersion !== 'string' || typeof kind !== 'string' || typeof name !== 'string')
      return undefined;
    return { ...value, apiVersion, kind, metadata: { name } };
  } catch (error) {
    // Anybody may write the annotation; what is no JSON concedes nothing.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The annotation follows what kubectl applies, so that its client-side apply can still be gone back to. */
function followed(object: KubeObject, applied: KubeObject, applier: Applier): KubeObject {
  const { annotations } = object.metadata;
  if (annotations?.[lastApplied] === undefined || applier.manager !== kubectlManager) return object;
  const { managedFields: _, ...metadata } = applied.metadata;
  const text = `${JSON.stringify({ ...applied, metadata })}\n`;
  return {
    ...object,
    metadata: { ...object.metadata, annotations: { ...annotations, [lastApplied]: text } },
  };
}

function identity({ metadata }: KubeObject): KubeObject['metadata'] {
  const { name, namespace } = metadata;
  return namespace === undefined ? { name } : { name, namespace };
}

function refuseConflicts(others: readonly Manager[], differing: FieldSet): void {
  const causes: StatusCause[] = [];
  const lines: string[] = [];
  for (const manager of others) {
    const paths = pathsOf(intersection(manager.set, differing));
    if (paths.length === 0) continue;
    const subresource = manager.subresource === undefined ? '' : ` with subresource "${manager.subresource}"`;
    const who = `"${manager.name}"${subresource} using ${manager.apiVersion}`;
    const message = `conflict with ${who}`;
    causes.push(...paths.map((field) => ({ reason: 'FieldManagerConflict', message, field })));
    lines.push(
      paths.length === 1
        ? `${message}: ${paths[0]}`
        : `conflicts with ${who}:\n${paths.map((path) => `- ${path}`).join('\n')}`,
    );
  }
  if (causes.length === 0) return;
  const count = `${causes.length} conflict${causes.length === 1 ? '' : 's'}`;
  throw new StatusError('Conflict', `Apply failed with ${count}: ${lines.join('\n')}`, { causes });
}

function withoutNulls(value: JsonObject): JsonObject {
  const entries = Object.entries(value).filter(([, field]) => field !== null && field !== undefined);
  return Object.fromEntries(
    entries.map(([name, field]) => [
      name,
      isJsonObject(field)
        ? withoutNulls(field)
        : Array.isArray(field)
          ? field.map((item) => (isJsonObject(item) ? withoutNulls(item) : item))
          : field,
    ]),
  );
}

function mergeStated(current: JsonValue | undefined, stated: JsonValue, shape: Shape): JsonValue {
  const seen = settled(shape, stated);
  if (seen.kind === 'object' && isJsonObject(stated)) {
    const merged = new Map(isJsonObject(current) ? Object.entries(current) : []);
    for (const [name, value] of Object.entries(stated)) {
      if (value !== undefined) merged.set(name, mergeStated(merged.get(name), value, fieldShape(seen, name)));
    }
    return Object.fromEntries(merged);
  }
  if ((seen.kind !== 'set' && seen.kind !== 'keyed') || !Array.isArray(stated) || !Array.isArray(current)) {
    return stated;
  }
  const elementOf = (item: JsonValue) =>
    seen.kind === 'keyed' ? keyElement(item, seen) : valueElement(item);
  const items = new Map(current.map((item) => [elementOf(item), item]));
  for (const item of stated) {
    const key = elementOf(item);
    items.set(key, seen.kind === 'keyed' ? mergeStated(items.get(key), item, seen.of) : item);
  }
  return inOrder([...items.values()], elementOf, stated.map(elementOf), current.map(elementOf), 'behind');
}

/** Undefined when nothing is left. What `kept` names stays, and so does what it is in. */
function withoutFields(
  value: JsonValue | undefined,
  dropped: FieldSet,
  kept: FieldSet,
  shape: Shape,
): JsonValue | undefined {
  if (value === undefined || isEmptySet(dropped)) return value;
  if (dropped.self && isEmptySet(kept)) return undefined;
  const seen = settled(shape, value);
  const inner = (element: string, item: JsonValue | undefined, of: Shape) =>
    withoutFields(
      item,
      dropped.children.get(element) ?? emptySet,
      kept.children.get(element) ?? emptySet,
      of,
    );
  if (seen.kind === 'object' && isJsonObject(value)) {
    const left = Object.entries(value)
      .map(([name, field]) => [name, inner(`f:${name}`, field, fieldShape(seen, name))] as const)
      .filter(([, field]) => field !== undefined);
    return left.length === 0 && !kept.self ? undefined : Object.fromEntries(left);
  }
  if ((seen.kind === 'set' || seen.kind === 'keyed') && Array.isArray(value)) {
    const of: Shape = seen.kind === 'keyed' ? seen.of : { kind: 'whole' };
    const left = value.flatMap((item): JsonValue[] => {
      const element = seen.kind === 'keyed' ? keyElement(item, seen) : valueElement(item);
      const rest = inner(element, item, of);
      return rest === undefined ? [] : [rest];
    });
    return left.length === 0 && !kept.self ? undefined : left;
  }
  return value;
}
