/**
 * The part of kubectl's JSONPath that printer columns use: `.a.b`, `['a']`, `[0]`, `[-1]`, `[*]`, and the filter
 * `[?(@.a.b=="text")]`. Finds own fields only.
 */

import { isJsonObject, type JsonValue } from '../kube-object.ts';

type Step =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'all' }
  | {
      readonly kind: 'filter';
      readonly path: readonly Step[];
      readonly equals: boolean;
      readonly value: JsonValue;
    };

const stepPattern =
  /\.?\[\?\(@(?<filter>(?:\.[\w-]+)+)\s*(?<operator>==|!=)\s*(?<value>"[^"]*"|'[^']*'|true|false|-?\d+)\s*\)\]|\.?\[(?:'(?<single>[^']*)'|"(?<double>[^"]*)"|(?<index>-?\d+)|(?<all>\*))\]|\.(?<name>(?:\\.|[^.[\]\\])+)/y;

/** Undefined for a path outside of what is understood. */
export function parseJsonPath(text: string): readonly Step[] | undefined {
  const path = text.replace(/^\{(.*)\}$/, '$1').replace(/^\$/, '');
  const steps: Step[] = [];
  stepPattern.lastIndex = 0;
  while (stepPattern.lastIndex < path.length) {
    const groups = stepPattern.exec(path)?.groups;
    if (groups === undefined) return undefined;
    const step = toStep(groups);
    if (step === undefined) return undefined;
    steps.push(step);
  }
  return steps;
}

function toStep(groups: Record<string, string | undefined>): Step | undefined {
  if (groups.filter !== undefined) {
    const path = parseFields(groups.filter);
    return { kind: 'filter', path, equals: groups.operator === '==', value: literal(groups.value ?? '') };
  }
  if (groups.index !== undefined) return { kind: 'index', index: Number(groups.index) };
  if (groups.all !== undefined || groups.name === '*') return { kind: 'all' };
  const name = groups.single ?? groups.double ?? groups.name?.replaceAll(/\\(.)/g, '$1');
  return name === undefined ? undefined : { kind: 'field', name };
}

function parseFields(path: string): readonly Step[] {
  return path
    .split('.')
    .slice(1)
    .map((name) => ({ kind: 'field', name }));
}

function literal(text: string): JsonValue {
  if (/^["']/.test(text)) return text.slice(1, -1);
  return text === 'true' ? true : text === 'false' ? false : Number(text);
}

export function findAll(value: JsonValue | undefined, steps: readonly Step[]): readonly JsonValue[] {
  let found: readonly JsonValue[] = value === undefined ? [] : [value];
  for (const step of steps) found = found.flatMap((item) => next(item, step));
  return found;
}

function next(item: JsonValue, step: Step): JsonValue[] {
  switch (step.kind) {
    case 'field': {
      const field = isJsonObject(item) && Object.hasOwn(item, step.name) ? item[step.name] : undefined;
      return field === undefined ? [] : [field];
    }
    case 'index': {
      const at = Array.isArray(item) ? item.at(step.index) : undefined;
      return at === undefined ? [] : [at];
    }
    case 'all':
      return children(item);
    case 'filter':
      return children(item).filter((child) =>
        step.equals
          ? findAll(child, step.path)[0] === step.value
          : findAll(child, step.path)[0] !== step.value,
      );
  }
}

function children(item: JsonValue): JsonValue[] {
  if (Array.isArray(item)) return item;
  return isJsonObject(item) ? Object.values(item).filter((value) => value !== undefined) : [];
}
