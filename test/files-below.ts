/** What lies below the directory of a daemon that is running: what it takes away meanwhile is left out. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Files and directories, by their paths from it. */
export async function filesBelow(directory: string): Promise<string[]> {
  const entries = (await unlessGone(readdir(directory, { withFileTypes: true }))) ?? [];
  const found = await Promise.all(
    entries.map(async (entry) => {
      if (!entry.isDirectory()) return [entry.name];
      const below = await filesBelow(join(directory, entry.name));
      return [entry.name, ...below.map((path) => join(entry.name, path))];
    }),
  );
  return found.flat();
}

/** Undefined when it is not there, or not any more. */
export async function unlessGone<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
