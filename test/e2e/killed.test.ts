/** edgecore killed at random moments; the long run of this is in test/long. */

import { expect, it } from 'vitest';
import { needsCri } from '../containers/runtime.ts';
import { describeUnless } from '../describe-unless.ts';
import { killAtRandomMoments } from '../fixtures/killed-edge.ts';

const seed = 1;

describeUnless(needsCri, 'edgecore that is killed', () => {
  it('leaves the runtime with exactly what is wanted, after 15 random moments', {
    timeout: 300_000,
  }, async () => {
    const { complaints } = await killAtRandomMoments({ seed, moments: 15 });
    expect(complaints, `seed ${seed}`).toEqual([]);
  });
});
