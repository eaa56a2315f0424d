/**
 * What a subPath leads to inside its volume. A container that may write to the volume may put links there at any
 * moment, so that nothing is taken by its path: the place is worked out once, must lie in the volume, and is then
 * opened step by step from the volume's own directory, following no link. What is missing is made on the way.
 */

import { constants } from 'node:fs';
import { chmod, type FileHandle, lstat, mkdir, open, realpath, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { HawserError } from '#protocol/errors.ts';

export class SubPathError extends HawserError<{ code: 'sub-path'; path: string }> {}

/** open(2): only a place to start from or to mount, no content. Node has no name for it. */
const pathOnly = 0o10000000;
const depthMax = 64;

/** Why a subPath is none, in the kubelet's words; undefined for a good one. */
export function subPathFault(subPath: string): string | undefined {
  if (subPath.startsWith('/')) return `error SubPath \`${subPath}\` must not be an absolute path`;
  if (subPath.split('/').includes('..'))
    return `unable to provision SubPath \`${subPath}\`: must not contain '..'`;
  if (subPath.includes('\0')) return 'a SubPath holds no zero byte';
  return undefined;
}

/** Open, to be closed by who asked. @throws SubPathError */
export async function openSubPath(volume: string, subPath: string): Promise<FileHandle> {
  const root = await realpath(volume);
  const { mode } = await stat(root);
  const place = await placeOf(root, join(root, subPath));
  const inner = relative(root, place)
    .split('/')
    .filter((it) => it !== '');
  if (inner.length > depthMax) throw fault(subPath, `is deeper than ${depthMax} directories`);
  let at = await open(root, pathOnly | constants.O_DIRECTORY);
  try {
    for (const name of inner) {
      const next = await step(at, name, mode & 0o7777, subPath);
      await at.close();
      at = next;
    }
    return at;
  } catch (error) {
    await at.close();
    throw error;
  }
}

/** The path without links of what is there, with the rest as it is named. */
async function placeOf(root: string, path: string): Promise<string> {
  const real = await realpath(path).catch(unlessMissing);
  if (real === undefined) {
    // A link that leads nowhere would be followed once something is there.
    if ((await lstat(path).catch(unlessMissing)) !== undefined)
      throw fault(path, 'is a link that leads nowhere');
    return join(await placeOf(root, dirname(path)), path.slice(dirname(path).length + 1));
  }
  if (real !== root && !real.startsWith(`${root}/`)) throw fault(path, 'leads out of the volume');
  return real;
}

/** One step down from an open directory, by its descriptor and not by its path. */
async function step(at: FileHandle, name: string, mode: number, subPath: string): Promise<FileHandle> {
  const below = `/proc/self/fd/${at.fd}/${name}`;
  const flags = pathOnly | constants.O_NOFOLLOW;
  let found = await open(below, flags).catch(unlessMissing);
  if (found === undefined) {
    await mkdir(below, { mode }).catch(unlessThere);
    found = await open(below, flags);
    // mkdir leaves out what the umask says.
    await chmod(`/proc/self/fd/${found.fd}`, mode);
  }
  if (!(await found.stat()).isSymbolicLink()) return found;
  await found.close();
  throw fault(subPath, 'has become a link meanwhile');
}

function fault(path: string, why: string): SubPathError {
  return new SubPathError(`${path} ${why}`, { code: 'sub-path', path });
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function unlessMissing(error: unknown): undefined {
  if (codeOf(error) === 'ENOENT') return undefined;
  throw error;
}

function unlessThere(error: unknown): void {
  if (codeOf(error) !== 'EEXIST') throw error;
}
