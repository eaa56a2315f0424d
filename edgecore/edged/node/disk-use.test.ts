import { link, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { DiskUses, diskUse, sumOf } from './disk-use.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hawser-disk-'));
});
afterEach(() => rm(directory, { recursive: true }));

it('counts files below, each once, and does not follow links out', async () => {
  await mkdir(join(directory, 'a/b'), { recursive: true });
  await writeFile(join(directory, 'a/b/file'), Buffer.alloc(1_000_000));
  await link(join(directory, 'a/b/file'), join(directory, 'again'));
  await symlink('/', join(directory, 'out'));
  const { usedBytes, inodesUsed } = await diskUse(directory);
  expect(usedBytes).toBeGreaterThanOrEqual(1_000_000);
  expect(usedBytes).toBeLessThan(1_100_000);
  expect(inodesUsed).toBe(5);
});

it('finds nothing where nothing is', async () => {
  expect(await diskUse(join(directory, 'none'))).toEqual({ usedBytes: 0, inodesUsed: 0 });
  const one = { usedBytes: 1, inodesUsed: 2 };
  expect(sumOf([one, one])).toEqual({ usedBytes: 2, inodesUsed: 4 });
});

it('looks at a directory at most once a minute', async () => {
  const clock = new ManualClock();
  const uses = new DiskUses(clock);
  const before = await uses.of(directory);
  await writeFile(join(directory, 'file'), Buffer.alloc(100_000));
  expect(await uses.of(directory)).toEqual(before);
  await clock.advance(60_000);
  expect((await uses.of(directory)).usedBytes).toBeGreaterThanOrEqual(100_000);
});
