import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { LineSplitter, LogFile, logTime, rotatedFiles } from './cri-log.ts';

describe('lines', () => {
  it('joins what comes in pieces, and ends what has no end', () => {
    const splitter = new LineSplitter('stdout');
    expect(splitter.push(Buffer.from('one\ntw'), 't').toString()).toBe('t stdout F one\n');
    expect(splitter.push(Buffer.from('o\n\n'), 't').toString()).toBe('t stdout F two\nt stdout F \n');
    expect(splitter.end('t').length).toBe(0);
    splitter.push(Buffer.from('rest'), 't');
    expect(splitter.end('t').toString()).toBe('t stdout F rest\n');
  });

  it('gives back every byte, however it was cut, in lines of bounded length', () => {
    const text = fc.array(fc.oneof(fc.string(), fc.constant('\n'), fc.constant('x'.repeat(20_000))), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 9000 }), (parts, size) => {
        const input = Buffer.from(`${parts.join('')}\n`);
        const splitter = new LineSplitter('stderr');
        let out = '';
        for (let at = 0; at < input.length; at += size)
          out += splitter.push(input.subarray(at, at + size), 't').toString('latin1');
        const lines = out.split('\n').slice(0, -1);
        expect(lines.every((line) => line.length <= 16 * 1024 + 20)).toBe(true);
        const back = lines.map((line) => line.slice(11) + (line[9] === 'F' ? '\n' : '')).join('');
        expect(back).toBe(input.toString('latin1'));
      }),
    );
  });

  it('has nine digits of a second', () => {
    expect(logTime(Date.UTC(2026, 0, 2, 3, 4, 5, 67))).toBe('2026-01-02T03:04:05.067000000Z');
  });
});

describe('file', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'hawser-log-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('is renamed when full, and keeps so many', async () => {
    const clock = new ManualClock();
    const path = join(directory, 'c/0.log');
    const file = new LogFile({ path, bytesMax: 10, filesMax: 3 }, clock);
    for (let n = 0; n < 6; n += 1) file.append(Buffer.from(`line ${n}\n`));
    file.close();
    expect(readFileSync(path, 'utf8')).toBe('line 5\n');
    expect(rotatedFiles(path).map((it) => readFileSync(it, 'utf8'))).toEqual(['line 3\n', 'line 4\n']);
    const again = new LogFile({ path, bytesMax: 100, filesMax: 3 }, clock);
    again.append(Buffer.from('more\n'));
    again.close();
    expect(readFileSync(path, 'utf8')).toBe('line 5\nmore\n');
  });

  it('drops lines rather than fail when the disk refuses', () => {
    writeFileSync(join(directory, 'file'), '');
    const path = join(directory, 'file/0.log');
    const file = new LogFile({ path, bytesMax: 10, filesMax: 2 }, new ManualClock());
    file.append(Buffer.from('lost\n'));
    expect(file.dropped).toBe(1);
  });
});
