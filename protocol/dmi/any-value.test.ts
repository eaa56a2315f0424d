import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packAny, type Scalar, unpackAny } from './any-value.ts';

const values: [Scalar, string][] = [
  ['', 'StringValue'],
  ['tcp', 'StringValue'],
  ['ü'.repeat(300), 'StringValue'],
  [true, 'BoolValue'],
  [false, 'BoolValue'],
  [0, 'FloatValue'],
  [502, 'FloatValue'],
  [-0.5, 'FloatValue'],
  [0.1, 'DoubleValue'],
  [1_760_000_000_123, 'DoubleValue'],
];

test.each(values)('%s goes and comes back as %s', (value, type) => {
  const any = packAny(value);
  expect(any.type_url).toBe(`type.googleapis.com/google.protobuf.${type}`);
  expect(unpackAny(any)).toBe(value);
});

test('is what protobuf itself writes and reads', async () => {
  const { default: protobuf } = await import('protobufjs');
  const wrappers = await protobuf
    .load(join(import.meta.dirname, '../../node_modules/protobufjs/google/protobuf/wrappers.proto'))
    .catch(() => protobuf.Root.fromJSON(protobuf.common.get('google/protobuf/wrappers.proto') ?? {}));
  for (const [value] of values) {
    const { type_url, value: bytes } = packAny(value);
    const type = wrappers.lookupType(type_url.slice('type.googleapis.com/'.length));
    const own = type.encode(type.fromObject({ value })).finish();
    expect(type.toObject(type.decode(bytes), { defaults: true }).value).toBe(value);
    expect(unpackAny({ type_url, value: Uint8Array.from(own) })).toBe(value);
  }
  for (const [name, value] of [
    ['Int64Value', -5],
    ['Int32Value', -5],
    ['UInt32Value', 7],
    ['UInt64Value', 7],
  ] as const) {
    const type = wrappers.lookupType(`google.protobuf.${name}`);
    const bytes = Uint8Array.from(type.encode(type.fromObject({ value })).finish());
    expect(unpackAny({ type_url: `type.googleapis.com/google.protobuf.${name}`, value: bytes })).toBe(value);
  }
});

test.each([
  ['StringValue', [0x0a, 0x05, 0x61]],
  ['StringValue', [0x0a]],
  ['StringValue', [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
  ['BoolValue', [0x08]],
  ['FloatValue', [0x0d, 1]],
  ['Int64Value', [0x08, 0x80]],
  ['BytesValue', [0x0a, 0]],
  ['', []],
])('damaged %s is nothing', (name, bytes) => {
  const any = { type_url: `type.googleapis.com/google.protobuf.${name}`, value: Uint8Array.from(bytes) };
  expect(unpackAny(any)).toBeUndefined();
});
