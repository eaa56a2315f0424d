/** JSON merge patch, RFC 7386. Builds a new document; keys such as `__proto__` are keys like any other. */

import { isJsonObject, type JsonValue } from '../kube-object.ts';
import { checkNesting } from './nesting.ts';

export function mergePatch(target: JsonValue | undefined, patch: JsonValue): JsonValue {
  checkNesting(patch);
  return merge(target, patch);
}

function merge(target: JsonValue | undefined, patch: JsonValue): JsonValue {
  if (!isJsonObject(patch)) return patch;
  const merged = new Map(isJsonObject(target) ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else if (value !== undefined) merged.set(key, merge(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}
