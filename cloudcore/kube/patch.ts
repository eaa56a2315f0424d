/**
 * The patch types of the Kubernetes API, as far as the in-memory API of the tests needs them: merge (RFC 7386),
 * a strategic merge that knows the lists which edges patch, and JSON patch (RFC 6902) by add, replace, remove.
 */

type Json = Record<string, unknown>;

export function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch;
  const result: Json = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else setOwn(result, key, mergePatch(result[key], value));
  }
  return result;
}

/** By which field the items of a list are told apart. */
const mergeKeys: Readonly<Record<string, string>> = {
  conditions: 'type',
  addresses: 'type',
  containers: 'name',
  initContainers: 'name',
  volumes: 'name',
  podIPs: 'ip',
  ownerReferences: 'uid',
};

export function strategicPatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch;
  if (patch.$patch === 'replace') return without(patch, '$patch');
  const result: Json = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$')) continue;
    if (value === null) delete result[key];
    else if (Array.isArray(value)) setOwn(result, key, mergeList(result[key], value, mergeKeys[key]));
    else setOwn(result, key, strategicPatch(result[key], value));
  }
  return result;
}

function mergeList(target: unknown, patch: readonly unknown[], mergeKey: string | undefined): unknown {
  if (mergeKey === undefined || !Array.isArray(target)) return patch;
  const result: unknown[] = [...target];
  for (const item of patch) {
    if (!isRecord(item)) continue;
    const at = result.findIndex((old) => isRecord(old) && old[mergeKey] === item[mergeKey]);
    if (item.$patch === 'delete') {
      if (at >= 0) result.splice(at, 1);
    } else if (at >= 0) result[at] = strategicPatch(result[at], item);
    else result.push(item);
  }
  return result;
}

export function applyJsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw new TypeError('a JSON patch is a list');
  return patch.reduce((value: unknown, step: unknown) => {
    if (!isRecord(step) || typeof step.path !== 'string') throw new TypeError('not a JSON patch step');
    const keys = step.path.split('/').slice(1).map(unescapePointer);
    return applyStep(value, keys, String(step.op), step.value);
  }, target);
}

function applyStep(target: unknown, [key, ...rest]: string[], op: string, value: unknown): unknown {
  if (key === undefined) return value;
  if (Array.isArray(target)) {
    const list = [...target];
    const at = key === '-' ? list.length : Number(key);
    if (rest.length > 0) list[at] = applyStep(list[at], rest, op, value);
    else if (op === 'remove') list.splice(at, 1);
    else list.splice(at, op === 'replace' ? 1 : 0, value);
    return list;
  }
  const result: Json = isRecord(target) ? { ...target } : {};
  if (rest.length > 0) setOwn(result, key, applyStep(result[key], rest, op, value));
  else if (op === 'remove') delete result[key];
  else setOwn(result, key, value);
  return result;
}

function unescapePointer(text: string): string {
  return text.replaceAll('~1', '/').replaceAll('~0', '~');
}

function without(value: Json, key: string): Json {
  const { [key]: _, ...rest } = value;
  return rest;
}

function setOwn(target: Json, key: string, value: unknown): void {
  if (key === '__proto__') return;
  target[key] = value;
}
