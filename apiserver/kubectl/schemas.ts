/** OpenAPI schemas of what is served: built-in kinds from the table of types, custom ones from their own schema. */

import {
  builtinType,
  type FieldType,
  isScalarName,
  type ObjectType,
  objectType,
} from '../builtin-types/type-table.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../kube-object.ts';
import { apiVersionOf, type ResourceDefinition } from '../resource-definition.ts';
import { descriptionOf } from './descriptions.ts';

/** OpenAPI 3 keeps schemas under components and wraps a described reference, Swagger 2 does neither. */
export interface SchemaDialect {
  readonly refPrefix: string;
  readonly wrapsRefs: boolean;
}

export const openApi3: SchemaDialect = { refPrefix: '#/components/schemas/', wrapsRefs: true };
export const swagger2: SchemaDialect = { refPrefix: '#/definitions/', wrapsRefs: false };

const groupPackages = new Map([
  ['meta', 'io.k8s.apimachinery.pkg.apis.meta.v1'],
  ['core', 'io.k8s.api.core.v1'],
]);

/** `io.k8s.api.core.v1.Pod` of `core.Pod`. */
function componentName(type: ObjectType): string {
  const [group = '', kind = ''] = type.name.split('.');
  return `${groupPackages.get(group) ?? `io.k8s.api.${group}.v1`}.${kind}`;
}

/** The name under which a kind's schema stands, and its reference elsewhere. */
export function kindComponent(definition: ResourceDefinition): string {
  const type = definition.custom ? undefined : builtinType(apiVersionOf(definition), definition.kind);
  if (type !== undefined) return componentName(type);
  const reversed = definition.group.split('.').reverse().join('.');
  return `${reversed}.${definition.version}.${definition.kind}`;
}

/** Schemas of these kinds and of all that they refer to. */
export function schemasOf(definitions: readonly ResourceDefinition[], dialect: SchemaDialect): JsonObject {
  const schemas = new Map<string, JsonObject>();
  const metadata = objectType('meta.ObjectMeta');
  if (metadata !== undefined) addType(metadata, schemas, dialect);
  for (const definition of definitions) {
    const name = kindComponent(definition);
    const type = definition.custom ? undefined : builtinType(apiVersionOf(definition), definition.kind);
    if (type !== undefined) addType(type, schemas, dialect);
    const schema = type === undefined ? customSchema(definition, dialect) : schemas.get(name);
    schemas.set(name, asKind(schema ?? {}, definition));
  }
  return Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function asKind(schema: JsonObject, definition: ResourceDefinition): JsonObject {
  const { group, version, kind } = definition;
  const properties = isJsonObject(schema.properties) ? schema.properties : {};
  const before = schema['x-kubernetes-group-version-kind'];
  return {
    ...schema,
    type: 'object',
    properties: {
      ...properties,
      apiVersion: described('apiVersion', properties.apiVersion),
      kind: described('kind', properties.kind),
    },
    'x-kubernetes-group-version-kind': [...(Array.isArray(before) ? before : []), { group, version, kind }],
  };
}

function described(name: string, schema: JsonValue | undefined): JsonObject {
  return { type: 'string', description: descriptionOf(name) ?? '', ...(isJsonObject(schema) ? schema : {}) };
}

function customSchema(definition: ResourceDefinition, dialect: SchemaDialect): JsonObject {
  const schema = definition.schema ?? { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const properties = isJsonObject(schema.properties) ? schema.properties : {};
  const metadata = reference('meta.ObjectMeta', descriptionOf('metadata'), dialect);
  return { ...schema, properties: { ...properties, metadata } };
}

function addType(type: ObjectType, schemas: Map<string, JsonObject>, dialect: SchemaDialect): void {
  const name = componentName(type);
  if (schemas.has(name)) return;
  schemas.set(name, {});
  const required: string[] = [];
  const properties = new Map<string, JsonValue>();
  for (const field of type.fields.values()) {
    if (field.alwaysWritten && !isStatus(type)) required.push(field.name);
    properties.set(field.name, fieldSchema(type, field, dialect));
    const inner = isScalarName(field.type) ? undefined : objectType(field.type);
    if (inner !== undefined) addType(inner, schemas, dialect);
  }
  schemas.set(name, {
    description: descriptionOf(type.name) ?? '',
    type: 'object',
    properties: Object.fromEntries(properties),
    ...(required.length === 0 ? {} : { required }),
    ...(type.atomic ? { 'x-kubernetes-map-type': 'atomic' } : {}),
  });
}

/** Statuses are written by the cluster: asking users for their fields would only confuse. */
function isStatus(type: ObjectType): boolean {
  return type.name.endsWith('Status');
}

function fieldSchema(owner: ObjectType, field: FieldType, dialect: SchemaDialect): JsonObject {
  const description = descriptionOf(`${owner.name}.${field.name}`) ?? descriptionOf(`*.${field.name}`);
  if (field.shape === 'one' && !isScalarName(field.type)) return reference(field.type, description, dialect);
  const inner = field.wrappedList
    ? { type: 'array', items: { type: 'string' } }
    : isScalarName(field.type)
      ? scalarSchema(field.type)
      : reference(field.type, undefined, dialect);
  const described = description === undefined ? {} : { description };
  if (field.shape === 'map') return { ...described, type: 'object', additionalProperties: inner };
  if (field.shape === 'list') return { ...described, type: 'array', items: inner, ...listExtensions(field) };
  return { ...described, ...inner };
}

function listExtensions(field: FieldType): JsonObject {
  const strategy = field.retainKeys ? 'merge,retainKeys' : 'merge';
  const merge: JsonObject =
    field.merge.kind === 'replace'
      ? {}
      : {
          'x-kubernetes-patch-strategy': strategy,
          ...(field.merge.kind === 'keyed' ? { 'x-kubernetes-patch-merge-key': field.merge.keys[0] } : {}),
        };
  if (field.apply.kind === 'unite') return { ...merge, 'x-kubernetes-list-type': 'set' };
  if (field.apply.kind === 'replace') return { ...merge, 'x-kubernetes-list-type': 'atomic' };
  const keys = [...field.apply.keys];
  return { ...merge, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': keys };
}

function reference(typeName: string, description: string | undefined, dialect: SchemaDialect): JsonObject {
  const type = objectType(typeName);
  if (type === undefined) return { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const $ref = `${dialect.refPrefix}${componentName(type)}`;
  if (description === undefined) return { $ref };
  return dialect.wrapsRefs ? { description, allOf: [{ $ref }] } : { description, $ref };
}

function scalarSchema(type: string): JsonObject {
  switch (type) {
    case 'bool':
      return { type: 'boolean' };
    case 'int32':
    case 'int64':
      return { type: 'integer', format: type };
    case 'double':
      return { type: 'number', format: 'double' };
    case 'bytes':
      return { type: 'string', format: 'byte' };
    case 'Time':
      return { type: 'string', format: 'date-time' };
    case 'IntOrString':
      return { type: 'string', format: 'int-or-string' };
    case 'RawExtension':
    case 'FieldsV1':
      return { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    default:
      return { type: 'string' };
  }
}
