/** Says a lasting trouble once, and again only when it is another one; an edge may be offline for months. */

import type { Log } from '#beehive/log.ts';

export class Complaint {
  readonly #log: Log;
  #said: string | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  say(kind: string, fields: object, text: string): void {
    if (this.#said === kind) this.#log.debug(fields, text);
    else this.#log.warn(fields, text);
    this.#said = kind;
  }

  /** The trouble is over: it is news again when it comes back. */
  settle(): void {
    this.#said = undefined;
  }
}
