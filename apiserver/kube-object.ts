/**
 * The object as the API server keeps it: always with apiVersion, kind and metadata, everything else as it came.
 * Stored objects are never changed in place; who wants another one builds another one.
 */

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [field: string]: JsonValue | undefined;
}

export interface OwnerReference extends JsonObject {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ManagedFieldsEntry extends JsonObject {
  manager?: string;
  operation?: string;
  subresource?: string;
  apiVersion?: string;
  time?: string;
  fieldsType?: string;
  fieldsV1?: JsonObject;
}

export interface ObjectMeta extends JsonObject {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  managedFields?: ManagedFieldsEntry[];
}

export interface KubeObject extends JsonObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A field of a value that may not be an object; inherited names (`constructor`) are not fields. */
export function fieldOf(value: unknown, name: string): JsonValue | undefined {
  return isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

/** The value at a path of field names, or undefined where the path ends early. */
export function valueAt(value: unknown, ...path: readonly string[]): JsonValue | undefined {
  let at: JsonValue | undefined;
  let from: unknown = value;
  for (const name of path) {
    at = fieldOf(from, name);
    from = at;
  }
  return at;
}

export function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  const found = valueAt(value, ...path);
  return typeof found === 'string' ? found : undefined;
}

export function listAt(value: unknown, ...path: readonly string[]): readonly JsonValue[] {
  const found = valueAt(value, ...path);
  return Array.isArray(found) ? found : [];
}

export function cloneJson<T extends JsonValue | undefined>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  // The copy has the shape of what was copied, which the compiler cannot follow through entries.
  if (Array.isArray(value)) return value.map((item) => cloneJson(item)) as T;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, cloneJson(item)])) as T;
}

/** Stored objects are shared by all who read them; one that is changed in place is a bug and shall throw. */
export function freezeJson<T extends JsonValue | undefined>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const item of Object.values(value)) freezeJson(item);
  return Object.freeze(value);
}

/** The object at a field, put there first if there is none. For drafts only. */
export function objectIn(parent: JsonObject, name: string): JsonObject {
  const found = fieldOf(parent, name);
  if (isJsonObject(found)) return found;
  const made: JsonObject = {};
  parent[name] = made;
  return made;
}

/** The items of a list that are objects; a list of a draft, so that they may be filled in. */
export function objectsAt(value: unknown, ...path: readonly string[]): readonly JsonObject[] {
  return listAt(value, ...path).filter(isJsonObject);
}

/** Puts the value where there is nothing (or null). For drafts only. */
export function setDefault(target: JsonObject, name: string, value: JsonValue): void {
  if (fieldOf(target, name) === undefined || target[name] === null) target[name] = value;
}
