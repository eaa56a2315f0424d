/**
 * Container logs in the format every CRI client reads: `<time> <stream> <F|P> <text>`, one file a container
 * that is renamed away when full. A line longer than the limit is cut into parts marked P.
 */

import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '#beehive/clock.ts';

export type LogStream = 'stdout' | 'stderr';

const lineBytesMax = 16 * 1024;
const newline = 0x0a;

/** Turns chunks of one stream into log lines; the end of an unfinished line waits for the next chunk. */
export class LineSplitter {
  readonly #stream: LogStream;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: LogStream) {
    this.#stream = stream;
  }

  push(chunk: Buffer, time: string): Buffer {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const out: Buffer[] = [];
    let at = 0;
    for (;;) {
      const end = data.indexOf(newline, at);
      const length = (end === -1 ? data.length : end) - at;
      if (length > lineBytesMax) {
        out.push(this.#line(data.subarray(at, at + lineBytesMax), 'P', time));
        at += lineBytesMax;
      } else if (end === -1) break;
      else {
        out.push(this.#line(data.subarray(at, end), 'F', time));
        at = end + 1;
      }
    }
    this.#rest = Buffer.from(data.subarray(at));
    return Buffer.concat(out);
  }

  /** What stands unfinished when the stream has ended. */
  end(time: string): Buffer {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest.length === 0 ? rest : this.#line(rest, 'F', time);
  }

  #line(text: Buffer, tag: 'F' | 'P', time: string): Buffer {
    return Buffer.concat([Buffer.from(`${time} ${this.#stream} ${tag} `), text, Buffer.from([newline])]);
  }
}

/** RFC 3339 with nine digits, as CRI logs have it. */
export function logTime(nowMs: number): string {
  return new Date(nowMs).toISOString().replace('Z', '000000Z');
}

export interface LogFileOptions {
  readonly path: string;
  readonly bytesMax: number;
  /** With the one that is written. */
  readonly filesMax: number;
}

/** The file of one container. When the disk refuses, lines are dropped and counted: no container waits for a log. */
export class LogFile {
  readonly #options: LogFileOptions;
  readonly #clock: Clock;
  #fd: number | undefined;
  #bytes = 0;
  dropped = 0;

  constructor(options: LogFileOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  append(lines: Buffer): void {
    if (lines.length === 0) return;
    try {
      if (this.#bytes + lines.length > this.#options.bytesMax && this.#bytes > 0) this.#rotate();
      this.#fd ??= this.#open();
      writeSync(this.#fd, lines);
      this.#bytes += lines.length;
    } catch {
      this.dropped += 1;
      this.close();
    }
  }

  close(): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): number {
    mkdirSync(dirname(this.#options.path), { recursive: true, mode: 0o755 });
    const fd = openSync(this.#options.path, 'a', 0o640);
    this.#bytes = fstatSync(fd).size;
    return fd;
  }

  #rotate(): void {
    this.close();
    const { path, filesMax } = this.#options;
    const stamp = new Date(this.#clock.now())
      .toISOString()
      .replace(/[-:]/g, '')
      .replace('T', '-')
      .slice(0, 19);
    const rotated = rotatedFiles(path);
    // Numbered on from the newest, so that names sort by age within one instant too.
    const newest = rotated.at(-1);
    const same = newest?.startsWith(`${path}.${stamp}-`) ? Number(newest.slice(-6)) + 1 : 0;
    const target = `${path}.${stamp}-${String(same).padStart(6, '0')}`;
    renameSync(path, target);
    const all = [...rotated, target];
    for (const file of all.slice(0, Math.max(0, all.length - (filesMax - 1)))) unlinkSync(file);
    this.#bytes = 0;
  }
}

/** The renamed files of a log, oldest first. */
export function rotatedFiles(path: string): string[] {
  const prefix = `${basename(path)}.`;
  return readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix))
    .sort()
    .map((name) => join(dirname(path), name));
}
