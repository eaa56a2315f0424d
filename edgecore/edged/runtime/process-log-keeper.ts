/** Sees to it that exactly one log writer runs for a state directory, whoever started it. */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Log } from '#beehive/log.ts';
import { identify, isAlive } from './process-identity.ts';
import type { ProcessState } from './process-state.ts';

/** It needs little, and is held to it. */
const nodeFlags = ['--max-old-space-size=48', '--max-semi-space-size=1'];

export class LogWriterKeeper {
  readonly #state: ProcessState;
  readonly #file: string;
  readonly #log: Log;
  #tries = 0;

  constructor(file: string, state: ProcessState, log: Log) {
    this.#file = file;
    this.#state = state;
    this.#log = log;
  }

  /** Empty when all is well. */
  get missing(): string {
    return existsSync(this.#file) ? '' : `${this.#file} is missing`;
  }

  ensure(): void {
    const present = this.#state.writer();
    if (present !== undefined && isAlive(present)) return;
    const owner = identify(process.pid);
    if (owner === undefined || this.missing !== '') return;
    this.#tries += 1;
    if (this.#tries > 1) this.#log.warn({ tries: this.#tries }, 'the log writer ended, starting it again');
    const args = [...nodeFlags, this.#file, this.#state.containersDirectory, String(owner.pid), owner.start];
    const child = spawn(process.execPath, args, { detached: true, stdio: 'ignore', env: {}, cwd: '/' });
    child.on('error', (error) => this.#log.error({ err: error }, 'cannot start the log writer'));
    child.unref();
    const identity = child.pid === undefined ? undefined : identify(child.pid);
    if (identity !== undefined) this.#state.writeWriter(identity);
  }
}
