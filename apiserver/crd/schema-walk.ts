/** How a structural schema is walked: which part of it describes a field, an item or the resource's own metadata. */

import { fieldOf, isJsonObject, type JsonObject, type JsonValue } from '../kube-object.ts';

export function isTrue(schema: JsonObject, extension: string): boolean {
  return fieldOf(schema, extension) === true;
}

/** The schema of a named field, undefined if the schema does not know the field. */
export function propertySchema(schema: JsonObject, name: string): JsonObject | undefined {
  const known = fieldOf(fieldOf(schema, 'properties'), name);
  if (isJsonObject(known)) return known;
  const additional = fieldOf(schema, 'additionalProperties');
  if (isJsonObject(additional)) return additional;
  return additional === true ? {} : undefined;
}

export function itemSchema(schema: JsonObject): JsonObject | undefined {
  const items = fieldOf(schema, 'items');
  return isJsonObject(items) ? items : undefined;
}

/** The fields every resource has, whatever its schema says of them. */
export const resourceFields: ReadonlySet<string> = new Set(['apiVersion', 'kind', 'metadata']);

export function typeOf(value: JsonValue | undefined): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

export function fieldPath(at: string, name: string): string {
  return at === '' ? name : `${at}.${name}`;
}
