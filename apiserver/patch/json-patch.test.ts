import { describe, expect, it } from 'vitest';
import type { JsonValue } from '../kube-object.ts';
import { jsonPatch, maxJsonPatchOperations } from './json-patch.ts';

describe('JSON patch', () => {
  it.each<[string, JsonValue, JsonValue, JsonValue]>([
    ['adds a member', { a: 1 }, [{ op: 'add', path: '/b', value: 2 }], { a: 1, b: 2 }],
    ['adds into a list', { a: [1, 3] }, [{ op: 'add', path: '/a/1', value: 2 }], { a: [1, 2, 3] }],
    ['adds at the end', { a: [1] }, [{ op: 'add', path: '/a/-', value: 2 }], { a: [1, 2] }],
    ['removes a member', { a: 1, b: 2 }, [{ op: 'remove', path: '/a' }], { b: 2 }],
    ['removes an item', { a: [1, 2] }, [{ op: 'remove', path: '/a/0' }], { a: [2] }],
    ['replaces', { a: { b: 1 } }, [{ op: 'replace', path: '/a/b', value: 2 }], { a: { b: 2 } }],
    ['replaces an item', { a: [1, 2] }, [{ op: 'replace', path: '/a/0', value: 9 }], { a: [9, 2] }],
    ['replaces the whole', { a: 1 }, [{ op: 'replace', path: '', value: 2 }], 2],
    ['moves', { a: { b: 1 }, c: {} }, [{ op: 'move', from: '/a/b', path: '/c/d' }], { a: {}, c: { d: 1 } }],
    ['moves in a list', { a: [1, 2, 3] }, [{ op: 'move', from: '/a/0', path: '/a/2' }], { a: [2, 3, 1] }],
    ['copies', { a: 1 }, [{ op: 'copy', from: '/a', path: '/b' }], { a: 1, b: 1 }],
    [
      'tests',
      { a: { x: 1, y: [2] } },
      [{ op: 'test', path: '/a', value: { y: [2], x: 1 } }],
      { a: { x: 1, y: [2] } },
    ],
    [
      'unescapes pointers',
      { 'a/b': 1, 'm~n': 2 },
      [
        { op: 'remove', path: '/a~1b' },
        { op: 'test', path: '/m~0n', value: 2 },
      ],
      { 'm~n': 2 },
    ],
  ])('%s', (_name, target, patch, expected) => {
    expect(jsonPatch(target, patch)).toEqual(expected);
  });

  it.each<[string, JsonValue, RegExp]>([
    ['a missing member', [{ op: 'remove', path: '/x' }], /\/x does not exist/],
    ['a missing parent', [{ op: 'add', path: '/x/y', value: 1 }], /\/x\/y does not exist/],
    ['a failed test', [{ op: 'test', path: '/a', value: 2 }], /the test failed/],
    ['an index too large', [{ op: 'add', path: '/l/9', value: 1 }], /"9" is no index/],
    ['an index with a leading zero', [{ op: 'add', path: '/l/00', value: 1 }], /"00" is no index/],
    ['inherited names', [{ op: 'remove', path: '/constructor' }], /does not exist/],
    ['a way through the prototype', [{ op: 'add', path: '/__proto__/x', value: 1 }], /does not exist/],
    ['a move into itself', [{ op: 'move', from: '/o', path: '/o/p' }], /inside of "from"/],
  ])('refuses %s', (_name, patch, message) => {
    expect(() => jsonPatch({ a: 1, l: [], o: {} }, patch)).toThrow(message);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  it('refuses what is no patch', () => {
    expect(() => jsonPatch({}, {})).toThrow(/list of operations/);
    expect(() => jsonPatch({}, [{ op: 'grow', path: '/a' }])).toThrow(/operation 0/);
    expect(() => jsonPatch({}, [{ op: 'add', path: 'a', value: 1 }])).toThrow(/operation 0/);
    const long = Array.from({ length: maxJsonPatchOperations + 1 }, () => ({
      op: 'test',
      path: '',
      value: {},
    }));
    expect(() => jsonPatch({}, long)).toThrow(/operations/);
  });

  it('refuses copies that double the document again and again', () => {
    const doubling = Array.from({ length: 64 }, (_, at) => ({ op: 'copy', from: '', path: `/a${at}` }));
    expect(() => jsonPatch({ a: 'x'.repeat(100) }, doubling)).toThrow(/copies of the JSON patch/);
    const deepening = Array.from({ length: 64 }, () => ({ op: 'copy', from: '', path: '/a' }));
    expect(() => jsonPatch({}, deepening)).not.toThrow();
    const nesting = Array.from({ length: 300 }, (_, at) => ({
      op: 'add',
      path: '/a'.repeat(at + 1),
      value: {},
    }));
    expect(() => jsonPatch({}, [...nesting, { op: 'copy', from: '', path: '/b' }])).toThrow(/nests deeper/);
  });

  it('a copy is another value than what it was copied from', () => {
    const patch = [
      { op: 'copy', from: '/a', path: '/b' },
      { op: 'add', path: '/b/x', value: 1 },
    ];
    expect(jsonPatch({ a: {} }, patch)).toEqual({ a: {}, b: { x: 1 } });
  });

  it('a member named __proto__ is one like any other', () => {
    const patched = jsonPatch({ a: 1 }, [
      { op: 'add', path: '/__proto__', value: { polluted: 1 } },
      { op: 'copy', from: '/__proto__', path: '/__proto__/b' },
      { op: 'remove', path: '/a' },
    ]);
    expect(JSON.stringify(patched)).toBe('{"__proto__":{"polluted":1,"b":{"polluted":1}}}');
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });

  it('leaves the document and the patch it was given alone', () => {
    const target = { a: [1, { b: 2 }] };
    const patch = [
      { op: 'replace', path: '/a/1/b', value: 3 },
      { op: 'add', path: '/c', value: { d: [] } },
      { op: 'add', path: '/c/d/0', value: 4 },
    ];
    const before = structuredClone(patch);
    expect(jsonPatch(target, patch)).toEqual({ a: [1, { b: 3 }], c: { d: [4] } });
    expect(target).toEqual({ a: [1, { b: 2 }] });
    expect(patch).toEqual(before);
  });
});
