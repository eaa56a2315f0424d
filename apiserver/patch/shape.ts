/**
 * How apply sees a value: which parts are owned one by one and which whole. Read from the table of built-in types
 * or from the structural schema of a custom resource; where neither says anything the value itself decides.
 */

import {
  builtinType,
  type FieldType,
  isScalarName,
  type ListRule,
  type ObjectType,
  objectType,
} from '../builtin-types/type-table.ts';
import { isJsonObject, type JsonObject, type JsonValue, listAt, textAt, valueAt } from '../kube-object.ts';
import { apiVersionOf, type ResourceDefinition } from '../resource-definition.ts';

export type Shape =
  | { readonly kind: 'whole' }
  /** Objects are owned by field, lists and scalars whole. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'object'; field(name: string): Shape }
  | { readonly kind: 'set' }
  | {
      readonly kind: 'keyed';
      readonly keys: readonly string[];
      readonly keyDefaults: JsonObject;
      readonly of: Shape;
    };

export const whole: Shape = { kind: 'whole' };
export const unknown: Shape = { kind: 'unknown' };

/** The part of a definition that tells how its objects are patched. */
export type Patchable = Pick<ResourceDefinition, 'group' | 'version' | 'kind' | 'custom'> & {
  readonly schema?: JsonObject;
};

export function shapeOf(definition: Patchable): Shape {
  const type = definition.custom ? undefined : builtinType(apiVersionOf(definition), definition.kind);
  if (type !== undefined) return typeShape(type);
  const shape = schemaShape(definition.schema ?? {});
  const metadata = objectType('meta.ObjectMeta');
  const metadataShape = metadata === undefined ? unknown : typeShape(metadata);
  return {
    kind: 'object',
    field: (name) => (name === 'metadata' ? metadataShape : fieldShape(shape, name)),
  };
}

/** How a field of a value with this shape is seen. */
export function fieldShape(shape: Shape, name: string): Shape {
  return shape.kind === 'object' ? shape.field(name) : unknown;
}

/** Settles what an unknown shape is by looking at a value. */
export function settled(shape: Shape, value: JsonValue | undefined): Exclude<Shape, { kind: 'unknown' }> {
  if (shape.kind === 'object' && !isJsonObject(value)) return { kind: 'whole' };
  if ((shape.kind === 'set' || shape.kind === 'keyed') && !Array.isArray(value)) return { kind: 'whole' };
  if (shape.kind !== 'unknown') return shape;
  return isJsonObject(value) ? { kind: 'object', field: () => unknown } : { kind: 'whole' };
}

function typeShape(type: ObjectType): Shape {
  if (type.atomic) return whole;
  return {
    kind: 'object',
    field: (name) => {
      const field = type.fields.get(name);
      return field === undefined ? unknown : builtinFieldShape(field);
    },
  };
}

function builtinFieldShape(field: FieldType): Shape {
  if (field.atomic) return whole;
  const element = isScalarName(field.type) ? undefined : objectType(field.type);
  const elementShape = element === undefined ? whole : typeShape(element);
  if (field.shape === 'map') return { kind: 'object', field: () => elementShape };
  return field.shape === 'one' ? elementShape : listShape(field.apply, elementShape);
}

function listShape(rule: ListRule, of: Shape): Shape {
  if (rule.kind === 'replace') return whole;
  if (rule.kind === 'unite') return { kind: 'set' };
  return {
    kind: 'keyed',
    keys: rule.keys,
    keyDefaults: { protocol: 'TCP' },
    of: of.kind === 'whole' ? unknown : of,
  };
}

function schemaShape(schema: JsonValue | undefined): Shape {
  const properties = valueAt(schema, 'properties');
  const additional = valueAt(schema, 'additionalProperties');
  switch (textAt(schema, 'type')) {
    case 'array':
      return schemaListShape(schema);
    case 'object':
      if (textAt(schema, 'x-kubernetes-map-type') === 'atomic') return whole;
      return {
        kind: 'object',
        field: (name) => {
          const property =
            isJsonObject(properties) && Object.hasOwn(properties, name) ? properties[name] : additional;
          return property === undefined ? unknown : schemaShape(property);
        },
      };
    case undefined:
      return unknown;
    default:
      return whole;
  }
}

function schemaListShape(schema: JsonValue | undefined): Shape {
  const kind = textAt(schema, 'x-kubernetes-list-type');
  if (kind === 'set') return { kind: 'set' };
  if (kind !== 'map') return whole;
  const items = valueAt(schema, 'items');
  const keys = listAt(schema, 'x-kubernetes-list-map-keys').filter((key) => typeof key === 'string');
  const keyDefaults = Object.fromEntries(
    keys.flatMap((key) => {
      const value = valueAt(items, 'properties', key, 'default');
      return value === undefined ? [] : [[key, value]];
    }),
  );
  return { kind: 'keyed', keys, keyDefaults, of: schemaShape(items) };
}
