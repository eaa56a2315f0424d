/** The end of `npm test`'s output names every failure. */

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

let directory: string;

beforeAll(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'hawser-stages-')));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

interface Stage {
  readonly name: string;
  readonly script: string;
  readonly args: readonly string[];
}

/** The output of these stages, run in a process of their own, and its exit code. */
async function runStages(stages: readonly Stage[]): Promise<{ lines: string[]; code: number | null }> {
  const module = JSON.stringify(new URL('stages.mjs', import.meta.url).href);
  const source = `import { runStages } from ${module}; process.exit(await runStages(${JSON.stringify(stages)}));`;
  const { HAWSER_TEST_SKIPS: _, ...env } = process.env;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { env });
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [output, code] = await Promise.all([text(child.stdout), ended, text(child.stderr)]);
  return { lines: output.split('\n'), code };
}

function script(name: string, source: string): string {
  writeFileSync(join(directory, name), source);
  return join(directory, name);
}

function vitest(folder: string): Stage {
  const args = ['run', '--root', folder, '--globals', '--configLoader=runner', '--reporter=default'];
  const reporter = new URL('outcome-reporter.ts', import.meta.url).pathname;
  return {
    name: 'unit tests',
    script: 'node_modules/vitest/vitest.mjs',
    args: [...args, `--reporter=${reporter}`],
  };
}

const twoFaults = `
  test('passes', () => {});
  test('is skipped', (context) => context.skip('no such machine'));
  describe('the sum', () => {
    test('is right', () => { expect(1 + 1).toBe(3); });
    test('says nothing endless', () => { throw new Error('x'.repeat(5000) + '\\n'.repeat(500) + 'end'); });
  });`;
const badHook = `describe('a suite', () => { beforeAll(() => { throw new Error('no server'); }); test('never runs', () => {}); });`;
const unhandled = `test('leaves work behind', async () => {
    setTimeout(() => { throw new Error('left behind'); });
    await new Promise((resolve) => setTimeout(resolve, 50));
  });`;

describe('the end of the output', () => {
  let lines: string[];
  let code: number | null;

  beforeAll(async () => {
    const folder = join(directory, 'faults');
    mkdirSync(folder);
    for (const [name, source] of Object.entries({
      'faults.test.mjs': twoFaults,
      'load.test.mjs': `import './missing.mjs';`,
      'hook.test.mjs': badHook,
      'unhandled.test.mjs': unhandled,
    }))
      writeFileSync(join(folder, name), source);
    const types = script('types.mjs', `console.log('x.ts(1,1): error TS1: no'); process.exit(2);`);
    const fine = script('fine.mjs', '');
    ({ lines, code } = await runStages([
      { name: 'types', script: types, args: [] },
      vitest(folder),
      { name: 'lint', script: fine, args: [] },
    ]));
    lines = lines.slice(-60);
  });

  test.each([
    ['types: exit code 2', 'x.ts(1,1): error TS1: no'],
    ['faults.test.mjs > the sum > is right', 'AssertionError: expected 2 to be 3 // Object.is equality'],
    ['faults.test.mjs > the sum > says nothing endless', `Error: ${'x'.repeat(100)}`],
    ['load.test.mjs', 'missing.mjs'],
    ['hook.test.mjs > a suite', 'Error: no server'],
    ['unhandled error', 'Error: left behind'],
  ])('names %s and why', (name, reason) => {
    const at = lines.findIndex((line) => line.startsWith(`✗ ${name}`));
    const end = lines.findIndex((line, index) => index > at && !line.startsWith('    '));
    expect(at).not.toBe(-1);
    expect(lines.slice(at, end).join('\n')).toContain(reason);
  });

  test('tells where and what, in lines of bounded length', () => {
    const at = lines.indexOf('✗ faults.test.mjs > the sum > is right');
    expect(lines.slice(at + 1, at + 5)).toEqual([
      expect.stringMatching(/^ {4}at .*faults\.test\.mjs:5:\d+$/),
      expect.any(String),
      '    expected 3',
      '    received 2',
    ]);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(200);
  });

  test('counts them', () => {
    expect(lines).toContain('- faults.test.mjs > is skipped: no such machine');
    expect(lines.at(-2)).toBe('2 passed, 6 failed, 2 skipped');
    expect(code).toBe(1);
  });
});

test('of very many failures, the last 60 lines name as many as fit and count the rest', async () => {
  const folder = join(directory, 'many');
  mkdirSync(folder);
  const many = `for (let at = 0; at < 70; at++) test('number ' + at, () => { throw new Error('no'); });`;
  writeFileSync(join(folder, 'many.test.mjs'), many);
  const { lines } = await runStages([vitest(folder)]);
  const last = lines.slice(-60);
  expect(last).toContain('✗ many.test.mjs > number 0');
  expect(last).toContain('✗ many.test.mjs > number 46');
  expect(last).toContain('… and 23 more');
});

test('a run that passes ends with its count alone', async () => {
  const folder = join(directory, 'fine');
  mkdirSync(folder);
  writeFileSync(join(folder, 'fine.test.mjs'), `test('passes', () => {});`);
  const { lines, code } = await runStages([vitest(folder)]);
  expect(lines.at(-2)).toBe('1 passed, 0 failed, 0 skipped');
  expect(lines.join('\n')).not.toContain('what failed');
  expect(code).toBe(0);
});
