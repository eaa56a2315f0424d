import { expect, test } from 'vitest';
import { yamlLimits } from '#protocol/limits.ts';
import { parseYaml, parseYamlDocuments, YamlError } from './yaml.ts';

test('one document, or several', () => {
  expect(parseYaml('a: 1\nb: [x, {y: null}]\n')).toEqual({ a: 1, b: ['x', { y: null }] });
  expect(parseYaml('')).toBe(null);
  expect(parseYamlDocuments('a: 1\n---\n---\nb: 2\n')).toEqual([{ a: 1 }, { b: 2 }]);
  expect(() => parseYaml('a: 1\n---\nb: 2\n')).toThrow('several documents');
});

const many = yamlLimits.depthMax + 1;
const rows: [string, string][] = [
  ['lists within lists', '['.repeat(100_000)],
  ['maps within maps', '{"a":'.repeat(100_000)],
  ['brackets that a comment and a string seem to close', '[ "]", # ]\n'.repeat(many)],
  ['dashes on a line', `${'- '.repeat(100_000)}x`],
  ['ever more indent', Array.from({ length: many }, (_, at) => `${' '.repeat(at)}a:\n`).join('')],
  ['question marks', '? '.repeat(100_000)],
  ['aliases of aliases', bomb(30)],
  ['an alias of itself', 'a: &a [*a, *a]\nb: *b\n'],
  ['too much text', `a: ${'x'.repeat(yamlLimits.bytesMax)}`],
  ['a key twice', 'a: 1\nb: {c: 1, c: 2}\n'],
  ['a key twice, once as text', '1: a\n"1": b\n'],
  ['a map as a key', '{a: 1}: b'],
  ['an alias as a key', 'a: &a x\n*a : b\n'],
  ['keys within keys', '? '.repeat(120)],
  ['brackets that nothing opened', ']'.repeat(yamlLimits.bytesMax)],
  ['half a string', 'a: "x'],
  ['a tab', 'a:\n\t- b: [}'],
];

test.each(rows)('%s: refused', (_, text) => {
  expect(() => parseYaml(text)).toThrow(YamlError);
});

test('as deep as an object of Kubernetes nests, and no prototype is written to', () => {
  const deep = Array.from({ length: 60 }, (_, at) => `${'  '.repeat(at)}a:\n`).join('');
  expect(parseYaml(deep)).toHaveProperty(Array.from({ length: 60 }, () => 'a').join('.'), null);
  const value = parseYaml('__proto__: {polluted: 1}\nconstructor: {prototype: {polluted: 1}}\n');
  expect(Object.keys(value ?? {})).toEqual(['__proto__', 'constructor']);
  expect(Reflect.get({}, 'polluted')).toBeUndefined();
});

function bomb(levels: number): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
  for (let level = 1; level < levels; level += 1) {
    lines.push(`a${level}: &a${level} [${`*a${level - 1}, `.repeat(9)}]`);
  }
  return lines.join('\n');
}
