/** The values that are messages or numbers on the protobuf wire of Kubernetes and plain values in its JSON. */

import { Reader } from 'protobufjs/minimal.js';
import type { JsonValue } from '../kube-object.ts';
import { badRequest } from '../status-error.ts';

export function readScalar(reader: Reader, type: string): JsonValue {
  switch (type) {
    case 'string':
      return reader.string();
    case 'bool':
      return reader.bool();
    case 'int32':
      return reader.int32();
    case 'int64':
      return integer(reader);
    case 'double':
      return reader.double();
    case 'bytes':
      return Buffer.from(reader.bytes()).toString('base64');
    case 'Time':
      return readTime(new Reader(reader.bytes()));
    case 'Duration':
      return `${(fields(new Reader(reader.bytes())).numbers.get(1) ?? 0) / 1e9}s`;
    case 'Quantity':
      return fields(new Reader(reader.bytes())).texts.get(1)?.toString() ?? '0';
    case 'IntOrString': {
      const { numbers, texts } = fields(new Reader(reader.bytes()));
      return numbers.get(1) === 1 ? (texts.get(3)?.toString() ?? '') : (numbers.get(2) ?? 0);
    }
    case 'RawExtension':
    case 'FieldsV1':
      return embeddedJson(fields(new Reader(reader.bytes())).texts.get(1));
    default:
      throw badRequest(`the protobuf body has a value of the unknown type ${type}`);
  }
}

/** What Go's JSON leaves out of a field with omitempty. */
export function isZero(value: JsonValue): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === null || value === '' || value === 0 || value === false;
}

function integer(reader: Reader): number {
  const value = reader.int64();
  return typeof value === 'number' ? value : Number(value.toString());
}

/** Time {1 seconds, 2 nanos}; microseconds are kept where there are any, as MicroTime writes them. */
function readTime(reader: Reader): JsonValue {
  const { numbers } = fields(reader);
  const seconds = numbers.get(1);
  if (seconds === undefined) return null;
  const time = new Date(seconds * 1000);
  if (Number.isNaN(time.getTime()))
    throw badRequest(`the protobuf body has a time out of range: ${seconds} s`);
  const micros = Math.floor((numbers.get(2) ?? 0) / 1000);
  const fraction = micros === 0 ? '' : `.${String(micros).padStart(6, '0')}`;
  return `${time.toISOString().slice(0, -5)}${fraction}Z`;
}

interface Fields {
  readonly numbers: ReadonlyMap<number, number>;
  readonly texts: ReadonlyMap<number, Buffer>;
}

function fields(reader: Reader): Fields {
  const numbers = new Map<number, number>();
  const texts = new Map<number, Buffer>();
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if ((tag & 7) === 0) numbers.set(tag >>> 3, integer(reader));
    else if ((tag & 7) === 2) texts.set(tag >>> 3, Buffer.from(reader.bytes()));
    else reader.skipType(tag & 7);
  }
  return { numbers, texts };
}

function embeddedJson(text: Buffer | undefined): JsonValue {
  if (text === undefined || text.length === 0) return null;
  const value: unknown = JSON.parse(text.toString());
  // JSON.parse makes nothing but JSON values.
  return value as JsonValue;
}
