/** Checks a value against a structural schema; each fault becomes one cause of a 422. */

import { fieldOf, isJsonObject, type JsonObject, type JsonValue, listAt } from '../kube-object.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import type { StatusCause } from '../status-error.ts';
import { unsupported, wrong } from '../strategies/strategy.ts';
import { fieldPath, isTrue, itemSchema, propertySchema, typeOf } from './schema-walk.ts';

/** Enough to see what is wrong; a hostile object shall not make a hostile answer. */
const mostCauses = 32;

export function validateSchema(schema: JsonObject, value: JsonValue | undefined, at = ''): StatusCause[] {
  const causes: StatusCause[] = [];
  check(schema, value, at, causes);
  return causes.slice(0, mostCauses);
}

function check(schema: JsonObject, value: JsonValue | undefined, at: string, causes: StatusCause[]): void {
  if (value === undefined || causes.length >= mostCauses) return;
  if (value === null && fieldOf(schema, 'nullable') === true) return;
  if (!checkType(schema, value, at, causes)) return;
  checkEnum(schema, value, at, causes);
  if (typeof value === 'number') checkNumber(schema, value, at, causes);
  if (typeof value === 'string') checkText(schema, value, at, causes);
  if (Array.isArray(value)) checkArray(schema, value, at, causes);
  if (isJsonObject(value)) checkObject(schema, value, at, causes);
  checkCombinations(schema, value, at, causes);
}

function checkType(schema: JsonObject, value: JsonValue, at: string, causes: StatusCause[]): boolean {
  const found = typeOf(value);
  if (isTrue(schema, 'x-kubernetes-int-or-string')) {
    if (found === 'integer' || found === 'string') return true;
    causes.push(wrong(at, found, `${at} in body must be of type integer or string: "${found}"`));
    return false;
  }
  const wanted = fieldOf(schema, 'type');
  if (typeof wanted !== 'string' || wanted === '') return true;
  if (found === wanted || (wanted === 'number' && found === 'integer')) return true;
  causes.push({
    reason: 'FieldValueTypeInvalid',
    message: `Invalid value: "${found}": ${at} in body must be of type ${wanted}: "${found}"`,
    field: at === '' ? '<nil>' : at,
  });
  return false;
}

function checkEnum(schema: JsonObject, value: JsonValue, at: string, causes: StatusCause[]): void {
  const allowed = fieldOf(schema, 'enum');
  if (Array.isArray(allowed) && !allowed.some((each) => jsonEqual(each, value))) {
    causes.push(unsupported(at, value, allowed.map(String)));
  }
}

function numberIn(schema: JsonObject, name: string): number | undefined {
  const found = fieldOf(schema, name);
  return typeof found === 'number' ? found : undefined;
}

function checkNumber(schema: JsonObject, value: number, at: string, causes: StatusCause[]): void {
  const [minimum, maximum] = [numberIn(schema, 'minimum'), numberIn(schema, 'maximum')];
  const below =
    minimum !== undefined && (isTrue(schema, 'exclusiveMinimum') ? value <= minimum : value < minimum);
  const above =
    maximum !== undefined && (isTrue(schema, 'exclusiveMaximum') ? value >= maximum : value > maximum);
  const step = numberIn(schema, 'multipleOf');
  if (below) causes.push(wrong(at, value, `${at} in body should be greater than or equal to ${minimum}`));
  if (above) causes.push(wrong(at, value, `${at} in body should be less than or equal to ${maximum}`));
  if (step !== undefined && step > 0 && Math.abs(value / step - Math.round(value / step)) > 1e-9) {
    causes.push(wrong(at, value, `${at} in body should be a multiple of ${step}`));
  }
}

const formats: Readonly<Record<string, RegExp>> = {
  'date-time': /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/,
  date: /^\d{4}-\d{2}-\d{2}$/,
  byte: /^[A-Za-z0-9+/\s]*(={1,2}\s*)?$/,
  uuid: /^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$/,
  ipv4: /^(\d{1,3}\.){3}\d{1,3}$/,
};

