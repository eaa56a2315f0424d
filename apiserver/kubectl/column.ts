/** A printed column of a kind, and the texts that several columns share. */

import { isJsonObject, type JsonValue, type KubeObject, listAt, textAt, valueAt } from '../kube-object.ts';
import { ageOf } from './human-duration.ts';

export interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  readonly format: string;
  readonly description: string;
  /** Above 0: only shown by `-o wide`. */
  readonly priority: number;
  cell(object: KubeObject, nowMs: number): JsonValue;
}

type Cell = (object: KubeObject, nowMs: number) => JsonValue;

export function column(name: string, cell: Cell): Column {
  return { name, type: 'string', format: '', description: `${name} of the object`, priority: 0, cell };
}

export function count(name: string, cell: (object: KubeObject) => number): Column {
  return { ...column(name, cell), type: 'integer' };
}

export function wide(name: string, cell: Cell): Column {
  return { ...column(name, cell), priority: 1 };
}

export function text(name: string, ...path: readonly string[]): Column {
  return column(name, (object) => textAt(object, ...path) ?? '');
}

export const nameColumn: Column = {
  ...column('Name', (object) => object.metadata.name),
  format: 'name',
  description: 'Name is unique within a namespace',
};

export const age = column('Age', (object, nowMs) => ageOf(object.metadata.creationTimestamp, nowMs));
export const createdAt: Column = {
  ...column('Created At', (object) => object.metadata.creationTimestamp ?? '<unknown>'),
  type: 'date',
};

export function orNone(value: string | undefined): string {
  return value === undefined || value === '' ? '<none>' : value;
}

export function joined(values: readonly string[]): string {
  return orNone(values.join(','));
}

/** `a=1,b=2` of a map of labels. */
export function pairs(value: JsonValue | undefined): string {
  if (!isJsonObject(value)) return '<none>';
  return joined(
    Object.entries(value)
      .map(([key, part]) => `${key}=${String(part)}`)
      .sort(),
  );
}

/** A label selector as its text form. */
export function selectorText(selector: JsonValue | undefined): string {
  const labels = valueAt(selector, 'matchLabels');
  const equals = isJsonObject(labels)
    ? Object.entries(labels).map(([key, value]) => `${key}=${String(value)}`)
    : [];
  const others = listAt(selector, 'matchExpressions').map((expression) => {
    const key = textAt(expression, 'key') ?? '';
    const values = listAt(expression, 'values').map(String).sort().join(',');
    switch (textAt(expression, 'operator')) {
      case 'In':
        return `${key} in (${values})`;
      case 'NotIn':
        return `${key} notin (${values})`;
      case 'DoesNotExist':
        return `!${key}`;
      default:
        return key;
    }
  });
  return joined([...equals.sort(), ...others]);
}

export function names(items: readonly JsonValue[], field = 'name'): readonly string[] {
  return items.flatMap((item) => textAt(item, field) ?? []);
}
