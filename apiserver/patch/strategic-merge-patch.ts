/**
 * Strategic merge patch: a merge patch that knows which lists of the built-in types are merged by a key, with the
 * directives `$patch`, `$setElementOrder`, `$deleteFromPrimitiveList` and `$retainKeys`. Custom resources have none.
 */

import { type FieldType, type ObjectType, objectType } from '../builtin-types/type-table.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../kube-object.ts';
import { badRequest } from '../status-error.ts';
import { inOrder } from './list-order.ts';
import { checkNesting } from './nesting.ts';

const orderPrefix = '$setElementOrder/';
const deletePrefix = '$deleteFromPrimitiveList/';

/** @throws StatusError BadRequest for an unknown directive, or a list item that lacks its merge key. */
export function strategicMergePatch(target: JsonObject, patch: JsonObject, type: ObjectType): JsonObject {
  checkNesting(patch);
  return mergeObject(target, patch, type);
}

function mergeObject(target: JsonObject, patch: JsonObject, type: ObjectType | undefined): JsonObject {
  const directive = patch.$patch;
  if (directive === 'replace') return created({ ...patch, $patch: undefined }, type);
  if (directive === 'delete') return {};
  if (directive !== undefined && directive !== 'merge') throw unknownDirective(directive);

  const merged = new Map(Object.entries(retained(target, patch.$retainKeys)));
  for (const [key, value] of Object.entries(patch)) {
    if (value === undefined || key === '$patch' || key === '$retainKeys') continue;
    if (key.startsWith(deletePrefix)) removeValues(merged, key.slice(deletePrefix.length), value);
    else if (key.startsWith(orderPrefix)) continue;
    else if (value === null) merged.delete(key);
    else merged.set(key, mergeField(merged.get(key), value, type?.fields.get(key), key));
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(orderPrefix) && value !== undefined) {
      const name = key.slice(orderPrefix.length);
      reorder(merged, name, value, target[name], type?.fields.get(name));
    }
  }
  return Object.fromEntries(merged);
}

function mergeField(
  target: JsonValue | undefined,
  patch: JsonValue,
  field: FieldType | undefined,
  key: string,
): JsonValue {
  if (Array.isArray(patch)) {
    const old = Array.isArray(target) ? target : [];
    if (field?.merge.kind === 'unite') {
      const present = new Set(old);
      return [...old, ...patch.filter((value) => !present.has(value))];
    }
    if (field?.merge.kind === 'keyed') {
      return mergeKeyed(old, patch, field.merge.keys[0] ?? '', elementType(field), key);
    }
    return patch.map((item) => (isJsonObject(item) ? created(item, elementType(field)) : item));
  }
  if (!isJsonObject(patch)) return patch;
  return mergeObject(isJsonObject(target) ? target : {}, patch, valueType(field));
}

function mergeKeyed(
  target: readonly JsonValue[],
  patch: readonly JsonValue[],
  mergeKey: string,
  type: ObjectType | undefined,
  listName: string,
): JsonValue[] {
  const replaces = patch.some(
    (item) => isJsonObject(item) && item.$patch === 'replace' && !Object.hasOwn(item, mergeKey),
  );
  const result: (JsonValue | undefined)[] = replaces ? [] : [...target];
  const places = new Map<JsonValue | undefined, number>();
  for (const [index, item] of result.entries()) {
    const key = isJsonObject(item) ? item[mergeKey] : undefined;
    if (!places.has(key)) places.set(key, index);
  }
  for (const item of patch) {
    if (!isJsonObject(item)) throw badRequest(`an item of the list "${listName}" is not an object`);
    const key = item[mergeKey];
    if (key === undefined || key === null) {
      if (item.$patch === 'replace') continue;
      throw badRequest(`an item of the list "${listName}" lacks its merge key "${mergeKey}"`);
    }
    const index = places.get(key) ?? result.length;
    const old = result[index];
    if (item.$patch === 'delete') {
      result[index] = undefined;
      places.delete(key);
    } else {
      places.set(key, index);
      result[index] = isJsonObject(old) ? mergeObject(old, item, type) : created(item, type);
    }
  }
  return result.filter((item) => item !== undefined);
}

/** A value that had nothing to be merged into: nulls and directives do not become part of the object. */
function created(patch: JsonObject, type: ObjectType | undefined): JsonObject {
  return mergeObject({}, { ...patch, $patch: undefined }, type);
}

function retained(target: JsonObject, keys: JsonValue | undefined): JsonObject {
  if (keys === undefined) return target;
  if (!Array.isArray(keys)) throw unknownDirective('$retainKeys');
  const kept = new Set(keys);
  return Object.fromEntries(Object.entries(target).filter(([key]) => kept.has(key)));
}

function removeValues(merged: Map<string, JsonValue | undefined>, name: string, values: JsonValue): void {
  const list = merged.get(name);
  if (!Array.isArray(values)) throw unknownDirective(deletePrefix + name);
  const removed = new Set(values);
  if (Array.isArray(list))
    merged.set(
      name,
      list.filter((value) => !removed.has(value)),
    );
}

function reorder(
  merged: Map<string, JsonValue | undefined>,
  name: string,
  order: JsonValue,
  previous: JsonValue | undefined,
  field: FieldType | undefined,
): void {
  const list = merged.get(name);
  if (!Array.isArray(order)) throw unknownDirective(orderPrefix + name);
  if (!Array.isArray(list) || field === undefined || field.merge.kind === 'replace') return;
  const mergeKey = field.merge.kind === 'keyed' ? field.merge.keys[0] : undefined;
  const keyOf = (item: JsonValue): string => {
    const key = mergeKey === undefined ? item : isJsonObject(item) ? item[mergeKey] : undefined;
    return JSON.stringify(key) ?? '';
  };
  const before = Array.isArray(previous) ? previous.map(keyOf) : [];
  merged.set(name, inOrder(list, keyOf, order.map(keyOf), before));
}

function elementType(field: FieldType | undefined): ObjectType | undefined {
  return field === undefined ? undefined : objectType(field.type);
}

function valueType(field: FieldType | undefined): ObjectType | undefined {
  return field?.shape === 'one' ? objectType(field.type) : undefined;
}

function unknownDirective(directive: JsonValue): Error {
  return badRequest(
    `the strategic merge patch has an unknown or malformed directive ${JSON.stringify(directive)}`,
  );
}
