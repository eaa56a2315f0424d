import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeUnless } from '#test/describe-unless.ts';
import { openSecretDirectory, secretDirectories } from './secret-directory.ts';

const tmpfs = '/dev/shm';
const hasTmpfs = existsSync(tmpfs) && statfsSync(tmpfs).type === 0x01021994;

describeUnless(hasTmpfs ? undefined : '/dev/shm is no tmpfs', 'the directory of secrets', () => {
  let memory: string;
  /** Is there, as the directory of an edge is. */
  const root = fileURLToPath(new URL('.', import.meta.url));
  beforeEach(() => {
    memory = mkdtempSync(join(tmpfs, 'hawser-test-'));
  });
  afterEach(() => rmSync(memory, { recursive: true, force: true }));

  it('is on a tmpfs, for us alone, and the same for the same edge', () => {
    const directory = openSecretDirectory(root, [tmpdir(), memory]) ?? '';
    expect(directory.startsWith(`${memory}/hawser-`)).toBe(true);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(openSecretDirectory(root, [memory])).toBe(directory);
    expect(openSecretDirectory(tmpdir(), [memory])).not.toBe(directory);
    expect(secretDirectories(root, [memory])).toEqual([directory]);
  });

  it('goes when the edge that it was of is no more, and no other does', () => {
    const roots = ['gone', 'here', 'new'].map((name) => mkdtempSync(join(tmpdir(), `hawser-${name}-`)));
    const [gone = '', here = '', fresh = ''] = roots;
    const [left, kept] = [gone, here].map((root) => openSecretDirectory(root, [memory]) ?? '');
    rmSync(gone, { recursive: true });
    mkdirSync(join(memory, 'hawser-of-somebody'));
    const made = openSecretDirectory(fresh, [memory]) ?? '';
    expect([left, kept, made].map((path) => existsSync(path ?? ''))).toEqual([false, true, true]);
    expect(existsSync(join(memory, 'hawser-of-somebody'))).toBe(true);
    for (const root of [here, fresh]) rmSync(root, { recursive: true });
  });

  it('is not one that others can enter, or a link to elsewhere', () => {
    const directory = openSecretDirectory(root, [memory]) ?? '';
    chmodSync(directory, 0o755);
    expect(openSecretDirectory(root, [memory])).toBeUndefined();
    rmSync(directory, { recursive: true });
    symlinkSync(tmpdir(), directory);
    expect(openSecretDirectory(root, [memory])).toBeUndefined();
    expect(openSecretDirectory(root, [join(memory, 'absent')])).toBeUndefined();
  });
});
