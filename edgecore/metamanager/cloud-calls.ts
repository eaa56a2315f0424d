/**
 * Questions to the cloud, through EdgeHub: each gets an id of its own, and every way to get no answer becomes a
 * sentence for who asked. When the link goes, what was asked over it fails at once: its answer cannot come.
 */

import type { Bus } from '#beehive/bus.ts';
import { BusError } from '#beehive/errors.ts';
import { CancelledError } from '#protocol/errors.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { operation, source } from '#protocol/names.ts';

export type CloudAnswer = { readonly answer: Envelope } | { readonly failure: string };

export class CloudCalls {
  readonly #bus: Bus;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal;
  #link = new AbortController();

  constructor(bus: Bus, timeoutMs: number, signal: AbortSignal) {
    this.#bus = bus;
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
  }

  /** The link that questions went over so far is gone. */
  linkLost(): void {
    this.#link.abort();
    this.#link = new AbortController();
  }

  /** @throws CancelledError when the module stops. */
  async ask(request: Envelope): Promise<CloudAnswer> {
    const { source: from, group, operation: verb, resource } = request.route;
    // An id of its own, because the asker waits on the request's.
    const own = newEnvelope({ source: from, group, operation: verb, resource }, request.content);
    const signal = AbortSignal.any([this.#link.signal, this.#signal]);
    try {
      const answer = await this.#bus.request(source.edgeHub, own, { timeoutMs: this.#timeoutMs, signal });
      if (answer.route.operation !== operation.error) return { answer };
      return { failure: typeof answer.content === 'string' ? answer.content : 'the cloud refused' };
    } catch (error) {
      if (error instanceof CancelledError && !this.#signal.aborted) {
        return { failure: 'the connection to the cloud was lost' };
      }
      if (!(error instanceof BusError)) throw error;
      if (error.code !== 'timeout') return { failure: error.message };
      return { failure: `the cloud did not answer within ${this.#timeoutMs} ms` };
    }
  }
}