function checkText(schema: JsonObject, value: string, at: string, causes: StatusCause[]): void {
  const length = [...value].length;
  const [shortest, longest] = [numberIn(schema, 'minLength'), numberIn(schema, 'maxLength')];
  if (shortest !== undefined && length < shortest) {
    causes.push(wrong(at, value, `${at} in body should be at least ${shortest} chars long`));
  }
  if (longest !== undefined && length > longest) {
    causes.push({
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${longest} bytes`,
      field: at,
    });
  }
  const pattern = fieldOf(schema, 'pattern');
  if (typeof pattern === 'string' && compiled(pattern)?.test(value) === false) {
    causes.push(wrong(at, value, `${at} in body should match '${pattern}'`));
  }
  const format = fieldOf(schema, 'format');
  const shape = typeof format === 'string' && Object.hasOwn(formats, format) ? formats[format] : undefined;
  if (shape !== undefined && !shape.test(value)) {
    causes.push(wrong(at, value, `${at} in body must be of type ${String(format)}: "${value}"`));
  }
}

const patterns = new Map<string, RegExp | undefined>();
const mostPatterns = 1_000;

/** Undefined for a pattern that JavaScript cannot read: RE2 knows a few forms more, and those are not checked. */
export function compiled(pattern: string): RegExp | undefined {
  if (!patterns.has(pattern)) {
    if (patterns.size >= mostPatterns) patterns.clear();
    try {
      patterns.set(pattern, new RegExp(pattern, 'u'));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      patterns.set(pattern, undefined);
    }
  }
  return patterns.get(pattern);
}

function checkArray(schema: JsonObject, value: JsonValue[], at: string, causes: StatusCause[]): void {
  const [fewest, most] = [numberIn(schema, 'minItems'), numberIn(schema, 'maxItems')];
  if (fewest !== undefined && value.length < fewest) {
    causes.push(wrong(at, value.length, `${at} in body should have at least ${fewest} items`));
  }
  if (most !== undefined && value.length > most) {
    causes.push({
      reason: 'FieldValueTooMany',
      message: `Too many: ${value.length}: must have at most ${most} items`,
      field: at,
    });
  }
  checkDistinct(schema, value, at, causes);
  const items = itemSchema(schema);
  if (items !== undefined) for (const [i, item] of value.entries()) check(items, item, `${at}[${i}]`, causes);
}

function checkDistinct(schema: JsonObject, value: JsonValue[], at: string, causes: StatusCause[]): void {
  const kind = fieldOf(schema, 'x-kubernetes-list-type');
  if (kind !== 'map' && kind !== 'set') return;
  const keys = listAt(schema, 'x-kubernetes-list-map-keys').map(String);
  const seen = new Set<string>();
  for (const [i, item] of value.entries()) {
    const identity = JSON.stringify(kind === 'set' ? item : keys.map((key) => fieldOf(item, key) ?? null));
    if (seen.has(identity)) {
      causes.push({
        reason: 'FieldValueDuplicate',
        message: `Duplicate value: ${identity}`,
        field: `${at}[${i}]`,
      });
    }
    seen.add(identity);
  }
}

function checkObject(schema: JsonObject, value: JsonObject, at: string, causes: StatusCause[]): void {
  for (const name of listAt(schema, 'required')) {
    if (typeof name === 'string' && fieldOf(value, name) === undefined) {
      causes.push({ reason: 'FieldValueRequired', message: 'Required value', field: fieldPath(at, name) });
    }
  }
  const count = Object.keys(value).length;
  const [fewest, most] = [numberIn(schema, 'minProperties'), numberIn(schema, 'maxProperties')];
  if (fewest !== undefined && count < fewest) {
    causes.push(wrong(at, count, `${at} in body should have at least ${fewest} properties`));
  }
  if (most !== undefined && count > most) {
    causes.push(wrong(at, count, `${at} in body should have at most ${most} properties`));
  }
  for (const [name, item] of Object.entries(value)) {
    if (at === '' && name === 'metadata') continue;
    const known = propertySchema(schema, name);
    if (known !== undefined) check(known, item, fieldPath(at, name), causes);
  }
}

function checkCombinations(schema: JsonObject, value: JsonValue, at: string, causes: StatusCause[]): void {
  const holds = (part: JsonValue) => isJsonObject(part) && validateSchema(part, value, at).length === 0;
  for (const part of listAt(schema, 'allOf')) if (isJsonObject(part)) check(part, value, at, causes);
  const any = listAt(schema, 'anyOf');
  if (any.length > 0 && !any.some(holds)) {
    causes.push(wrong(at, typeOf(value), `${at} in body must validate at least one schema (anyOf)`));
  }
  const one = listAt(schema, 'oneOf');
  if (one.length > 0 && one.filter(holds).length !== 1) {
    causes.push(wrong(at, typeOf(value), `${at} in body must validate one and only one schema (oneOf)`));
  }
  const not = fieldOf(schema, 'not');
  if (not !== undefined && holds(not)) {
    causes.push(wrong(at, typeOf(value), `${at} in body must not validate the schema (not)`));
  }
}
