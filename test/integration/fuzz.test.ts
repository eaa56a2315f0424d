/**
 * Hostile input in numbers, in a process of its own: an error of ours or success and nothing else, no prototype
 * written to, no hang, and no memory kept. The long run is test/long/fuzz.test.ts, its last record docs/fuzzing.md.
 */

import { expect, test } from 'vitest';
import { caseCount, complaintsOf } from '#test/fuzz/report.ts';
import { runFuzz } from '#test/fuzz/run-fuzz.ts';

const cases = 100_000;

test('100,000 cases: each is refused or taken, and memory is as before', { timeout: 240_000 }, async () => {
  const report = await runFuzz({ cases, seed: 20_261_120, timeoutMs: 220_000 });
  expect(complaintsOf(report)).toEqual([]);
  expect(caseCount(report)).toBeGreaterThanOrEqual(cases);
});
