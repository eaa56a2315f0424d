// Runs the stages of `npm test` one after the other and ends with what ran, what was skipped and every failure, so
// that the last lines of a log say what failed.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
/** The account of failures, all in all: with the lines before and after it, it fits in the last 60 of a log. */
const failureLinesMax = 48;
const linesOfOneFailureMax = 10;
const lineLengthMax = 200;

/** @returns the exit code */
export async function runStages(stages) {
  const scratch = mkdtempSync(join(tmpdir(), 'hawser-test-'));
  const results = [];
  for (const [at, stage] of stages.entries()) {
    process.stdout.write(`\n== ${stage.name}\n`);
    const outcomeFile = join(scratch, `outcome-${at}`);
    const startedMs = performance.now();
    const { code, tail } = await run(stage, outcomeFile);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    results.push({ name: stage.name, code, seconds, tail, outcome: readOutcome(outcomeFile) });
  }
  rmSync(scratch, { recursive: true });
  return report(results);
}

function report(results) {
  const outcomes = results.flatMap(({ outcome }) => outcome ?? []);
  const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0);
  const failures = results.flatMap(failuresOf);
  const skipped = outcomes.flatMap((outcome) => outcome.skipped);
  const lines = ['', '== what ran'];
  for (const { name, code, seconds } of results)
    lines.push(`${code === 0 ? '✓' : '✗'} ${name} (${seconds} s)`);
  if (skipped.length > 0) lines.push('', '== what was skipped, and why');
  for (const { name, reason } of skipped) lines.push(`- ${name}: ${reason}`);
  const skipsForbidden = process.env.HAWSER_TEST_SKIPS === 'forbidden' && skipped.length > 0;
  if (skipsForbidden) lines.push('', 'skips are forbidden in this run');
  if (failures.length > 0) lines.push('', '== what failed', ...failureLines(failures));
  lines.push('', `${passed} passed, ${failures.length} failed, ${skipped.length} skipped`);
  process.stdout.write(`${lines.join('\n')}\n`);
  return results.every(({ code }) => code === 0) && passed > 0 && !skipsForbidden ? 0 : 1;
}

/** What its tests report; a stage that failed and reports nothing is a failure itself, told by the end of its output. */
function failuresOf({ name, code, tail, outcome }) {
  const failures = outcome?.failed ?? [];
  if (code === 0 || failures.length > 0) return failures;
  return [{ name: `${name}: exit code ${code}`, lines: tail }];
}

function failureLines(failures) {
  const each = Math.min(linesOfOneFailureMax, Math.max(1, Math.floor(failureLinesMax / failures.length)));
  const lines = failures.flatMap((failure) => [
    `✗ ${failure.name}`,
    ...failure.lines.slice(0, each - 1).map((line) => `    ${line}`),
  ]);
  if (failures.length > failureLinesMax)
    lines.splice(failureLinesMax - 1, Infinity, `… and ${failures.length - failureLinesMax + 1} more`);
  return lines.map((line) => (line.length <= lineLengthMax ? line : `${line.slice(0, lineLengthMax - 1)}…`));
}

/** The stage's output goes on as it comes, in colour where ours is; its last lines are kept. */
function run({ script, args }, outcomeFile) {
  return new Promise((ended) => {
    const colour = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
    const env = { ...process.env, ...colour, HAWSER_TEST_OUTCOME: outcomeFile };
    const child = spawn(process.execPath, [resolve(root, script), ...args], { cwd: root, env });
    let tail = '';
    for (const [stream, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        to.write(text);
        tail = (tail + text).slice(-linesOfOneFailureMax * lineLengthMax);
      });
    }
    child.stdin.end();
    child.on('close', (code) => ended({ code: code ?? 1, tail: lastLines(tail) }));
  });
}

function lastLines(text) {
  const lines = stripVTControlCharacters(text).split('\n');
  return lines.filter((line) => line.trim() !== '').slice(1 - linesOfOneFailureMax);
}

function readOutcome(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return undefined;
  }
}
