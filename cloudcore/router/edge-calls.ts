/**
 * Messages of rules to the nodes that are connected here, and their answers. What cannot leave fails at once; what has
 * left is never sent a second time, since the edge may have acted on it. Only the node that was asked can answer.
 */

import type { Bus } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { BusError } from '#beehive/errors.ts';
import { CancelledError, HawserError } from '#protocol/errors.ts';
import type { Envelope } from '#protocol/message.ts';
import { operation } from '#protocol/names.ts';
import type { SessionKind } from '#protocol/session.ts';

/** `lost` and `timeout`: the edge may have acted on it. All others: it has not. */
export class EdgeCallError extends HawserError<{
  readonly code: 'offline' | 'busy' | 'refused' | 'lost' | 'timeout';
}> {}

export interface EdgeCallOptions {
  /** Whether the edge answers; if not, the message is done when the link has it. */
  readonly awaitsAnswer: boolean;
  readonly timeoutMs: number;
  /** Of its body. */
  readonly bytes: number;
  readonly signal: AbortSignal;
}

interface Session {
  readonly kind: SessionKind;
  readonly over: AbortController;
  open: number;
  openBytes: number;
}

interface Waiting {
  readonly node: string;
  readonly resolve: (answer: Envelope) => void;
}

/** Of one node: more are refused, so that one slow edge costs the memory of so many and no other edge anything. */
const openMax = 64;
const openBytesMax = 32 * 1024 * 1024;

export class EdgeCalls {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #sessions = new Map<string, Session>();
  readonly #waiting = new Map<string, Waiting>();

  constructor({ bus, clock }: { readonly bus: Bus; readonly clock: Clock }) {
    this.#bus = bus;
    this.#clock = clock;
  }

  /** A newer session of a node ends what waits for the one before. */
  connected(node: string, kind: SessionKind): void {
    this.disconnected(node);
    this.#sessions.set(node, { kind, over: new AbortController(), open: 0, openBytes: 0 });
  }

  disconnected(node: string): void {
    this.#sessions.get(node)?.over.abort();
    this.#sessions.delete(node);
  }

  sessionOf(node: string): SessionKind | undefined {
    return this.#sessions.get(node)?.kind;
  }

  /** The edge's answer; undefined when none is awaited. @throws EdgeCallError */
  async send(node: string, envelope: Envelope, options: EdgeCallOptions): Promise<Envelope | undefined> {
    const session = this.#sessions.get(node);
    if (session === undefined)
      throw new EdgeCallError(`node ${node} is not connected to this cloudcore`, { code: 'offline' });
    if (session.open >= openMax || session.openBytes + options.bytes > openBytesMax)
      throw new EdgeCallError(
        `node ${node} has too many calls to do`,
        { code: 'busy' },
        { retry: 'backoff' },
      );
    session.open += 1;
    session.openBytes += options.bytes;
    try {
      return await this.#exchange(node, envelope, session, options);
    } finally {
      session.open -= 1;
      session.openBytes -= options.bytes;
      this.#waiting.delete(envelope.header.msg_id);
    }
  }

  /** False: nobody asked this node for it, or nobody waits any more. */
  take(node: string, answer: Envelope): boolean {
    const id = answer.header.parent_msg_id ?? '';
    const waiting = this.#waiting.get(id);
    if (waiting?.node !== node) return false;
    this.#waiting.delete(id);
    waiting.resolve(answer);
    return true;
  }

  async #exchange(
    node: string,
    envelope: Envelope,
    session: Session,
    { awaitsAnswer, timeoutMs, signal }: EdgeCallOptions,
  ): Promise<Envelope | undefined> {
    const untilMs = this.#clock.monotonicMs() + timeoutMs;
    const answered = new Promise<Envelope>((resolve) => {
      if (awaitsAnswer) this.#waiting.set(envelope.header.msg_id, { node, resolve });
    });
    const over = AbortSignal.any([session.over.signal, signal]);
    await this.#handOver(node, envelope, { timeoutMs, signal: over });
    if (!awaitsAnswer) return undefined;
    const done = new AbortController();
    const late = this.#clock.sleep(
      Math.max(0, untilMs - this.#clock.monotonicMs()),
      AbortSignal.any([done.signal, over]),
    );
    try {
      const answer = await Promise.race([answered, late]);
      if (answer !== undefined) return answer;
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
      const text = `node ${node} was disconnected before it answered; its app may have acted on the call`;
      throw new EdgeCallError(text, { code: 'lost' });
    } finally {
      done.abort();
      late.catch(() => {});
    }
    const text = `node ${node} did not answer within ${timeoutMs / 1000} s; its app may have acted on the call`;
    throw new EdgeCallError(text, { code: 'timeout' });
  }

  /** Resolves when the link has the message. */
  async #handOver(
    node: string,
    envelope: Envelope,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    try {
      const said = await this.#bus.request('cloudhub', envelope, options);
      if (said.route.operation !== operation.error) return;
      throw new EdgeCallError(`cannot send to node ${node}: ${String(said.content)}`, { code: 'refused' });
    } catch (error) {
      if (error instanceof CancelledError)
        throw new EdgeCallError(`node ${node} was disconnected meanwhile`, { code: 'lost' });
      if (!(error instanceof BusError)) throw error;
      const text =
        error.code === 'timeout'
          ? `the link to node ${node} takes nothing`
          : 'cloudcore has too much to send';
      throw new EdgeCallError(
        text,
        { code: error.code === 'timeout' ? 'lost' : 'busy' },
        { retry: 'backoff' },
      );
    }
  }
}
