/**
 * Hostile input from a seed: JSON values that break naive readers, and mutations of good documents and texts.
 * The same seed makes the same input, so a failure is named by its seed.
 */

import { type Random, seededRandom } from '#beehive/random.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Stand in a document for texts that no JSON writer would write; `textOf` puts those in. */
const raw: Readonly<Record<string, () => string>> = {
  '@deep-list@': () => '['.repeat(10_000) + ']'.repeat(10_000),
  '@deep-object@': () => `${'{"a":'.repeat(10_000)}null${'}'.repeat(10_000)}`,
  '@endless@': () => '['.repeat(10_000),
  '@huge@': () => '1e999',
  '@long-number@': () => '9'.repeat(400),
  '@twice@': () => '{"a":1,"a":{"b":2},"__proto__":{"polluted":true}}',
  '@megabyte@': () => `"${'x'.repeat(1 << 20)}"`,
  '@megabyte-key@': () => `{"${'k'.repeat(1 << 20)}":1}`,
};
const cheap = ['@huge@', '@long-number@', '@twice@', '@deep-list@', '@deep-object@', '@endless@'];
const costly = ['@megabyte@', '@megabyte-key@'];

const words = [
  '',
  '\0',
  '\ud800',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '../../etc/passwd',
  '%2e%2e/%00',
  'null',
  'node/other/default/pod/x',
  'a/b/c/d/e/f/g/h',
  '$(touch x)',
  '`id`',
  "'; DROP TABLE meta; --",
  '+/#',
  'e\u0301\u202e\ufeff',
  'x'.repeat(300),
  '9007199254740993',
  '-1',
  '1e400',
  'true',
];
const keys = [
  '__proto__',
  'constructor',
  'prototype',
  'metadata',
  'spec',
  'status',
  'items',
  'content',
  'kind',
  '',
  'then',
  'toJSON',
];
const scalars: readonly Json[] = [
  null,
  [],
  '',
  0,
  {},
  true,
  -0,
  -1,
  1e308,
  2 ** 53,
  [null],
  [[[[]]]],
  [{}],
  { content: null },
  { '': { '': {} } },
  { length: -1 },
  { valueOf: 'x' },
  { toJSON: null, valueOf: 1, toString: [] },
];

export class Chaos {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  int(below: number): number {
    return Math.floor(this.#random.next() * below);
  }

  chance(p: number): boolean {
    return this.#random.next() < p;
  }

  pick<T>(list: readonly T[]): T {
    const found = list[this.int(list.length)];
    if (found === undefined) throw new RangeError('nothing to pick from');
    return found;
  }

  word(): string {
    return this.pick(words);
  }

  /** A value that nobody expects where it stands. */
  value(): Json {
    if (this.chance(0.003)) return this.pick(costly);
    if (this.chance(0.1)) return this.pick(cheap);
    if (this.chance(0.3)) return this.word();
    if (this.chance(0.1)) return owned([['__proto__', { polluted: true }]]);
    if (this.chance(0.05)) return owned([['constructor', owned([['prototype', { polluted: true }]])]]);
    return this.pick(scalars);
  }

  /** The document with one or a few places changed. */
  document(value: Json): Json {
    let changed = value;
    for (let left = 1 + this.int(3); left > 0; left -= 1) changed = this.#change(changed);
    return changed;
  }

  /** JSON text of a changed document, or changed text. */
  json(value: Json): string {
    if (this.chance(0.05)) return textOf(this.value());
    if (this.chance(0.6)) return textOf(this.document(value));
    return this.text(textOf(value));
  }

  /** Cut, doubled, flipped, and with foreign pieces put in. */
  text(text: string): string {
    let changed = text;
    for (let left = 1 + this.int(4); left > 0; left -= 1) {
      const at = this.int(changed.length + 1);
      const end = at + this.int(Math.min(64, changed.length - at) + 1);
      switch (this.int(6)) {
        case 0:
          changed = changed.slice(0, at);
          break;
        case 1:
          changed = changed.slice(0, at) + changed.slice(end);
          break;
        case 2:
          changed = changed.slice(0, end) + changed.slice(at);
          break;
        case 3:
          changed = changed.slice(0, at) + String.fromCharCode(this.int(0x180)) + changed.slice(at + 1);
          break;
        case 4:
          changed = changed.slice(0, at) + this.word() + changed.slice(at);
          break;
        default:
          changed = changed.slice(0, at) + textOf(this.pick(scalars)) + changed.slice(end);
      }
    }
    return changed;
  }

  bytes(bytes: Uint8Array): Uint8Array {
    const changed = [...bytes];
    for (let left = 1 + this.int(5); left > 0; left -= 1) {
      const at = this.int(changed.length + 1);
      switch (this.int(5)) {
        case 0:
          changed.length = at;
          break;
        case 1:
          changed.splice(at, this.int(16));
          break;
        case 2:
          changed.splice(at, 0, ...Array.from({ length: this.int(16) }, () => this.int(256)));
          break;
        case 3:
          changed.splice(at, 0, ...changed.slice(at, at + this.int(32)));
          break;
        default:
          changed[at] = this.pick([0, 1, 0x7f, 0x80, 0xff, this.int(256)]);
      }
    }
    return Uint8Array.from(changed, (byte) => byte ?? 0);
  }

  #change(value: Json): Json {
    const entries = entriesOf(value);
    if (entries.length === 0 || this.chance(0.08)) return this.value();
    const at = this.int(entries.length);
    const [key, child] = entries[at] ?? ['', null];
    const what = this.int(20);
    if (what === 0) entries.splice(at, 1);
    else if (what === 1) entries[at] = [this.pick(keys), child];
    else if (what === 2) entries.push([this.pick(keys), this.value()]);
    else if (what === 3) entries.push([key, child]);
    else if (what === 4) entries[at] = [this.word(), child];
    else entries[at] = [key, this.#change(child)];
    return isList(value) ? entries.map(([, item]) => item) : owned(entries);
  }
}

export function textOf(value: Json): string {
  const text = JSON.stringify(value);
  return text.replaceAll(/"(@[a-z-]+@)"(?!:)/g, (found, name: string) => raw[name]?.() ?? found);
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function entriesOf(value: Json): [string, Json][] {
  return typeof value === 'object' && value !== null ? Object.entries(value) : [];
}

/** Keys such as `__proto__` as keys like any other. */
function owned(entries: readonly (readonly [string, Json])[]): Json {
  return Object.fromEntries(entries);
}
