/**
 * Sets of field paths, as `metadata.managedFields[].fieldsV1` writes them: `f:name` a field, `k:{…}` an item of a
 * keyed list, `v:…` a value of a set, `.` the thing itself. Pure set algebra, and what a value's set is.
 */

import { isJsonObject, type JsonObject, type JsonValue } from '../kube-object.ts';
import { fieldShape, type Shape, settled } from './shape.ts';

export interface FieldSet {
  /** The path that ends here is in the set. */
  readonly self: boolean;
  readonly children: ReadonlyMap<string, FieldSet>;
}

export const emptySet: FieldSet = { self: false, children: new Map() };
const leaf: FieldSet = { self: true, children: new Map() };

export function isEmptySet(set: FieldSet): boolean {
  return !set.self && set.children.size === 0;
}

function node(self: boolean, children: Iterable<readonly [string, FieldSet]>): FieldSet {
  return { self, children: new Map([...children].filter(([, child]) => !isEmptySet(child))) };
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const children = new Map(a.children);
  for (const [key, child] of b.children) children.set(key, union(children.get(key) ?? emptySet, child));
  return node(a.self || b.self, children);
}

export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return node(
    a.self && !b.self,
    [...a.children].map(([key, child]) => [key, difference(child, b.children.get(key) ?? emptySet)] as const),
  );
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return node(
    a.self && b.self,
    [...a.children].map(
      ([key, child]) => [key, intersection(child, b.children.get(key) ?? emptySet)] as const,
    ),
  );
}

/** What stands in `set` at or below a path of `roots`: removing a field takes what is inside of it. */
export function below(set: FieldSet, roots: FieldSet): FieldSet {
  if (roots.self) return set;
  return node(
    false,
    [...set.children].map(
      ([key, child]) => [key, below(child, roots.children.get(key) ?? emptySet)] as const,
    ),
  );
}

export function setOfJson(json: JsonValue | undefined): FieldSet {
  if (!isJsonObject(json)) return emptySet;
  const children = Object.entries(json).filter(([key]) => key !== '.');
  if (children.length === 0) return leaf;
  return node(
    Object.hasOwn(json, '.'),
    children.map(([key, child]) => [key, setOfJson(child)] as const),
  );
}

export function setToJson(set: FieldSet): JsonObject {
  const children = [...set.children].sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries([
    ...(set.self && children.length > 0 ? [['.', {}] as const] : []),
    ...children.map(([key, child]) => [key, setToJson(child)] as const),
  ]);
}

/** The fields that a value states. */
export function setOfValue(value: JsonValue | undefined, shape: Shape): FieldSet {
  if (value === undefined) return emptySet;
  const seen = settled(shape, value);
  if (seen.kind === 'object' && isJsonObject(value)) {
    const entries = Object.entries(value).filter(([, field]) => field !== undefined);
    if (entries.length === 0) return leaf;
    return node(
      false,
      entries.map(([name, field]) => [`f:${name}`, setOfValue(field, fieldShape(seen, name))] as const),
    );
  }
  if (seen.kind === 'set' && Array.isArray(value)) {
    return value.length === 0
      ? leaf
      : node(
          false,
          value.map((item) => [valueElement(item), leaf] as const),
        );
  }
  if (seen.kind === 'keyed' && Array.isArray(value)) {
    if (value.length === 0) return leaf;
    const { of } = seen;
    return node(
      false,
      value.map((item) => [keyElement(item, seen), { ...setOfValue(item, of), self: true }] as const),
    );
  }
  return leaf;
}

export function valueElement(value: JsonValue): string {
  return `v:${JSON.stringify(value)}`;
}

/** `k:{"containerPort":80,"protocol":"TCP"}`, keys in order. */
export function keyElement(item: JsonValue, shape: Extract<Shape, { kind: 'keyed' }>): string {
  const keys = [...shape.keys].sort().flatMap((key) => {
    const value = (isJsonObject(item) ? item[key] : undefined) ?? shape.keyDefaults[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  return `k:${JSON.stringify(Object.fromEntries(keys))}`;
}

/** Paths as conflicts are reported: `.spec.containers[name="web"].image`. */
export function pathsOf(set: FieldSet, prefix = ''): string[] {
  const own = set.self ? [prefix === '' ? '.' : prefix] : [];
  return [...own, ...[...set.children].flatMap(([key, child]) => pathsOf(child, prefix + pathElement(key)))];
}

function pathElement(element: string): string {
  const text = element.slice(2);
  if (element.startsWith('f:')) return `.${text}`;
  if (!element.startsWith('k:')) return `[=${text}]`;
  try {
    const keys: unknown = JSON.parse(text);
    return `[${Object.entries(keys ?? {}).map(([key, value]) => `${key}=${JSON.stringify(value)}`)}]`;
  } catch (error) {
    // Clients may write managedFields themselves; what is no JSON is reported as it stands.
    if (error instanceof SyntaxError) return `[${text}]`;
    throw error;
  }
}
