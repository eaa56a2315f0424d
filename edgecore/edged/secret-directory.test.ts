import { chmodSync, existsSync, mkdtempSync, rmSync, statfsSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSecretDirectory, secretDirectories } from './secret-directory.ts';

const tmpfs = '/dev/shm';
const hasTmpfs = existsSync(tmpfs) && statfsSync(tmpfs).type === 0x01021994;

describe.skipIf(!hasTmpfs)('the directory of secrets (needs a tmpfs at /dev/shm)', () => {
  let memory: string;
  beforeEach(() => {
    memory = mkdtempSync(join(tmpfs, 'hawser-test-'));
  });
  afterEach(() => rmSync(memory, { recursive: true, force: true }));

  it('is on a tmpfs, for us alone, and the same for the same edge', () => {
    const directory = openSecretDirectory('/data/a', [tmpdir(), memory]) ?? '';
    expect(directory.startsWith(`${memory}/hawser-`)).toBe(true);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(openSecretDirectory('/data/a', [memory])).toBe(directory);
    expect(openSecretDirectory('/data/b', [memory])).not.toBe(directory);
    expect(secretDirectories('/data/a', [memory])).toEqual([directory]);
  });

  it('is not one that others can enter, or a link to elsewhere', () => {
    const directory = openSecretDirectory('/data/a', [memory]) ?? '';
    chmodSync(directory, 0o755);
    expect(openSecretDirectory('/data/a', [memory])).toBeUndefined();
    rmSync(directory, { recursive: true });
    symlinkSync(tmpdir(), directory);
    expect(openSecretDirectory('/data/a', [memory])).toBeUndefined();
    expect(openSecretDirectory('/data/a', [join(memory, 'absent')])).toBeUndefined();
  });
});
