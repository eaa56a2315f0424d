/** A log file with a cap: at `bytesMax` it becomes `.1`, the former `.1` becomes `.2`, and so on; the last goes. */

import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export class RotatingLog {
  readonly #file: string;
  readonly #bytesMax: number;
  readonly #filesMax: number;
  #fd: number;
  #bytes: number;

  constructor(file: string, options: { bytesMax: number; filesMax: number }) {
    mkdirSync(dirname(file), { recursive: true });
    this.#file = file;
    this.#bytesMax = options.bytesMax;
    this.#filesMax = options.filesMax;
    this.#fd = openSync(file, 'a', 0o640);
    this.#bytes = fstatSync(this.#fd).size;
  }

  /** A full disk loses log lines, never the daemon. */
  write(chunk: Uint8Array): void {
    try {
      if (this.#bytes + chunk.byteLength > this.#bytesMax && this.#bytes > 0) this.#rotate();
      this.#bytes += writeSync(this.#fd, chunk);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EIO')))
        throw error;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #rotate(): void {
    closeSync(this.#fd);
    for (let at = this.#filesMax - 1; at >= 1; at -= 1) {
      const from = at === 1 ? this.#file : `${this.#file}.${at - 1}`;
      try {
        renameSync(from, `${this.#file}.${at}`);
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
      }
    }
    this.#fd = openSync(this.#file, 'w', 0o640);
    this.#bytes = 0;
  }
}
