/** Keeps the house as the design has it: walls between folders, sizes, and words that may not stand in the code. */

import { describe, expect, test } from 'vitest';
import { readDependencies } from './tidy/dependencies.ts';
import { shapeFaults } from './tidy/shape.ts';
import { type Fault, importsOf, readSources, sourceOf } from './tidy/sources.ts';
import { exceptions, tokenFaults } from './tidy/tokens.ts';
import { wallFaults } from './tidy/walls.ts';

/** The rules name what they forbid. */
const sources = readSources().filter(({ path }) => !path.startsWith('test/tidy'));

function report(faults: readonly Fault[]): string {
  return faults.map(({ path, line, text }) => `${path}:${line}: ${text}`).join('\n');
}

describe('the repository', () => {
  test('has sources to look at', () => {
    expect(sources.length).toBeGreaterThan(50);
  });

  test('keeps its walls', () => {
    expect(report(sources.flatMap(wallFaults))).toBe('');
  });

  test('keeps its sizes and forms', () => {
    expect(report(sources.flatMap(shapeFaults))).toBe('');
  });

  test('uses no word that may not stand there', () => {
    expect(report(sources.flatMap(tokenFaults))).toBe('');
  });

  test('imports only files that are there, and makes no stale exception', () => {
    const paths = new Set(sources.map(({ path }) => path));
    const missing = sources
      .filter(({ path }) => !path.startsWith('build/'))
      .flatMap((source) => importsOf(source).map((each) => ({ ...each, path: source.path })))
      .filter(({ target }) => target !== undefined && !paths.has(target) && !target.startsWith('test/tidy'))
      .map(({ path, line, specifier }) => ({ path, line, text: `"${specifier}" is not there` }));
    expect(report(missing)).toBe('');
    expect(exceptions().filter((path) => !paths.has(path))).toEqual([]);
  });

  test('names no limit that nothing keeps to', () => {
    const of = (path: string) => sources.find((source) => source.path === path)?.code ?? [];
    const names = ['protocol/limits.ts', 'apiserver/limits.ts'].flatMap((path) =>
      of(path).flatMap((line) => /^ {2}(?:readonly )?(\w+):/.exec(line)?.[1] ?? []),
    );
    const others = sources.filter(({ path }) => !path.endsWith('/limits.ts') && path !== 'test/tidy.test.ts');
    const used = new Set(others.flatMap(({ code }) => code.join('\n').match(/\w+/g) ?? []));
    const unused = names.filter((name) => !used.has(name));
    expect(names.length).toBeGreaterThan(60);
    expect(unused).toEqual([]);
  });

  test('has no file that nothing names', () => {
    const namedBy = new Map<string, Set<string>>();
    for (const { path, code } of sources)
      for (const [, name = ''] of code.join('\n').matchAll(/['/]([\w.-]+\.(?:ts|mjs))'/g))
        namedBy.set(name, (namedBy.get(name) ?? new Set()).add(path));
    const unnamed = sources.filter(({ path }) => {
      const name = path.split('/').at(-1) ?? '';
      const isStarted =
        /\.(test|config)\.ts$/.test(name) || path.startsWith('build/') || path.startsWith('test/');
      return !isStarted && ![...(namedBy.get(name) ?? [])].some((other) => other !== path);
    });
    expect(
      report(unnamed.map(({ path }) => ({ path, line: 1, text: 'nothing imports it: delete it' }))),
    ).toBe('');
  });
});

/** Each is a decision: the number of packages that run in production, theirs included. */
const dependenciesMax = 20;
const productionPackagesMax = 240;
const registry = 'https://registry.npmjs.org/';

describe('the dependencies', () => {
  const { dependencies, devDependencies, packages } = readDependencies();

  test('are few, and each in one exact version', () => {
    expect(Object.keys(dependencies).length).toBeLessThanOrEqual(dependenciesMax);
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
      ([, version]) => !/^\d+\.\d+\.\d+$/.test(version),
    );
    expect(loose).toEqual([]);
  });

  test('bring few others, all from the registry and with a hash of what was looked at', () => {
    const ours = Object.entries(packages).filter(([path, { dev }]) => path !== '' && dev !== true);
    expect(ours.length).toBeLessThanOrEqual(productionPackagesMax);
    const strange = Object.entries(packages).filter(
      ([path, { resolved, integrity }]) =>
        path !== '' && (!(resolved ?? registry).startsWith(registry) || !integrity?.startsWith('sha512-')),
    );
    expect(strange.map(([path]) => path)).toEqual([]);
  });
});

