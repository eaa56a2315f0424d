/**
 * The long fuzzing run: HAWSER_LONG_CASES cases (10,000,000 unless it says otherwise), one process for each
 * processor, every one with seeds of its own that change from run to run. What docs/fuzzing.md records is printed
 * at the end and stands in the folder HAWSER_LONG_RECORD from the first round on: `record.md`, and the reports of
 * each process in `seed-N.jsonl`.
 */

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { caseCount, complaintsOf, type FuzzReport, recordOf } from '#test/fuzz/report.ts';
import { runFuzz } from '#test/fuzz/run-fuzz.ts';

const cases = Number(process.env.HAWSER_LONG_CASES ?? 10_000_000);
const firstSeed = Number(process.env.HAWSER_LONG_SEED ?? Math.floor(Date.now() / 1000));
const folder = process.env.HAWSER_LONG_RECORD ?? join('node_modules/.cache/hawser-fuzz', `run-${firstSeed}`);
const processes = availableParallelism();
const timeoutMs = 12 * 3_600_000;

test(`${cases} cases: each is refused or taken, and memory is as before`, {
  timeout: timeoutMs,
}, async () => {
  mkdirSync(folder, { recursive: true });
  process.stdout.write(`record: ${join(folder, 'record.md')}\n`);
  const startedMs = performance.now();
  const latest = new Map<number, FuzzReport>();
  const record = () => recordOf([...latest.values()], (performance.now() - startedMs) / 60_000);
  const note = (report: FuzzReport) => {
    latest.set(report.seed, report);
    // Whole at any time, also when the run is stopped while it is written.
    writeFileSync(join(folder, 'record.md.new'), record());
    renameSync(join(folder, 'record.md.new'), join(folder, 'record.md'));
  };
  const progress = (report: FuzzReport) => {
    note(report);
    process.stdout.write(
      `${report.at} seed ${report.seed}: ${caseCount(report)} of ${cases / processes} cases\n`,
    );
  };
  const runs = await Promise.allSettled(
    Array.from({ length: processes }, async (_, at) => {
      const seed = firstSeed + at;
      const recordFile = join(folder, `seed-${seed}.jsonl`);
      const report = await runFuzz({ cases: cases / processes, seed, timeoutMs, recordFile, progress });
      note(report);
      return report;
    }),
  );
  const reports = runs.flatMap((run) => (run.status === 'fulfilled' ? [run.value] : []));
  for (const run of runs) if (run.status === 'rejected') process.stdout.write(`${String(run.reason)}\n`);
  process.stdout.write(record());
  expect(reports.length).toBe(processes);
  for (const report of reports) expect(complaintsOf(report)).toEqual([]);
});
