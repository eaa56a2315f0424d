/** What lies below a directory, as the disk counts it: without what is mounted there, and each file once. */

import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#beehive/clock.ts';

export interface DiskUse {
  readonly usedBytes: number;
  readonly inodesUsed: number;
}

const none: DiskUse = { usedBytes: 0, inodesUsed: 0 };
const blockBytes = 512;
/** Beyond this a directory is counted as far as we came: looking must not cost more than what is found. */
const entriesMax = 100_000;
const freshMs = 60_000;
const rememberedMax = 1024;

export async function diskUse(directory: string): Promise<DiskUse> {
  const root = await lstat(directory).catch(() => undefined);
  if (root === undefined) return none;
  let usedBytes = 0;
  const seen = new Set<number>();
  const open = [directory];
  for (let at = open.pop(); at !== undefined && seen.size < entriesMax; at = open.pop()) {
    const found = await lstat(at).catch(() => undefined);
    if (found === undefined || found.dev !== root.dev || seen.has(found.ino)) continue;
    seen.add(found.ino);
    usedBytes += found.blocks * blockBytes;
    if (!found.isDirectory()) continue;
    const entries = await opendir(at).catch(() => undefined);
    if (entries === undefined) continue;
    for await (const { name } of entries) if (open.length < entriesMax) open.push(join(at, name));
  }
  return { usedBytes, inodesUsed: seen.size };
}

/** Counts of directories, each at most once a minute, as long as they are asked for. */
export class DiskUses {
  readonly #clock: Clock;
  readonly #known = new Map<string, { readonly use: Promise<DiskUse>; readonly atMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(directory: string): Promise<DiskUse> {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#known.get(directory);
    if (known !== undefined && nowMs - known.atMs < freshMs) return known.use;
    this.#known.delete(directory);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size < rememberedMax) break;
      this.#known.delete(oldest);
    }
    const use = diskUse(directory);
    this.#known.set(directory, { use, atMs: nowMs });
    return use;
  }
}

export function sumOf(uses: readonly DiskUse[]): DiskUse {
  return uses.reduce(
    (sum, it) => ({
      usedBytes: sum.usedBytes + it.usedBytes,
      inodesUsed: sum.inodesUsed + it.inodesUsed,
    }),
    none,
  );
}
