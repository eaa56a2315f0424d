/**
 * Writes the files of a configMap-like volume so that a reader sees all of the old or all of the new: the files
 * stand in a directory of their own, `..data` leads to it and is swapped by one rename, and each visible name
 * is a link through `..data`. Applications that watch volumes know this layout.
 */

import {
  chmod,
  chown,
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
  /** Its owner; root, or whoever runs edgecore, when undefined. */
  readonly uid?: number | undefined;
}

/** Paths below the volume's directory. */
export type VolumeFiles = ReadonlyMap<string, VolumeFile>;

export class VolumePathError extends HawserError<{ code: 'volume-path'; path: string }> {}

const dataLink = '..data';

/**
 * True when something was changed. `group`: may read it all, besides the owner; only root can give that.
 * @throws VolumePathError for a path that would leave the volume.
 */
export async function writeVolume(
  directory: string,
  asked: VolumeFiles,
  group?: number | undefined,
): Promise<boolean> {
  for (const path of asked.keys()) refuseBadPath(path);
  const files = group === undefined ? asked : readableByGroup(asked);
  await mkdir(directory, { recursive: true, mode: 0o755 });
  if (group !== undefined) await shareDirectory(directory, group);
  const old = await readlink(join(directory, dataLink)).catch(() => undefined);
  if (old !== undefined && (await holdsExactly(join(directory, old), files))) return false;
  const fresh = await mkdtemp(join(directory, '..files_'));
  await chmod(fresh, 0o755);
  for (const [path, file] of files) {
    const target = join(fresh, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o755 });
    await writeFile(target, file.data);
    // The owner first: it takes the bits of a program away.
    if (group !== undefined || file.uid !== undefined) await chown(target, file.uid ?? 0, group ?? 0);
    await chmod(target, file.mode);
  }
  if (group !== undefined) await shareDirectories(fresh, group);
  await swap(directory, fresh, files);
  return true;
}

const ownerAndGroupRead = 0o440;
/** Files that are made there later belong to the group, too. */
const groupDirectory = 0o2550;

function readableByGroup(files: VolumeFiles): VolumeFiles {
  return new Map([...files].map(([path, it]) => [path, { ...it, mode: it.mode | ownerAndGroupRead }]));
}

async function shareDirectories(root: string, group: number): Promise<void> {
  await shareDirectory(root, group);
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true }))
    if (entry.isDirectory()) await shareDirectory(join(entry.parentPath, entry.name), group);
}

async function shareDirectory(path: string, group: number): Promise<void> {
  const { mode, uid, gid } = await lstat(path);
  if (gid === group && (mode & groupDirectory) === groupDirectory) return;
  await chown(path, uid, group);
  await chmod(path, (mode & 0o7777) | groupDirectory);
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
    const { mode, uid } = await lstat(path);
    if (wanted.uid !== undefined && wanted.uid !== uid) return false;
    if ((mode & 0o7777) !== (wanted.mode & 0o7777) || !wanted.data.equals(await readFile(path))) return false;
  }
  return true;
}
