// `npm test`: types, lint, then the unit, integration and end-to-end tests; ends with what ran, what was skipped
// and why. HAWSER_TEST_SKIPS=forbidden makes a skip a failure (a machine that has all that the tests can use).

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'hawser-test-'));
const outcomeFile = join(scratch, 'outcome');
const stages = [
  ['types', 'node_modules/typescript/bin/tsc', []],
  ['lint and format', 'node_modules/@biomejs/biome/bin/biome', ['check', '.']],
  ...['unit', 'integration', 'e2e'].map((project) => [
    `${project} tests`,
    'node_modules/vitest/vitest.mjs',
    [
      'run',
      '--project',
      project,
      '--reporter=default',
      '--reporter=./test/outcome-reporter.ts',
      ...process.argv.slice(2),
    ],
  ]),
];

const stageResults = [];
for (const [name, script, args] of stages) {
  process.stdout.write(`\n== ${name}\n`);
  const startedMs = performance.now();
  const code = await run(script, args);
  stageResults.push({ name, code, seconds: ((performance.now() - startedMs) / 1000).toFixed(0) });
}

const outcomes = readOutcomes();
const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0);
const failed = outcomes.reduce((sum, outcome) => sum + outcome.failed, 0);
const skipped = outcomes.flatMap((outcome) => outcome.skipped);
process.stdout.write('\n== what ran\n');
for (const { name, code, seconds } of stageResults)
  process.stdout.write(`${code === 0 ? '✓' : '✗'} ${name} (${seconds} s)\n`);
if (skipped.length > 0) process.stdout.write('\n== what was skipped, and why\n');
for (const { name, reason } of skipped) process.stdout.write(`- ${name}: ${reason}\n`);
const skipsForbidden = process.env.HAWSER_TEST_SKIPS === 'forbidden' && skipped.length > 0;
if (skipsForbidden) process.stdout.write('\nskips are forbidden in this run\n');
rmSync(scratch, { recursive: true });
process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped.length} skipped\n`);
process.exit(stageResults.every(({ code }) => code === 0) && passed > 0 && !skipsForbidden ? 0 : 1);

function run(script, args) {
  return new Promise((resolve) => {
    const env = { ...process.env, HAWSER_TEST_OUTCOME: outcomeFile };
    const child = spawn(process.execPath, [join(root, script), ...args], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env,
    });
    child.on('close', (code) => resolve(code ?? 1));
  });
}

function readOutcomes() {
  let text = '';
  try {
    text = readFileSync(outcomeFile, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}