describe('a wall', () => {
  const table: [string, string, string | undefined][] = [
    ['edgecore/edgehub/a.ts', "import { x } from '#cloudcore/config.ts';", 'may not import cloudcore/'],
    ['cloudcore/kube/a.ts', "import { x } from '#apiserver/api.ts';", 'may not import apiserver/'],
    ['protocol/a.ts', "import { x } from '#beehive/clock.ts';", 'may not import beehive/'],
    ['beehive/a.ts', "import type { x } from '#edgecore/config.ts';", 'may not import edgecore/'],
    ['edgecore/a.ts', "import { x } from '#test/certificates.ts';", 'may not import test/'],
    ['edgecore/a.test.ts', "import { x } from '#test/certificates.ts';", undefined],
    ['keadm/a.ts', "import { x } from '#edgecore/config.ts';", undefined],
    ['edgecore/edgehub/a.ts', "import { x } from '../eventbus/b.ts';", 'may not import eventbus'],
    ['edgecore/edgehub/a.ts', "const { x } = await import('../eventbus/b.ts');", 'may not import eventbus'],
    ['edgecore/edgehub/a.ts', "import {\n  x,\n  y,\n} from '../config.ts';", 'may not import config.ts'],
    ['edgecore/edgehub/a.ts', "import { x } from '../store/b.ts';", undefined],
    ['edgecore/edged/cri/a.ts', "import { x } from '../plan.ts';", undefined],
    ['edgecore/edgecore.ts', "import { x } from './eventbus/b.ts';", undefined],
    ['edgecore/a.ts', "import { x } from '../protocol/b.ts';", 'write #protocol/b.ts'],
    ['edgecore/a.ts', "import { x } from '#edgecore/b.ts';", 'relative'],
    ['edgecore/a.ts', "import { x } from '#protocol';", 'no barrels'],
    ['edgecore/edged/a.ts', "import WebSocket from 'ws';", 'belongs to protocol/transport/'],
    ['edgecore/edged/a.test.ts', "import WebSocket from 'ws';", undefined],
    ['edgecore/edged/a.ts', "import left from 'left-pad';", 'has no owner'],
    ['apiserver/auth/a.ts', "import * as x from '@peculiar/x509/build/x.js';", undefined],
    ['edgecore/edged/a.ts', "// import x from 'ws';", undefined],
  ];
  test.each(table)('%s: %s', (path, text, fault) => {
    expectFault(wallFaults(sourceOf(path, text)), fault);
  });

  test('names the line', () => {
    expect(report(wallFaults(sourceOf('beehive/a.ts', "\n\nimport x from 'ws';\n")))).toMatch(
      /^beehive\/a\.ts:3: /,
    );
  });
});

