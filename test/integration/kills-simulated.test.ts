/**
 * The edge killed at a thousand moments that a seed chooses, before and after each effect that it may have: what runs
 * at the end is what is wanted. With real containers: test/e2e/killed.test.ts.
 */

import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { expect, it } from 'vitest';
import { simulateKills } from '../fixtures/simulated-kills.ts';

/** Each life opens a store and copies it: that should not wait for a disk. */
const directory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const seed = 7;

it('ends with exactly what is wanted after a thousand kills', { timeout: 300_000 }, async () => {
  const { complaints, story } = await simulateKills({ seed, moments: 1000, directory });
  expect(complaints, `seed ${seed}: ${story.slice(-50).join('; ')}`).toEqual([]);
  expect(story.filter((it) => it === 'killed').length).toBeGreaterThanOrEqual(1000);
});
