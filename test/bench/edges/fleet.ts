/** The parent's end of the process that plays the edges. */

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Orders } from './simulated-edges-main.ts';

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

export class Fleet {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #orders = 0;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('./simulated-edges.js', import.meta.url)));
    this.#child.on('message', (answer: Answer) => this.#waiting.get(answer.id)?.(answer));
    this.#child.on('exit', () => {
      for (const [id, settle] of this.#waiting) settle({ id, error: 'the simulated edges have died' });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async tell<O extends keyof Orders>(order: O, args: Orders[O]['args']): Promise<Orders[O]['result']> {
    this.#orders += 1;
    const id = this.#orders;
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.send({ id, order, args });
    });
    this.#waiting.delete(id);
    if (answer.error !== undefined) throw new Error(answer.error);
    // Both ends are built from the same types.
    return answer.result as Orders[O]['result'];
  }

  async end(): Promise<void> {
    if (!this.#child.connected) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.disconnect();
    await gone;
  }
}
