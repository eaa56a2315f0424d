/**
 * From a parsed body to a draft of a resource: right kind, true metadata, known fields of the right types. What is
 * done about unknown fields (`fieldValidation`) is decided here too.
 */

import { z } from 'zod';
import {
  builtinType,
  type FieldType,
  isScalarName,
  type ObjectType,
  objectType,
} from '../builtin-types/type-table.ts';
import { prune } from '../crd/schema-prune.ts';
import { isJsonObject, type JsonObject, type JsonValue, type KubeObject, textAt } from '../kube-object.ts';
import { apiVersionOf, type ResourceDefinition } from '../resource-definition.ts';
import { badRequest } from '../status-error.ts';

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

export interface DecodeOptions {
  readonly fieldValidation: FieldValidation;
  readonly warn: (text: string) => void;
}

const texts = z.record(z.string(), z.string());

const metadataSchema = z.looseObject({
  name: z.string().optional(),
  generateName: z.string().optional(),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.int().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  deletionGracePeriodSeconds: z.int().optional(),
  labels: texts.optional(),
  annotations: texts.optional(),
  finalizers: z.array(z.string()).optional(),
  ownerReferences: z
    .array(z.looseObject({ apiVersion: z.string(), kind: z.string(), name: z.string(), uid: z.string() }))
    .optional(),
  managedFields: z.array(z.looseObject({})).optional(),
});

/** Makes the value a draft in place. @throws StatusError 400 */
export function decodeObject(
  definition: ResourceDefinition,
  value: JsonValue,
  { fieldValidation, warn }: DecodeOptions,
): KubeObject {
  if (!isJsonObject(value)) throw badRequest(`the body is not an object but ${typeof value}`);
  checkKind(definition, value);
  value.metadata = decodeMetadata(definition, value.metadata);
  const problems: Problems = { unknown: [], mistyped: [] };
  const type = definition.custom ? undefined : builtinType(apiVersionOf(definition), definition.kind);
  if (type !== undefined) checkFields(type, value, '', problems);
  else if (definition.schema !== undefined) problems.unknown.push(...prune(definition.schema, value));
  const where = `${definition.kind} in version "${definition.version}" cannot be handled as a ${definition.kind}`;
  const [mistyped] = problems.mistyped;
  if (mistyped !== undefined) throw badRequest(`${where}: ${mistyped}`);
  if (problems.unknown.length > 0 && fieldValidation !== 'Ignore') {
    const listed = problems.unknown.slice(0, 20).map((path) => `unknown field "${path}"`);
    if (fieldValidation === 'Strict')
      throw badRequest(`${where}: strict decoding error: ${listed.join(', ')}`);
    for (const text of listed) warn(text);
  }
  // Kind and metadata were checked above.
  return value as KubeObject;
}

function checkKind(definition: ResourceDefinition, value: JsonObject): void {
  const apiVersion = apiVersionOf(definition);
  const sent = {
    apiVersion: textAt(value, 'apiVersion') || apiVersion,
    kind: textAt(value, 'kind') || definition.kind,
  };
  if (sent.apiVersion !== apiVersion) {
    throw badRequest(
      `the API version in the data (${sent.apiVersion}) does not match the expected API version (${apiVersion})`,
    );
  }
  if (sent.kind !== definition.kind) {
    throw badRequest(
      `the kind in the data (${sent.kind}) does not match the expected kind (${definition.kind})`,
    );
  }
  value.apiVersion = apiVersion;
  value.kind = definition.kind;
}

function decodeMetadata(definition: ResourceDefinition, value: JsonValue | undefined): JsonObject {
  const given = isJsonObject(value) ? value : {};
  // Go clients write what they left empty as null.
  const stated = Object.fromEntries(Object.entries(given).filter(([, item]) => item !== null));
  const parsed = metadataSchema.safeParse(stated);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw badRequest(
      `${definition.kind} in version "${definition.version}" cannot be handled as a ${definition.kind}: metadata.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`,
    );
  }
  for (const name of ['labels', 'annotations', 'finalizers', 'ownerReferences']) {
    const item = stated[name];
    if (typeof item === 'object' && item !== null && Object.keys(item).length === 0) delete stated[name];
  }
  delete stated.selfLink;
  return { ...stated, name: stated.name ?? '' };
}

interface Problems {
  readonly unknown: string[];
  readonly mistyped: string[];
}

/** Drops nulls and unknown fields from a value of a built-in type, and notes what does not fit. */
function checkFields(type: ObjectType, value: JsonObject, at: string, problems: Problems): void {
  for (const [name, item] of Object.entries(value)) {
    if (at === '' && (name === 'apiVersion' || name === 'kind' || name === 'metadata')) continue;
    const path = at === '' ? name : `${at}.${name}`;
    const field = type.fields.get(name);
    if (field === undefined || item === null) {
      delete value[name];
      if (field === undefined) problems.unknown.push(path);
    } else checkField(field, item, path, problems);
  }
}

function checkField(field: FieldType, value: JsonValue | undefined, path: string, problems: Problems): void {
  if (field.shape === 'one') checkItem(field, value, path, problems);
  else if (field.shape === 'list') {
    if (!Array.isArray(value))
      problems.mistyped.push(`cannot unmarshal ${typeof value} into field ${path} of type list`);
    else for (const [i, item] of value.entries()) checkItem(field, item, `${path}[${i}]`, problems);
  } else if (!isJsonObject(value)) {
    problems.mistyped.push(
      `cannot unmarshal ${Array.isArray(value) ? 'array' : typeof value} into field ${path} of type map`,
    );
  } else {
    for (const [key, item] of Object.entries(value)) checkItem(field, item, `${path}.${key}`, problems);
  }
}

const scalarTypes: Readonly<Record<string, readonly string[]>> = {
  string: ['string'],
  bytes: ['string'],
  bool: ['boolean'],
  int32: ['number'],
  int64: ['number'],
  double: ['number'],
  Time: ['string'],
  Duration: ['string'],
  Quantity: ['string', 'number'],
  IntOrString: ['string', 'number'],
};

function checkItem(field: FieldType, value: JsonValue | undefined, path: string, problems: Problems): void {
  if (isScalarName(field.type)) {
    const allowed = Object.hasOwn(scalarTypes, field.type) ? scalarTypes[field.type] : undefined;
    const fits = allowed === undefined || value === null || allowed.includes(typeof value);
    const whole = !field.type.startsWith('int') || value === null || Number.isInteger(value);
    if (!fits || !whole) {
      const found = Array.isArray(value) ? 'array' : typeof value;
      problems.mistyped.push(
        `json: cannot unmarshal ${found} into Go struct field ${path} of type ${field.type}`,
      );
    }
    return;
  }
  const inner = objectType(field.type);
  if (inner === undefined || value === null) return;
  if (isJsonObject(value)) checkFields(inner, value, path, problems);
  else
    problems.mistyped.push(
      `json: cannot unmarshal ${typeof value} into Go struct field ${path} of type ${field.type}`,
    );
}
