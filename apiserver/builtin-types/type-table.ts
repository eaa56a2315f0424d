/**
 * The fields of the built-in API types, read from a terse notation. Strategic merge, server-side apply, protobuf
 * bodies, OpenAPI and strict decoding all ask this one table. It knows shapes and merge keys, not what values mean.
 *
 * A type is `Name field field …`, lines that begin with a space continue it; `Name#` is replaced whole by apply.
 * A field is `name=NUMBER:TYPE` and then, in this order, any of
 *   `{}`       a map from strings           `[]`     a list that patches replace
 *   `[k]`      a list merged by key k        `[=]`    a list of distinct values that patches unite
 *   `[k;a,b]`  merged by k in a strategic merge, by keys a and b in apply (`-` for replaced, `=` for united)
 *   `?`        told apart from its zero value     `!`   written even when zero
 *   `#`        replaced whole by apply            `~`   strategic merge may drop keys by `$retainKeys`
 * `...Name` is a message on the protobuf wire whose fields stand in the parent in JSON; TYPE@ wraps a list.
 */

import { authenticationTypes, authorizationTypes, certificatesTypes, rbacTypes } from './access.ts';
import {
  coordinationTypes,
  discoveryTypes,
  eventsTypes,
  metaTypes,
  networkingTypes,
  schedulingTypes,
  storageTypes,
} from './cluster.ts';
import { coreTypes } from './core.ts';
import { corePodTypes } from './core-pod.ts';
import { appsTypes, autoscalingTypes, batchTypes, policyTypes } from './workloads.ts';

export type ListRule = { readonly kind: 'replace' } | { readonly kind: 'unite' } | KeyedList;
export interface KeyedList {
  readonly kind: 'keyed';
  readonly keys: readonly string[];
}

export interface FieldType {
  readonly name: string;
  readonly number: number;
  /** `string`, `Quantity` …, or a type of this table as `core.PodSpec`. */
  readonly type: string;
  readonly shape: 'one' | 'list' | 'map';
  readonly inline: boolean;
  readonly wrappedList: boolean;
  readonly tellsZero: boolean;
  readonly alwaysWritten: boolean;
  readonly atomic: boolean;
  readonly retainKeys: boolean;
  readonly merge: ListRule;
  readonly apply: ListRule;
}

export interface ObjectType {
  readonly name: string;
  readonly atomic: boolean;
  /** As on the protobuf wire; inlined messages are fields whose name starts with `...`. */
  readonly wireFields: readonly FieldType[];
  /** As in JSON: fields of inlined messages stand here too. */
  readonly fields: ReadonlyMap<string, FieldType>;
}

const sources = [
  ['core', corePodTypes + coreTypes],
  ['apps', appsTypes],
  ['batch', batchTypes],
  ['autoscaling', autoscalingTypes],
  ['policy', policyTypes],
  ['authentication', authenticationTypes],
  ['authorization', authorizationTypes],
  ['rbac', rbacTypes],
  ['certificates', certificatesTypes],
  ['coordination', coordinationTypes],
  ['discovery', discoveryTypes],
  ['events', eventsTypes],
  ['networking', networkingTypes],
  ['scheduling', schedulingTypes],
  ['storage', storageTypes],
  ['meta', metaTypes],
] as const;

const shortGroups = new Map<string, string>([
  ['', 'core'],
  ['apps', 'apps'],
  ['batch', 'batch'],
  ['autoscaling', 'autoscaling'],
  ['policy', 'policy'],
  ['authentication.k8s.io', 'authentication'],
  ['authorization.k8s.io', 'authorization'],
  ['rbac.authorization.k8s.io', 'rbac'],
  ['certificates.k8s.io', 'certificates'],
  ['coordination.k8s.io', 'coordination'],
  ['discovery.k8s.io', 'discovery'],
  ['events.k8s.io', 'events'],
  ['networking.k8s.io', 'networking'],
  ['scheduling.k8s.io', 'scheduling'],
  ['storage.k8s.io', 'storage'],
]);

