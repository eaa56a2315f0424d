/**
 * Mounts on the machine, below directories of ours only: memory for volumes, and what a subPath leads to. They outlive
 * edgecore like the containers that use them; what is below a directory is taken down before that is deleted.
 */

import { execFile } from 'node:child_process';
import { type FileHandle, readFile, realpath, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { describeError, HawserError } from '#protocol/errors.ts';

export class MountError extends HawserError<{ code: 'cannot-mount' | 'cannot-unmount'; path: string }> {}

export interface MachineMounts {
  /** False: this user may not mount. */
  readonly allowed: boolean;
  /** A file system in memory. @throws MountError */
  memory(target: string, sizeBytes: number | undefined): Promise<void>;
  /** What the handle has opened appears at the target, whatever its path leads to by now. @throws MountError */
  bind(opened: FileHandle, target: string): Promise<void>;
  isMounted(target: string): Promise<boolean>;
  /** @throws MountError when something stays mounted at or below the directory: then it must not be deleted. */
  unmountBelow(directory: string): Promise<void>;
}

const run = promisify(execFile);
const timeoutMs = 10_000;
/** One thing may be mounted over another. */
const roundsMax = 5;

export function createMachineMounts(): MachineMounts {
  return {
    allowed: process.geteuid?.() === 0,

    async memory(target, sizeBytes) {
      const options = [
        'nosuid',
        'nodev',
        'mode=0777',
        ...(sizeBytes === undefined ? [] : [`size=${sizeBytes}`]),
      ];
      await mount(target, ['-t', 'tmpfs', '-o', options.join(','), 'tmpfs', target]);
    },

    async bind(opened, target) {
      const source = `/proc/${process.pid}/fd/${opened.fd}`;
      // Without the flag mount(8) would look the path up once more; busybox has no such flag and does not.
      await mount(target, ['--no-canonicalize', '-o', 'bind', source, target]).catch(() =>
        mount(target, ['-o', 'bind', source, target]),
      );
      if (await isSame(opened, target)) return;
      await unmount(target);
      const why = `cannot mount what was opened at ${target}: it was replaced meanwhile`;
      throw new MountError(why, { code: 'cannot-mount', path: target });
    },

    async isMounted(target) {
      const real = await realpath(target).catch(unlessMissing);
      return real !== undefined && (await mountPoints()).includes(real);
    },

    async unmountBelow(directory) {
      // The kernel names mounts without the links that lead to them.
      const real = await realpath(directory).catch(unlessMissing);
      if (real === undefined) return;
      const below = async () =>
        (await mountPoints()).filter((at) => at === real || at.startsWith(`${real}/`));
      for (let rounds = 0; rounds < roundsMax; rounds += 1) {
        const mine = await below();
        if (mine.length === 0) return;
        // What was mounted last is listed last, and may lie inside of what was mounted before.
        for (const at of mine.reverse()) await unmount(at);
      }
      const [path = directory] = await below();
      throw new MountError(`${path} stays mounted`, { code: 'cannot-unmount', path });
    },
  };
}

export async function isSame(opened: FileHandle, path: string): Promise<boolean> {
  const [a, b] = [await opened.stat(), await stat(path).catch(() => undefined)];
  return a.dev === b?.dev && a.ino === b.ino;
}

function unlessMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}

async function mount(target: string, args: readonly string[]): Promise<void> {
  try {
    await run('mount', args, { timeout: timeoutMs });
  } catch (cause) {
    throw new MountError(describeError(cause), { code: 'cannot-mount', path: target }, { cause });
  }
}

/** One that is in use goes from sight now, and for good with its last user. */
async function unmount(at: string): Promise<void> {
  try {
    await run('umount', [at], { timeout: timeoutMs });
  } catch {
    try {
      await run('umount', ['-l', at], { timeout: timeoutMs });
    } catch (cause) {
      throw new MountError(describeError(cause), { code: 'cannot-unmount', path: at }, { cause });
    }
  }
}

/** As the kernel has them now, in the order in which they were made. */
async function mountPoints(): Promise<string[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  return text.split('\n').flatMap((line) => {
    const at = line.split(' ')[4];
    return at === undefined
      ? []
      : [at.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))];
  });
}
