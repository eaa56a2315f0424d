/**
 * The long fuzzing run: HAWSER_LONG_CASES cases (10,000,000 unless it says otherwise), one process for each
 * processor, every one with seeds of its own that change from run to run. Prints what docs/fuzzing.md records.
 */

import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { caseCount, complaintsOf, type FuzzReport, runFuzz } from '#test/fuzz/run-fuzz.ts';

const cases = Number(process.env.HAWSER_LONG_CASES ?? 10_000_000);
const firstSeed = Number(process.env.HAWSER_LONG_SEED ?? Math.floor(Date.now() / 1000));
const processes = availableParallelism();
const hourMs = 3_600_000;

test(`${cases} cases: each is refused or taken, and memory is as before`, {
  timeout: 6 * hourMs,
}, async () => {
  const startedMs = performance.now();
  const runs = await Promise.allSettled(
    Array.from({ length: processes }, (_, at) => runFuzz(cases / processes, firstSeed + at, 6 * hourMs)),
  );
  const reports = runs.flatMap((run) => (run.status === 'fulfilled' ? [run.value] : []));
  for (const run of runs) if (run.status === 'rejected') process.stdout.write(`${String(run.reason)}\n`);
  process.stdout.write(recordOf(reports, (performance.now() - startedMs) / 60_000));
  expect(reports.length).toBe(processes);
  for (const report of reports) expect(complaintsOf(report)).toEqual([]);
});

function recordOf(reports: readonly FuzzReport[], minutes: number): string {
  const all = reports.reduce((sum, report) => sum + caseCount(report), 0);
  const lines = [`${new Date().toISOString().slice(0, 10)}: ${all} cases in ${minutes.toFixed(1)} min`];
  for (const { name } of reports[0]?.targets ?? []) {
    const parts = reports.flatMap(({ targets }) => targets.filter((target) => target.name === name));
    const sum = (of: (part: (typeof parts)[number]) => number) =>
      parts.reduce((total, part) => total + of(part), 0);
    const slowest = Math.max(...parts.map(({ slowestMs }) => slowestMs));
    lines.push(
      `| ${name} | ${sum(({ cases: count }) => count)} | ${sum(({ taken }) => taken)} | ${sum(({ refused }) => refused)} | ${slowest} |`,
    );
  }
  for (const { seed, heapBefore, heapAfter, faults } of reports) {
    const megabytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
    lines.push(
      `seed ${seed}: heap ${megabytes(heapBefore)} -> ${megabytes(heapAfter)} MB, ${faults.length} faults`,
    );
  }
  return `${lines.join('\n')}\n`;
}
