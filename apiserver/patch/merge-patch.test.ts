import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonValue } from '../kube-object.ts';
import { mergePatch } from './merge-patch.ts';
import { maxNesting } from './nesting.ts';

const json = fc.jsonValue().map((value) => value as JsonValue);

describe('merge patch', () => {
  it.each<[JsonValue, JsonValue, JsonValue]>([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('%j with %j is %j', (target, patch, expected) => {
    expect(mergePatch(target, patch)).toEqual(expected);
  });

  it('changes nothing when applied again', () => {
    fc.assert(
      fc.property(json, json, (target, patch) => {
        const once = mergePatch(target, patch);
        expect(mergePatch(once, patch)).toEqual(once);
      }),
    );
  });

  it('treats __proto__ as a key', () => {
    const patch: JsonValue = JSON.parse(
      '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":1}}}',
    );
    const merged = mergePatch({}, patch);
    expect(JSON.stringify(merged)).toBe(JSON.stringify(patch));
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
  });

  it('refuses what nests too deep', () => {
    const deep: JsonValue = JSON.parse(`${'{"a":'.repeat(maxNesting + 1)}1${'}'.repeat(maxNesting + 1)}`);
    expect(() => mergePatch({}, deep)).toThrow(/nests deeper/);
  });
});