describe('a shape', () => {
  const filler = (count: number) => '  step();\n'.repeat(count);
  const table: [string, string, string, string | undefined][] = [
    ['a long file', 'a.ts', 'x;\n'.repeat(501), '501 lines'],
    ['a full file', 'a.ts', 'x;\n'.repeat(500), undefined],
    ['a long function', 'a.ts', `export function f(): void {\n${filler(69)}}\n`, '71 lines'],
    ['a full function', 'a.ts', `export function f(): void {\n${filler(68)}}\n`, undefined],
    ['a head of several lines', 'a.ts', `function f(\n  x: 1,\n): void {\n${filler(69)}}\n`, '73 lines'],
    ['a long call', 'a.ts', `  reject(\n    x,\n  );\n${filler(90)}  }\n`, undefined],
    ['a method', 'a.ts', `class A {\n  async #run(x: 1): Promise<void> {\n${filler(70)}  }\n}\n`, '72 lines'],
    ['an arrow', 'a.ts', `const f = async () => {\n${filler(70)}};\n`, '72 lines'],
    ['a class', 'a.ts', `export class A {\n${'  x = 1;\n'.repeat(100)}}\n`, undefined],
    ['a table', 'a.ts', `export const a = {\n${'  x: 1,\n'.repeat(100)}};\n`, undefined],
    ['a barrel', 'a.ts', "export * from './b.ts';\n", 'no re-exports'],
    ['a default', 'a.ts', 'export default 1;\n', 'no default'],
    ['an index', 'edgecore/index.ts', 'x;\n', 'no index'],
    ['a hiding name', 'edgecore/string-utils.ts', 'x;\n', 'hides'],
    ['a loud name', 'edgecore/EdgeHub.ts', 'x;\n', 'kebab-case'],
  ];
  test.each(table)('%s', (_what, path, text, fault) => {
    expectFault(shapeFaults(sourceOf(path, text)), fault);
  });
});

describe('a word', () => {
  const table: [string, string, string | undefined][] = [
    ['edgecore/a.ts', 'const now = Date.now();', 'Clock'],
    ['edgecore/a.ts', 'const now = new Date();', 'Clock'],
    ['edgecore/a.ts', 'const then = new Date(nowMs);', undefined],
    ['edgecore/a.test.ts', 'const now = Date.now();', undefined],
    ['edgecore/a.ts', '// Date.now would not do', undefined],
    ['beehive/clock.ts', 'const now = Date.now();', undefined],
    ['edgecore/a.ts', "import { setTimeout } from 'node:timers/promises';", 'Clock'],
    ['edgecore/a.ts', 'socket.setTimeout(5);', 'Clock'],
    ['edgecore/a.test.ts', 'const x = y as any;', 'unknown'],
    ['edgecore/a.ts', 'function f(x: any) {}', 'unknown'],
    ['edgecore/a.ts', 'const any = { at: anything };', undefined],
    ['edgecore/a.ts', '// @ts-ignore', 'mend'],
    ['edgecore/a.ts', '// TODO later', 'do it'],
    ['edgecore/a.ts', 'tls.connect({ rejectUnauthorized: false });', 'trust'],
    ['edgecore/a.ts', "createHash('sha1')", 'sha256'],
    ['edgecore/a.ts', "spawn('x', { shell: true });", 'list'],
    ['edgecore/a.ts', "import { exec } from 'node:child_process';", 'execFile'],
    ['edgecore/a.ts', "import { execFile } from 'node:child_process';", undefined],
    ['edgecore/a.ts', 'statement.run(); regex.exec(text);', undefined],
    ['edgecore/a.ts', `sql.prepare(\`SELECT * FROM meta WHERE key = \${key}\`);`, 'bind'],
    ['edgecore/a.ts', "sql.exec('DELETE FROM meta WHERE key = ' + key);", 'bind'],
    ['edgecore/a.ts', "sql.prepare('SELECT * FROM meta WHERE key = ?').get(key);", undefined],
    ['edgecore/a.test.ts', 'test.only("x", () => {});', 'all'],
  ];
  test.each(table)('%s: %s', (path, text, fault) => {
    expectFault(tokenFaults(sourceOf(path, text)), fault);
  });
});

function expectFault(faults: readonly Fault[], fault: string | undefined): void {
  if (fault === undefined) expect(report(faults)).toBe('');
  else expect(report(faults)).toContain(fault);
}
