/** Drops from a draft what its structural schema does not know, and fills in the schema's defaults. */

import { cloneJson, fieldOf, isJsonObject, type JsonObject, type JsonValue } from '../kube-object.ts';
import { fieldPath, isTrue, itemSchema, propertySchema, resourceFields } from './schema-walk.ts';

/** Returns the paths of what was dropped. `isResource`: apiVersion, kind and metadata stay. */
export function prune(
  schema: JsonObject,
  value: JsonValue | undefined,
  isResource = true,
  at = '',
): string[] {
  if (Array.isArray(value)) {
    const items = itemSchema(schema);
    return items === undefined
      ? []
      : value.flatMap((item, i) =>
          prune(items, item, isTrue(items, 'x-kubernetes-embedded-resource'), `${at}[${i}]`),
        );
  }
  if (!isJsonObject(value)) return [];
  const keepsUnknown = isTrue(schema, 'x-kubernetes-preserve-unknown-fields');
  const dropped: string[] = [];
  for (const [name, item] of Object.entries(value)) {
    if (isResource && resourceFields.has(name)) continue;
    const known = propertySchema(schema, name);
    if (known !== undefined) {
      dropped.push(
        ...prune(known, item, isTrue(known, 'x-kubernetes-embedded-resource'), fieldPath(at, name)),
      );
    } else if (!keepsUnknown) {
      delete value[name];
      dropped.push(fieldPath(at, name));
    }
  }
  return dropped;
}

export function applyDefaults(schema: JsonObject, value: JsonValue | undefined): void {
  if (Array.isArray(value)) {
    const items = itemSchema(schema);
    if (items !== undefined) for (const item of value) applyDefaults(items, item);
    return;
  }
  if (!isJsonObject(value)) return;
  const properties = fieldOf(schema, 'properties');
  if (isJsonObject(properties)) {
    for (const [name, property] of Object.entries(properties)) {
      const standard = fieldOf(property, 'default');
      if (standard === undefined) continue;
      const found = fieldOf(value, name);
      const nullable = fieldOf(property, 'nullable') === true;
      if (found === undefined || (found === null && !nullable)) value[name] = cloneJson(standard);
    }
  }
  for (const [name, item] of Object.entries(value)) {
    const known = propertySchema(schema, name);
    if (known !== undefined) applyDefaults(known, item);
  }
}
