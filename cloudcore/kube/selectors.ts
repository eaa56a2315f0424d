/** Label and field selectors as the Kubernetes API writes them, for caches and the in-memory API. */

import type { KubeObject } from '#protocol/resources/object.ts';
import { isRecord } from './patch.ts';

interface Selectors {
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export function matchesSelectors(object: KubeObject, { labelSelector, fieldSelector }: Selectors): boolean {
  const labels = object.metadata.labels ?? {};
  return (
    every(labelSelector, (term) => matchesLabel(labels, term)) &&
    every(fieldSelector, (term) => matchesEquality(term, (path) => fieldAt(object, path)))
  );
}

function every(selector: string | undefined, matches: (term: string) => boolean): boolean {
  if (!selector) return true;
  // A comma inside `in (a,b)` does not end the term.
  return selector.split(/,(?![^(]*\))/).every((term) => matches(term.trim()));
}

function matchesLabel(labels: Readonly<Record<string, string>>, term: string): boolean {
  const set = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(term);
  if (set?.[1] !== undefined && set[3] !== undefined) {
    const value = labelOf(labels, set[1]);
    const listed = value !== undefined && set[3].split(',').some((one) => one.trim() === value);
    return set[2] === 'in' ? listed : !listed;
  }
  if (term.includes('=')) return matchesEquality(term, (key) => labelOf(labels, key));
  return term.startsWith('!')
    ? labelOf(labels, term.slice(1)) === undefined
    : labelOf(labels, term) !== undefined;
}

function matchesEquality(term: string, read: (key: string) => string | undefined): boolean {
  const [, key = '', operator = '=', wanted = ''] = /^([^!=]+)(!=|==|=)(.*)$/.exec(term) ?? [];
  const value = read(key.trim());
  return operator === '!=' ? value !== wanted : value === wanted;
}

function labelOf(labels: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

/** Absent fields select as empty text. */
function fieldAt(object: KubeObject, path: string): string {
  let value: unknown = object;
  for (const key of path.split('.'))
    value = isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return value === undefined || value === null ? '' : String(value);
}
