/**
 * Where volumes with secrets lie: in memory, where the machine has a tmpfs that we may write to, so that their
 * files never reach the disk. One directory of our own there, for our user alone; somebody else's is not used.
 */

import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import type { Log } from '#beehive/log.ts';

/** statfs(2) */
const tmpfsType = 0x01021994;
const namePattern = /^hawser-[0-9a-f]{16}$/;
/** Says whose directory it is: the path of the edge's own. */
const ownerFile = 'of';
export const memoryPlaces: readonly string[] = ['/run', '/dev/shm'];

/** The same at every start, so that what runs keeps its volumes. */
export function secretDirectories(root: string, candidates = memoryPlaces): string[] {
  const id = createHash('sha256').update(resolve(root)).digest('hex').slice(0, 16);
  return candidates.map((place) => join(place, `hawser-${id}`));
}

/** Makes it; undefined when there is no tmpfs for us. What edges left there that are no more is removed. */
export function openSecretDirectory(root: string, candidates = memoryPlaces): string | undefined {
  const directories = secretDirectories(root, candidates);
  const at = directories.findIndex((directory, index) => isOurs(directory, candidates[index] ?? ''));
  const directory = directories[at];
  if (directory === undefined) return undefined;
  writeFileSync(join(directory, ownerFile), resolve(root), { mode: 0o600 });
  for (const other of readdirSync(candidates[at] ?? ''))
    if (namePattern.test(other)) removeIfLeft(join(candidates[at] ?? '', other));
  return directory;
}

/** An edge whose own directory was deleted without `keadm reset` cannot clean up here. */
function removeIfLeft(directory: string): void {
  try {
    if (lstatSync(directory).uid !== process.getuid?.()) return;
    const root = readFileSync(join(directory, ownerFile), 'utf8');
    if (!existsSync(root)) rmSync(directory, { recursive: true, force: true });
  } catch (error) {
    // Not readable, not ours, or gone meanwhile.
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
}

/** Made when the first secret comes, for many an edge has none; `root` itself when there is no tmpfs for us. */
export function createSecretDirectory(root: string, candidates: readonly string[], log: Log): () => string {
  let directory: string | undefined;
  return () => {
    if (directory !== undefined) return directory;
    const inMemory = openSecretDirectory(root, candidates);
    if (inMemory === undefined)
      log.warn({}, 'no tmpfs here that we may write to: volumes with secrets lie on the disk');
    directory = inMemory ?? root;
    return directory;
  };
}

function isOurs(directory: string, place: string): boolean {
  try {
    if (statfsSync(place).type !== tmpfsType) return false;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Anybody may write in /dev/shm: a link, or a directory that others can enter, was put there by somebody else.
    const found = lstatSync(directory);
    return found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o077) === 0;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}
