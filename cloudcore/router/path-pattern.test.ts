import { describe, expect, it } from 'vitest';
import { isMoreParticular, matchPath, type PathPattern, parsePathPattern } from './path-pattern.ts';

function pattern(text: string): PathPattern {
  const parsed = parsePathPattern(text);
  return typeof parsed === 'string' ? expect.fail(parsed) : parsed;
}

describe('a path of a rule', () => {
  it.each([
    ['/a', 'a', 1],
    ['a/', 'a', 1],
    ['/a', 'a/b/c', 1],
    ['/a/{x}', 'a/1', 2],
    ['/a/{x}/c', 'a/1/c/d', 3],
    ['/a', 'b/a', undefined],
    ['/a', 'ab', undefined],
    ['/a/{x}', 'a', undefined],
    ['/a/{x}', 'a/', undefined],
    ['/a.c', 'abc', undefined],
    ['/(a+)+', 'aaaa', undefined],
    ['/a b'.replace(' ', '%20'), 'a%20b', 1],
    ['/ä', '%C3%A4', 1],
    ['/', 'x', 0],
  ])('%s on %s takes %s segments', (text, asked, taken) => {
    expect(matchPath(pattern(text), asked.split('/'))).toBe(taken);
  });

  it.each([
    ['/a//b', 'empty segment'],
    ['/a/{x}y', 'does not stand alone'],
    ['/a/{', 'does not stand alone'],
    ['/a/../b', 'leads elsewhere'],
    ['/a?b', 'character'],
    [`/${'a'.repeat(3_000)}`, 'at most'],
    [`/${'a/'.repeat(65)}`, 'segments'],
  ])('%s is none: %s', (text, why) => {
    expect(parsePathPattern(text)).toContain(why);
  });

  it('is more particular with an earlier literal, and when it is longer', () => {
    const order = ['/a/b/{x}', '/a/b', '/a/{x}/c', '/a/{x}', '/{x}/b', '/'];
    for (const [at, text] of order.entries()) {
      for (const other of order.slice(at + 1)) {
        expect([text, other, isMoreParticular(pattern(text), pattern(other))]).toEqual([text, other, true]);
        expect([other, text, isMoreParticular(pattern(other), pattern(text))]).toEqual([other, text, false]);
      }
    }
  });
});
