/**
 * Stops and removals that containerd 1.6 refuses although they can be done.
 *
 * A container that ends by itself while it is killed: its shim is gone, the call fails with "ttrpc: closed", and the
 * next one finds it ended. A container whose start was cut, for whoever asked for it was killed: CRI calls it ended,
 * but its task may still be there, and neither it nor its sandbox can be removed; containerd's own interface ends it.
 */

import type { Clock } from '#beehive/clock.ts';
import { RuntimeError } from '../runtime-service.ts';
import type { CriCalls } from './cri-calls.ts';
import { deletedTaskAnswer, emptyAnswer } from './cri-messages.ts';

const triesMax = 5;
const againMs = 100;
const sigkill = 9;

export class CriEndings {
  readonly #calls: CriCalls;
  readonly #clock: Clock;
  readonly #closed: AbortSignal;

  constructor(calls: CriCalls, clock: Clock, closed: AbortSignal) {
    this.#calls = calls;
    this.#clock = clock;
    this.#closed = closed;
  }

  /** `ending` may be asked several times. */
  async end<T>(ending: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await ending();
      } catch (error) {
        if (!(error instanceof RuntimeError) || tries === triesMax) throw error;
        const task = /cannot delete running task ([\w-]+)/.exec(error.message)?.[1];
        if (task !== undefined) await this.#endTask(task);
        else if (!/ttrpc: closed/.test(error.message)) throw error;
        await this.#clock.sleep(againMs, this.#closed);
      }
    }
  }

  async #endTask(id: string): Promise<void> {
    const kill = { container_id: id, signal: sigkill, all: true };
    try {
      await this.#calls.change('Tasks/Kill', kill, emptyAnswer, id);
      await this.#calls.change('Tasks/Delete', { container_id: id }, deletedTaskAnswer, id);
    } catch (error) {
      // It has ended meanwhile, or has not quite: the next try says which.
      if (!(error instanceof RuntimeError)) throw error;
    }
  }
}
