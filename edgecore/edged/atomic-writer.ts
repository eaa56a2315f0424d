/**
 * Writes the files of a configMap-like volume so that a reader sees all of the old or all of the new: the files
 * stand in a directory of their own, `..data` leads to it and is swapped by one rename, and each visible name
 * is a link through `..data`. Applications that watch volumes know this layout.
 */

import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HawserError } from '#protocol/errors.ts';

export interface VolumeFile {
  readonly data: Buffer;
  readonly mode: number;
}

/** Paths below the volume's directory. */
export type VolumeFiles = ReadonlyMap<string, VolumeFile>;

export class VolumePathError extends HawserError<{ code: 'volume-path'; path: string }> {}

const dataLink = '..data';

/** True when something was changed. @throws VolumePathError for a path that would leave the volume. */
export async function writeVolume(directory: string, files: VolumeFiles): Promise<boolean> {
  for (const path of files.keys()) refuseBadPath(path);
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const old = await readlink(join(directory, dataLink)).catch(() => undefined);
  if (old !== undefined && (await holdsExactly(join(directory, old), files))) return false;
  const fresh = await mkdtemp(join(directory, '..files_'));
  await chmod(fresh, 0o755);
  for (const [path, file] of files) {
    const target = join(fresh, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    await writeFile(target, file.data);
    await chmod(target, file.mode);
  }
  await swap(directory, fresh, files);
  return true;
}

async function swap(directory: string, fresh: string, files: VolumeFiles): Promise<void> {
  const freshName = fresh.slice(directory.length + 1);
  await rm(join(directory, '..data_tmp'), { force: true });
  await symlink(freshName, join(directory, '..data_tmp'));
  await rename(join(directory, '..data_tmp'), join(directory, dataLink));
  const visible = new Set([...files.keys()].map((path) => path.split('/')[0] ?? path));
  for (const name of visible) {
    const link = join(directory, name);
    if ((await lstat(link).catch(() => undefined)) === undefined) await symlink(join(dataLink, name), link);
  }
  for (const name of await readdir(directory)) {
    const stale = name.startsWith('..') ? name !== dataLink && name !== freshName : !visible.has(name);
    if (stale) await rm(join(directory, name), { recursive: true, force: true });
  }
}

function refuseBadPath(path: string): void {
  const segments = path.split('/');
  const bad = path === '' || path.startsWith('/') || segments.includes('..') || path.startsWith('..');
  if (!bad) return;
  throw new VolumePathError(`"${path}" is no path inside a volume`, { code: 'volume-path', path });
}

async function holdsExactly(directory: string, files: VolumeFiles): Promise<boolean> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const present = entries.filter((it) => it.isFile());
  if (present.length !== files.size) return false;
  for (const entry of present) {
    const path = join(entry.parentPath, entry.name);
    const wanted = files.get(path.slice(directory.length + 1));
    if (wanted === undefined) return false;
    const { mode } = await lstat(path);
    if ((mode & 0o7777) !== (wanted.mode & 0o7777) || !wanted.data.equals(await readFile(path))) return false;
  }
  return true;
}
