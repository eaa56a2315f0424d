/**
 * configData between JSON and google.protobuf.Any: a text, a switch or a number, each in its wrapper message. The
 * wrappers have one field each, so their few bytes are read and written here.
 */

import { z } from 'zod';

export type Scalar = string | boolean | number;

export const anySchema = z.object({ type_url: z.string(), value: z.instanceof(Uint8Array) });
export type AnyValue = z.infer<typeof anySchema>;

const typePrefix = 'type.googleapis.com/google.protobuf.';

/** KubeEdge packs every number as a float of 32 bits; one that would lose digits by it goes as a double. */
export function packAny(value: Scalar): AnyValue {
  if (typeof value === 'string') {
    const text = Buffer.from(value);
    return wrapper(
      'StringValue',
      text.length === 0 ? text : Buffer.from([0x0a, ...varint(text.length), ...text]),
    );
  }
  if (typeof value === 'boolean')
    return wrapper('BoolValue', value ? Buffer.from([0x08, 1]) : Buffer.alloc(0));
  if (Math.fround(value) === value) {
    const bytes = Buffer.from([0x0d, 0, 0, 0, 0]);
    bytes.writeFloatLE(value, 1);
    return wrapper('FloatValue', bytes);
  }
  const bytes = Buffer.from([0x09, 0, 0, 0, 0, 0, 0, 0, 0]);
  bytes.writeDoubleLE(value, 1);
  return wrapper('DoubleValue', bytes);
}

/** Undefined for what is none of the wrappers, or damaged. */
export function unpackAny({ type_url, value }: AnyValue): Scalar | undefined {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  switch (type_url.slice(type_url.lastIndexOf('.') + 1)) {
    case 'StringValue':
      return unpackText(bytes);
    case 'BoolValue':
      return bytes.length === 0 ? false : bytes[0] === 0x08 && bytes.length > 1 ? bytes[1] !== 0 : undefined;
    case 'FloatValue':
      return bytes.length === 0
        ? 0
        : bytes.length === 5 && bytes[0] === 0x0d
          ? bytes.readFloatLE(1)
          : undefined;
    case 'DoubleValue':
      return bytes.length === 0
        ? 0
        : bytes.length === 9 && bytes[0] === 0x09
          ? bytes.readDoubleLE(1)
          : undefined;
    case 'Int32Value':
    case 'Int64Value':
      return unpackInteger(bytes, true);
    case 'UInt32Value':
    case 'UInt64Value':
      return unpackInteger(bytes, false);
    default:
      return undefined;
  }
}

function wrapper(type: string, value: AnyValue['value']): AnyValue {
  return { type_url: `${typePrefix}${type}`, value };
}

function unpackText(bytes: Buffer): string | undefined {
  if (bytes.length === 0) return '';
  if (bytes[0] !== 0x0a) return undefined;
  const length = readVarint(bytes, 1);
  if (length === undefined) return undefined;
  const end = length.next + Number(length.value);
  return end === bytes.length ? bytes.toString('utf8', length.next, end) : undefined;
}

function unpackInteger(bytes: Buffer, signed: boolean): number | undefined {
  if (bytes.length === 0) return 0;
  const read = bytes[0] === 0x08 ? readVarint(bytes, 1) : undefined;
  if (read === undefined) return undefined;
  return Number(signed ? BigInt.asIntN(64, read.value) : read.value);
}

function varint(length: number): number[] {
  const bytes: number[] = [];
  let rest = length;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return [...bytes, rest];
}

function readVarint(bytes: Buffer, from: number): { value: bigint; next: number } | undefined {
  let value = 0n;
  for (let at = from; at < bytes.length && at < from + 10; at += 1) {
    const byte = bytes[at] ?? 0;
    value |= BigInt(byte & 0x7f) << BigInt(7 * (at - from));
    if ((byte & 0x80) === 0) return { value, next: at + 1 };
  }
  return undefined;
}
