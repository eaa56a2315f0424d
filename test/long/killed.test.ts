/**
 * edgecore killed at HAWSER_LONG_KILLS random moments (100 unless it says otherwise) while its pods are created,
 * changed and deleted, on a real container runtime. HAWSER_LONG_SEED repeats a run.
 */

import { expect, it } from 'vitest';
import { needsCri } from '../containers/runtime.ts';
import { describeUnless } from '../describe-unless.ts';
import { killAtRandomMoments } from '../fixtures/killed-edge.ts';

const moments = Number(process.env.HAWSER_LONG_KILLS ?? 100);
const seed = Number(process.env.HAWSER_LONG_SEED ?? Math.floor(Date.now() / 1000));

describeUnless(needsCri, 'edgecore that is killed', () => {
  it(`leaves the runtime with exactly what is wanted, after ${moments} random moments`, {
    timeout: 60_000 + moments * 30_000,
  }, async () => {
    const progress = (text: string) => {
      process.stdout.write(`seed ${seed}: ${text}\n`);
    };
    const { complaints, ...done } = await killAtRandomMoments({ seed, moments, progress });
    progress(JSON.stringify(done));
    expect(complaints, `seed ${seed}`).toEqual([]);
  });
});