const fieldPattern =
  /^(?<name>[\w.$]+)=(?<number>\d+):(?<type>[\w.]+)(?<wrapped>@?)(?<map>\{\})?(?<list>\[[^\]]*\])?(?<flags>[?!#~]*)$/;

let table: ReadonlyMap<string, ObjectType> | undefined;

/** The type behind an apiVersion and kind; undefined for custom resources and what is not served. */
export function builtinType(apiVersion: string, kind: string): ObjectType | undefined {
  const slash = apiVersion.indexOf('/');
  const short = shortGroups.get(slash === -1 ? '' : apiVersion.slice(0, slash));
  if (apiVersion === 'meta.k8s.io/v1' || kind === 'DeleteOptions') return objectType(`meta.${kind}`);
  return short === undefined ? undefined : objectType(`${short}.${kind}`);
}

/** A type by its name in this table, `core.PodSpec`. */
export function objectType(name: string): ObjectType | undefined {
  table ??= readTable();
  return table.get(name);
}

export function allObjectTypes(): Iterable<ObjectType> {
  table ??= readTable();
  return table.values();
}

interface RawType {
  readonly name: string;
  readonly atomic: boolean;
  readonly wireFields: readonly FieldType[];
}

function readTable(): ReadonlyMap<string, ObjectType> {
  const raw = new Map<string, RawType>();
  for (const [group, text] of sources) {
    for (const line of text.replaceAll('\n  ', ' ').split('\n')) {
      const [head, ...fields] = line.split(' ');
      if (head === undefined || head === '') continue;
      const name = `${group}.${head.replace('#', '')}`;
      const wireFields = fields.map((field) => readField(group, field));
      raw.set(name, { name, atomic: head.endsWith('#'), wireFields });
    }
  }
  const types = new Map<string, ObjectType>();
  for (const type of raw.values()) types.set(type.name, { ...type, fields: jsonFields(type, raw) });
  return types;
}

function jsonFields(type: RawType, raw: ReadonlyMap<string, RawType>): ReadonlyMap<string, FieldType> {
  const fields = new Map<string, FieldType>();
  for (const field of type.wireFields) {
    const inner = field.inline ? raw.get(field.type) : undefined;
    if (inner === undefined) fields.set(field.name, field);
    else for (const [name, value] of jsonFields(inner, raw)) fields.set(name, value);
  }
  return fields;
}

function readField(group: string, text: string): FieldType {
  const parts = fieldPattern.exec(text)?.groups;
  if (parts === undefined)
    throw new Error(`built-in types: field "${text}" of group ${group} is not in the notation`);
  const { name = '', type = '', flags = '', list } = parts;
  const scalar = isScalarName(type);
  const [merge = '-', apply = merge] = (list ?? '[]').slice(1, -1).split(';');
  return {
    name,
    number: Number(parts.number),
    type: scalar || type.includes('.') ? type : `${group}.${type}`,
    shape: list !== undefined ? 'list' : parts.map !== undefined ? 'map' : 'one',
    inline: name.startsWith('...'),
    wrappedList: parts.wrapped === '@',
    tellsZero: flags.includes('?'),
    alwaysWritten: flags.includes('!'),
    atomic: flags.includes('#'),
    retainKeys: flags.includes('~'),
    merge: readRule(merge),
    apply: readRule(apply),
  };
}

function readRule(text: string): ListRule {
  if (text === '-' || text === '') return { kind: 'replace' };
  if (text === '=') return { kind: 'unite' };
  return { kind: 'keyed', keys: text.split(',') };
}

const scalarNames = new Set([
  'string',
  'bool',
  'bytes',
  'int32',
  'int64',
  'double',
  'Time',
  'Quantity',
  'IntOrString',
  'RawExtension',
  'FieldsV1',
  'Duration',
]);

export function isScalarName(type: string): boolean {
  return scalarNames.has(type);
}
