import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RotatingLog } from './rotating-log.ts';
import { superviseLimits } from './supervise.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hawser-log-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const sizes = () =>
  readdirSync(dir)
    .sort()
    .map((name) => [name, statSync(join(dir, name)).size] as const);
const line = (text: string, bytes: number) => Buffer.from(`${text.padEnd(bytes - 1)}\n`);

describe('a log', () => {
  it('takes no more of the disk than its cap, however much is written', () => {
    const limits = { bytesMax: 10_000, filesMax: 3 };
    const log = new RotatingLog(join(dir, 'x.log'), limits);
    let mostBytes = 0;
    for (let at = 0; at < 10_000; at += 1) {
      log.write(line(`message ${at}`, 100));
      if (at % 97 === 0)
        mostBytes = Math.max(
          mostBytes,
          sizes().reduce((sum, [, bytes]) => sum + bytes, 0),
        );
    }
    log.close();
    expect(mostBytes).toBeLessThanOrEqual(limits.bytesMax * limits.filesMax);
    expect(sizes().map(([name]) => name)).toEqual(['x.log', 'x.log.1', 'x.log.2']);
    const kept = ['x.log.2', 'x.log.1', 'x.log']
      .map((name) => readFileSync(join(dir, name), 'utf8'))
      .join('');
    expect([...kept.matchAll(/message (\d+)/g)].map((match) => Number(match[1]))).toEqual(
      Array.from({ length: 300 }, (_, at) => 9_700 + at),
    );
  });

  it('goes on where it was when it is opened again, and counts what is there', () => {
    for (let at = 0; at < 5; at += 1) {
      const log = new RotatingLog(join(dir, 'x.log'), { bytesMax: 250, filesMax: 2 });
      log.write(line(`start ${at}`, 100));
      log.close();
    }
    expect(sizes()).toEqual([
      ['x.log', 100],
      ['x.log.1', 200],
    ]);
  });

  it('of a daemon has at most 30 MiB', () => {
    const { bytesMax, filesMax } = superviseLimits.log;
    expect(bytesMax * filesMax).toBe(30 * 1024 * 1024);
  });
});
