/**
 * Who owns which fields: reads and writes `metadata.managedFields`, and records plain writes in it. Fields that the
 * server sets, and the status in writes that cannot change it, belong to nobody.
 */

import {
  isJsonObject,
  type JsonObject,
  type JsonValue,
  type KubeObject,
  type ManagedFieldsEntry,
} from '../kube-object.ts';
import { apiVersionOf, hasSubresource, type ResourceDefinition } from '../resource-definition.ts';
import {
  difference,
  emptySet,
  type FieldSet,
  isEmptySet,
  keyElement,
  setOfJson,
  setOfValue,
  setToJson,
  union,
} from './field-set.ts';
import { jsonEqual } from './json-equal.ts';
import { fieldShape, type Shape, settled, shapeOf } from './shape.ts';

/** As a Kubernetes API server has it: the oldest further ones become one. */
export const maxUpdateManagers = 10;
const ancientManager = 'ancient-changes';

/** A write and who does it. */
export interface Writer {
  readonly definition: ResourceDefinition;
  /** `fieldManager`, else the first part of the User-Agent. */
  readonly manager: string;
  readonly subresource?: string | undefined;
  readonly nowMs: number;
}

export interface Manager {
  readonly name: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  readonly subresource: string | undefined;
  readonly time: string | undefined;
  readonly set: FieldSet;
}

/**
 * `after` with its managedFields brought up to date: what the write changed is the writer's now, and no one else's.
 * managedFields that `after` carries are believed, as kubectl rewrites them when it moves to server-side apply.
 */
export function recordUpdate(before: KubeObject | undefined, after: KubeObject, writer: Writer): KubeObject {
  const shape = shapeOf(writer.definition);
  const old = before === undefined ? {} : ownable(before, writer);
  const value = ownable(after, writer);
  const [oldSet, newSet] = [setOfValue(old, shape), setOfValue(value, shape)];
  const removed = difference(oldSet, newSet);
  const changed = union(difference(newSet, oldSet), changedFields(old, value, shape));
  const managers = readManagers(after.metadata.managedFields ?? before?.metadata.managedFields);
  const own = managers.find((manager) => isWriter(manager, writer, 'Update'));
  const others = managers
    .filter((manager) => manager !== own)
    .map((manager) => ({ ...manager, set: difference(difference(manager.set, removed), changed) }));
  const set = union(difference(own?.set ?? emptySet, removed), isEmptySet(newSet) ? emptySet : changed);
  const time = isEmptySet(changed) && own !== undefined ? own.time : timeOf(writer);
  return withManagers(after, [...others, managerOf(writer, 'Update', set, time)]);
}

export function managerOf(
  writer: Writer,
  operation: Manager['operation'],
  set: FieldSet,
  time: string | undefined,
): Manager {
  const { manager: name, subresource, definition } = writer;
  return { name, operation, apiVersion: apiVersionOf(definition), subresource: subresource, time, set };
}

export function isWriter(manager: Manager, writer: Writer, operation: Manager['operation']): boolean {
  return (
    manager.name === writer.manager &&
    manager.operation === operation &&
    manager.subresource === writer.subresource &&
    (operation === 'Apply' || manager.apiVersion === apiVersionOf(writer.definition))
  );
}

export function timeOf(writer: Writer): string {
  return new Date(writer.nowMs).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** Entries that are not of the form are left out: nothing can be said about what they own. */
export function readManagers(entries: readonly JsonValue[] | undefined): Manager[] {
  return (entries ?? []).flatMap((entry): Manager[] => {
    if (!isJsonObject(entry) || typeof entry.manager !== 'string') return [];
    if (entry.operation !== 'Apply' && entry.operation !== 'Update') return [];
    return [
      {
        name: entry.manager,
        operation: entry.operation,
        apiVersion: typeof entry.apiVersion === 'string' ? entry.apiVersion : '',
        subresource: typeof entry.subresource === 'string' ? entry.subresource : undefined,
        time: typeof entry.time === 'string' ? entry.time : undefined,
        set: setOfJson(entry.fieldsV1),
      },
    ];
  });
}

export function withManagers(object: KubeObject, managers: readonly Manager[]): KubeObject {
  const entries = bounded(managers.filter(({ set }) => !isEmptySet(set))).map(toEntry);
  const { managedFields: _, ...metadata } = object.metadata;
  return {
    ...object,
    metadata: entries.length === 0 ? metadata : { ...metadata, managedFields: entries },
  };
}

function bounded(managers: readonly Manager[]): readonly Manager[] {
  const updates = managers.filter(({ operation }) => operation === 'Update');
  if (updates.length <= maxUpdateManagers) return managers;
  const oldest = updates
    .toSorted((a, b) => ((a.time ?? '') < (b.time ?? '') ? -1 : 1))
    .slice(0, updates.length - maxUpdateManagers + 1);
  const [first] = oldest;
  if (first === undefined) return managers;
  const set = oldest.map((manager) => manager.set).reduce(union);
  return [
    ...managers.filter((manager) => !oldest.includes(manager)),
    { ...first, name: ancientManager, set },
  ];
}

function toEntry({ name, operation, apiVersion, subresource, time, set }: Manager): ManagedFieldsEntry {
  return {
    manager: name,
    operation,
    apiVersion,
    ...(time === undefined ? {} : { time }),
    fieldsType: 'FieldsV1',
    fieldsV1: setToJson(set),
    ...(subresource === undefined ? {} : { subresource }),
  };
}

const ownedMetadata = ['labels', 'annotations', 'finalizers', 'ownerReferences'];

/** The part of an object that a write can come to own. */
export function ownable(object: KubeObject, { definition, subresource }: Writer): JsonObject {
  if (subresource === 'status') return object.status === undefined ? {} : { status: object.status };
  const hidden = ['apiVersion', 'kind', 'metadata'];
  if (hasSubresource(definition, 'status')) hidden.push('status');
  const metadata = Object.entries(object.metadata).filter(
    ([name, value]) => ownedMetadata.includes(name) && value !== undefined,
  );
  return Object.fromEntries([
    ...(metadata.length === 0 ? [] : [['metadata', Object.fromEntries(metadata)] as const]),
    ...Object.entries(object).filter(([name]) => !hidden.includes(name)),
  ]);
}

/** Fields that both values have, with different contents. */
export function changedFields(
  before: JsonValue | undefined,
  after: JsonValue | undefined,
  shape: Shape,
): FieldSet {
  if (before === undefined || after === undefined || jsonEqual(before, after)) return emptySet;
  const seen = settled(shape, after);
  if (seen.kind === 'object' && isJsonObject(before) && isJsonObject(after)) {
    const pairs = Object.entries(after).map(([name, value]) => {
      const old = Object.hasOwn(before, name) ? before[name] : undefined;
      return [`f:${name}`, changedFields(old, value, fieldShape(seen, name))] as const;
    });
    return { self: false, children: new Map(pairs.filter(([, set]) => !isEmptySet(set))) };
  }
  if (seen.kind === 'keyed' && Array.isArray(before) && Array.isArray(after)) {
    const old = new Map(before.map((item) => [keyElement(item, seen), item]));
    const pairs = after.map((item) => {
      const key = keyElement(item, seen);
      return [key, changedFields(old.get(key), item, seen.of)] as const;
    });
    return { self: false, children: new Map(pairs.filter(([, set]) => !isEmptySet(set))) };
  }
  return seen.kind === 'set' && Array.isArray(before) ? emptySet : { self: true, children: new Map() };
}
