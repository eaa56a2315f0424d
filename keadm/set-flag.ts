/** `--set a.b=1,c.d=x`: changes to a config file from the command line, with KubeEdge's syntax and value types. */

import { KeadmError } from './errors.ts';

export type ConfigTree = { [key: string]: unknown };

const forbiddenKeys = new Set(['__proto__', 'constructor', 'prototype']);

/** Returns a changed copy. @throws KeadmError `bad-flag` */
export function applySet(config: ConfigTree, assignments: readonly string[]): ConfigTree {
  const changed = structuredClone(config);
  for (const text of assignments.flatMap(splitAssignments)) {
    const at = text.indexOf('=');
    if (at <= 0) throw badFlag(text, 'it is not of the form path=value');
    setPath(changed, text.slice(0, at), parseValue(text.slice(at + 1)));
  }
  return changed;
}

/** Splits at commas that do not stand inside `{…}`. */
function splitAssignments(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = '';
  for (const char of text) {
    if (char === '{') depth += 1;
    if (char === '}') depth -= 1;
    if (char === ',' && depth === 0) {
      parts.push(part);
      part = '';
    } else part += char;
  }
  return [...parts, part].map((item) => item.trim()).filter((item) => item !== '');
}

function setPath(config: ConfigTree, path: string, value: unknown): void {
  const keys = path.split('.').flatMap((part) => part.split(/[[\]]/).filter((piece) => piece !== ''));
  const last = keys.pop();
  if (last === undefined || [...keys, last].some((key) => forbiddenKeys.has(key)))
    throw badFlag(path, 'it is not a path');
  let at: object = config;
  for (const key of keys) {
    let next: unknown = Reflect.get(at, key);
    if (next === undefined || next === null) {
      next = {};
      Reflect.set(at, key, next);
    }
    if (typeof next !== 'object' || next === null) throw badFlag(path, `"${key}" is a plain value`);
    at = next;
  }
  Reflect.set(at, last, value);
}

function parseValue(text: string): unknown {
  if (text.startsWith('{') && text.endsWith('}')) {
    const items = splitAssignments(text.slice(1, -1));
    if (items.length > 0 && items.every((item) => item.includes(':'))) {
      return Object.fromEntries(
        items.map((item) => {
          const at = item.indexOf(':');
          return [item.slice(0, at), parseValue(item.slice(at + 1))];
        }),
      );
    }
    return items.map(parseValue);
  }
  if (text === 'true') return true;
  if (text === 'false') return false;
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

function badFlag(text: string, reason: string): KeadmError {
  return new KeadmError(`--set ${text}: ${reason}; example: --set modules.edgeHub.heartbeat=15`, {
    code: 'bad-flag',
    flag: '--set',
  });
}
