/**
 * Reads the protobuf bodies that Kubernetes clients send (`application/vnd.kubernetes.protobuf`) into the JSON form of
 * the same object. Only reads: answers are JSON. Bounded by the size of the body, which the listener limits.
 */

import { Reader } from 'protobufjs/minimal.js';
import {
  builtinType,
  type FieldType,
  isScalarName,
  type ObjectType,
  objectType,
} from '../builtin-types/type-table.ts';
import type { JsonObject, JsonValue } from '../kube-object.ts';
import { maxNesting } from '../patch/nesting.ts';
import { badRequest, StatusError } from '../status-error.ts';
import { isZero, readScalar } from './scalars.ts';

export const protobufMediaType = 'application/vnd.kubernetes.protobuf';

const magic = Buffer.from('k8s\0', 'latin1');

/** @throws StatusError BadRequest for what is malformed, UnsupportedMediaType for a kind that is only read as JSON. */
export function decodeProtobuf(body: Uint8Array): JsonObject {
  if (body.length < magic.length || !magic.equals(body.subarray(0, magic.length))) {
    throw badRequest('the protobuf body does not start with "k8s\\0"');
  }
  try {
    const { apiVersion, kind, raw } = readEnvelope(new Reader(body.subarray(magic.length)));
    const type = builtinType(apiVersion, kind);
    if (type === undefined) {
      throw new StatusError(
        'UnsupportedMediaType',
        `objects of kind ${kind} in ${apiVersion} are not read as protobuf; send application/json`,
      );
    }
    return { apiVersion, kind, ...readMessage(new Reader(raw), type, 0) };
  } catch (error) {
    // protobufjs throws RangeError past the end of a message and Error for an unknown wire type.
    if (error instanceof StatusError) throw error;
    throw badRequest(`the protobuf body is malformed: ${error instanceof Error ? error.message : ''}`, error);
  }
}

interface Envelope {
  readonly apiVersion: string;
  readonly kind: string;
  readonly raw: Uint8Array;
}

/** runtime.Unknown: 1 TypeMeta {1 apiVersion, 2 kind}, 2 raw. */
function readEnvelope(reader: Reader): Envelope {
  let [apiVersion, kind] = ['', ''];
  let raw: Uint8Array = new Uint8Array();
  eachField(reader, (number, wireType) => {
    if (wireType !== 2) return false;
    if (number === 2) raw = reader.bytes();
    else if (number === 1) {
      const meta = new Reader(reader.bytes());
      eachField(meta, (inner, innerType) => {
        if (innerType !== 2 || (inner !== 1 && inner !== 2)) return false;
        if (inner === 1) apiVersion = meta.string();
        else kind = meta.string();
        return true;
      });
    } else return false;
    return true;
  });
  return { apiVersion, kind, raw };
}

/** Calls `read` for each field; what it does not read (false) is skipped. */
function eachField(reader: Reader, read: (number: number, wireType: number) => boolean): void {
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    // Groups are skipped by recursion, and Kubernetes has none.
    if ((tag & 7) === 3) throw badRequest('the protobuf body has a group');
    if (!read(tag >>> 3, tag & 7)) reader.skipType(tag & 7);
  }
}

/** What is read of a message so far; lists and maps grow in place. */
interface Partial {
  readonly values: Map<string, JsonValue>;
  readonly lists: Map<string, JsonValue[]>;
  readonly maps: Map<string, Map<string, JsonValue>>;
}

function readMessage(reader: Reader, type: ObjectType, depth: number): JsonObject {
  if (depth > maxNesting) throw badRequest(`the protobuf body nests deeper than ${maxNesting} levels`);
  const byNumber = new Map(type.wireFields.map((field) => [field.number, field]));
  const found: Partial = { values: new Map(), lists: new Map(), maps: new Map() };
  eachField(reader, (number, wireType) => {
    const field = byNumber.get(number);
    if (field === undefined) return false;
    readField(reader, wireType, field, found, depth);
    return true;
  });
  const maps = [...found.maps].map(([name, entries]) => [name, Object.fromEntries(entries)] as const);
  return Object.fromEntries([...found.values, ...found.lists, ...maps]);
}

function readField(reader: Reader, wireType: number, field: FieldType, found: Partial, depth: number): void {
  if (field.shape === 'map') {
    const [key, value] = readMapEntry(new Reader(reader.bytes()), field, depth);
    const entries = found.maps.get(field.name) ?? new Map<string, JsonValue>();
    found.maps.set(field.name, entries.set(key, value));
    return;
  }
  const values = readValues(reader, wireType, field, depth);
  if (field.shape === 'list') {
    const list = found.lists.get(field.name) ?? [];
    for (const value of values) list.push(value);
    found.lists.set(field.name, list);
    return;
  }
  const value = values.at(-1);
  if (value === undefined) return;
  if (field.inline) {
    for (const [name, inner] of Object.entries(value ?? {})) found.values.set(name, inner);
  } else if (field.tellsZero || field.alwaysWritten || !isZero(value)) found.values.set(field.name, value);
}

function readValues(reader: Reader, wireType: number, field: FieldType, depth: number): JsonValue[] {
  const packed = wireType === 2 && ['int32', 'int64', 'bool'].includes(field.type);
  if (!packed) return [readValue(reader, field.type, field.wrappedList, depth)];
  const block = new Reader(reader.bytes());
  const values: JsonValue[] = [];
  while (block.pos < block.len) values.push(readScalar(block, field.type));
  return values;
}

function readValue(reader: Reader, typeName: string, wrappedList: boolean, depth: number): JsonValue {
  if (wrappedList) {
    const list = new Reader(reader.bytes());
    const items: JsonValue[] = [];
    eachField(list, (number, wireType) => {
      if (number !== 1 || wireType !== 2) return false;
      items.push(list.string());
      return true;
    });
    return items;
  }
  if (isScalarName(typeName)) return readScalar(reader, typeName);
  const type = objectType(typeName);
  if (type === undefined) throw badRequest(`the protobuf body has a field of the unknown type ${typeName}`);
  return readMessage(new Reader(reader.bytes()), type, depth + 1);
}

function readMapEntry(reader: Reader, field: FieldType, depth: number): [string, JsonValue] {
  let key = '';
  let value: JsonValue | undefined;
  eachField(reader, (number) => {
    if (number === 1) key = reader.string();
    else if (number === 2) value = readValue(reader, field.type, field.wrappedList, depth);
    else return false;
    return true;
  });
  return [key, value ?? ''];
}
