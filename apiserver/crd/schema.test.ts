import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../kube-object.ts';
import { applyDefaults, prune } from './schema-prune.ts';
import { validateSchema } from './schema-validate.ts';

const schema: JsonObject = {
  type: 'object',
  required: ['spec'],
  properties: {
    spec: {
      type: 'object',
      required: ['size'],
      properties: {
        size: { type: 'integer', minimum: 1, maximum: 9 },
        color: { type: 'string', default: 'red', enum: ['red', 'blue'] },
        port: { 'x-kubernetes-int-or-string': true },
        free: {
          type: 'object',
          'x-kubernetes-preserve-unknown-fields': true,
          properties: { n: { type: 'integer' } },
        },
        parts: {
          type: 'array',
          maxItems: 2,
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: {
            type: 'object',
            properties: {
              name: { type: 'string', pattern: '^[a-z]+$' },
              on: { type: 'boolean', default: true },
            },
          },
        },
        tags: { type: 'object', additionalProperties: { type: 'string', maxLength: 3 } },
        maybe: { type: 'string', nullable: true },
      },
    },
  },
};

const fieldsOf = (value: JsonObject) => validateSchema(schema, value).map(({ field }) => field);

describe('validation', () => {
  test.each<[string, JsonObject, string[]]>([
    ['good', { spec: { size: 1, port: 'http', parts: [{ name: 'a' }], tags: { a: 'x' }, maybe: null } }, []],
    ['missing', {}, ['spec']],
    ['missing inside', { spec: {} }, ['spec.size']],
    ['of the wrong type', { spec: { size: '1' } }, ['spec.size']],
    ['not whole', { spec: { size: 1.5 } }, ['spec.size']],
    ['out of range', { spec: { size: 10 } }, ['spec.size']],
    ['not in the enum', { spec: { size: 1, color: 'green' } }, ['spec.color']],
    ['neither int nor string', { spec: { size: 1, port: true } }, ['spec.port']],
    ['null without leave', { spec: { size: 1, color: null } }, ['spec.color']],
    ['named twice', { spec: { size: 1, parts: [{ name: 'a' }, { name: 'a' }] } }, ['spec.parts[1]']],
    ['off the pattern', { spec: { size: 1, parts: [{ name: 'A' }] } }, ['spec.parts[0].name']],
    ['too long in a map', { spec: { size: 1, tags: { a: 'long' } } }, ['spec.tags.a']],
    [
      'of the wrong type beside free fields',
      { spec: { size: 1, free: { n: 'x', other: 1 } } },
      ['spec.free.n'],
    ],
  ])('%s', (_, value, fields) => {
    expect(fieldsOf(value)).toEqual(fields);
  });

  test('anyOf, oneOf, not', () => {
    const one: JsonObject = { oneOf: [{ required: ['a'] }, { required: ['b'] }], not: { required: ['c'] } };
    expect(validateSchema(one, { a: 1 })).toEqual([]);
    expect(validateSchema(one, { a: 1, b: 1 })).toHaveLength(1);
    expect(validateSchema(one, { a: 1, c: 1 })).toHaveLength(1);
    expect(validateSchema({ anyOf: [{ required: ['a'] }] }, {})).toHaveLength(1);
  });

  test('any value is answered', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (spec) => {
        const value: JsonObject = JSON.parse(JSON.stringify({ spec }));
        prune(schema, value);
        applyDefaults(schema, value);
        validateSchema(schema, value);
      }),
    );
  });
});

test('pruning drops what the schema does not know and says what', () => {
  const value: JsonObject = {
    apiVersion: 'v1',
    kind: 'X',
    metadata: { name: 'x', anything: true },
    spec: { size: 1, bad: 1, free: { other: 1 }, parts: [{ name: 'a', bad: 1 }], tags: { any: 'x' } },
    more: 1,
  };
  expect(prune(schema, value)).toEqual(['spec.bad', 'spec.parts[0].bad', 'more']);
  expect(value).toEqual({
    apiVersion: 'v1',
    kind: 'X',
    metadata: { name: 'x', anything: true },
    spec: { size: 1, free: { other: 1 }, parts: [{ name: 'a' }], tags: { any: 'x' } },
  });
});

test('defaults are filled in, also in items, and are copies', () => {
  const value: JsonObject = {
    spec: { size: 1, color: null, parts: [{ name: 'a' }, { name: 'b', on: false }] },
  };
  applyDefaults(schema, value);
  expect(value).toEqual({
    spec: {
      size: 1,
      color: 'red',
      parts: [
        { name: 'a', on: true },
        { name: 'b', on: false },
      ],
    },
  });
});
