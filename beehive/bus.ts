/**
 * The bus inside a daemon: modules know each other's names and message kinds, never each other's code.
 *
 * What it promises:
 * 1. Each module has one inbox with a named capacity. `send` puts an envelope there and answers `accepted`, or
 *    `full`, and then nothing was taken: the sender refuses, waits for `drained`, or drops a kind that needs
 *    no acknowledgement and counts it. `send` never waits and never throws for a full inbox.
 * 2. A module gets its envelopes in the order they were sent, one at a time per key (by default the resource
 *    path); different keys run side by side. A handler that fails is logged and counted; the next one runs.
 * 3. `request` sends and resolves with the answer that names the request as its parent, or rejects with
 *    BusError `timeout` or `full`. Answers go by `answer`, past every inbox: a module that waits for one can
 *    always get it, however full its inbox is. While a request is open, no other may have its id: that is a fault
 *    of the program, and BusError `same-id`. No handler waits for a request that only a later envelope of
 *    its own key could answer.
 * 4. An inbox outlives its module: what was not started when the module stopped waits for the next run.
 * 5. `taps` sees every envelope, read-only and without a promise to see it in time: metrics, debug log, tests.
 */

import { type Observable, Subject } from 'rxjs';
import { CancelledError } from '#protocol/errors.ts';
import type { Envelope } from '#protocol/message.ts';
import type { Clock } from './clock.ts';
import { BusError } from './errors.ts';
import type { Log } from './log.ts';
import { processSerially } from './process-serially.ts';

export type Handed = 'accepted' | 'full';

export interface InboxOptions {
  /** Envelopes that may wait or be in work at once. */
  readonly capacity: number;
  /** Handlers that may run at once. */
  readonly lanesMax: number;
  /** Envelopes of one key are handled in order; default: the resource path. */
  readonly keyOf?: (envelope: Envelope) => string;
}

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface Tap {
  readonly to: string;
  readonly envelope: Envelope;
  readonly handed: Handed | 'answered';
}

interface Waiter {
  readonly resolve: (envelope: Envelope) => void;
}

const requestsMax = 4096;

export class Bus {
  readonly taps: Observable<Tap>;
  readonly #taps = new Subject<Tap>();
  readonly #inboxes = new Map<string, Inbox>();
  readonly #waiters = new Map<string, Waiter>();
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(components: { clock: Clock; log: Log }) {
    this.#clock = components.clock;
    this.#log = components.log.child({ module: 'bus' });
    this.taps = this.#taps.asObservable();
  }

  /** Opens a module's inbox; done once, when the daemon is built, so that nobody sends into the void. */
  open(module: string, options: InboxOptions): void {
    this.#inboxes.set(module, new Inbox(options));
  }

  /** Handles the module's envelopes until the signal is aborted; handlers in work are waited for. */
  serve(module: string, handle: (envelope: Envelope) => Promise<void>, signal: AbortSignal): Promise<void> {
    return this.#inbox(module).serve(handle, signal, (error, envelope) => {
      if (error instanceof CancelledError && signal.aborted) return;
      this.#log.error(
        { to: module, msgId: envelope.header.msg_id, route: envelope.route, err: error },
        'handler failed',
      );
    });
  }

  send(to: string, envelope: Envelope): Handed {
    const handed = this.#inbox(to).push(envelope);
    this.#tap(to, envelope, handed);
    if (handed === 'full') this.#log.warn({ to, route: envelope.route }, 'inbox is full');
    return handed;
  }

  /** Sends to every module that has an inbox, but `from`. For news that need no answer. */
  broadcast(envelope: Envelope, from: string): void {
    for (const name of this.#inboxes.keys()) if (name !== from) this.send(name, envelope);
  }

  /** Hands an answer to who waits for it; false when nobody does (any more). */
  answer(envelope: Envelope): boolean {
    const parent = envelope.header.parent_msg_id;
    const waiter = parent === undefined ? undefined : this.#waiters.get(parent);
    if (parent === undefined || waiter === undefined) return false;
    this.#waiters.delete(parent);
    this.#tap('waiter', envelope, 'answered');
    waiter.resolve(envelope);
    return true;
  }

  /**
   * @throws BusError `full` when the module's inbox (or the table of open requests) is, `timeout`,
   *   `same-id`; CancelledError when the signal is aborted.
   */
  async request(to: string, envelope: Envelope, options: RequestOptions): Promise<Envelope> {
    const id = envelope.header.msg_id;
    if (this.#waiters.has(id))
      throw new BusError(`a request with the id ${id} is open`, { code: 'same-id', module: to, msgId: id });
    if (this.#waiters.size >= requestsMax)
      throw new BusError('too many open requests', { code: 'full', module: to }, { retry: 'backoff' });
    const done = new AbortController();
    const signal =
      options.signal === undefined ? done.signal : AbortSignal.any([done.signal, options.signal]);
    const answered = new Promise<Envelope>((resolve) => this.#waiters.set(id, { resolve }));
    try {
      if (this.send(to, envelope) === 'full') {
        throw new BusError(
          `${to} takes no more messages now`,
          { code: 'full', module: to },
          { retry: 'backoff' },
        );
      }
      const answer = await Promise.race([answered, this.#clock.sleep(options.timeoutMs, signal)]);
      if (answer !== undefined) return answer;
      throw new BusError(
        `no answer from ${to} within ${options.timeoutMs} ms`,
        { code: 'timeout', module: to, afterMs: options.timeoutMs },
        { retry: 'backoff' },
      );
    } finally {
      this.#waiters.delete(id);
      done.abort();
    }
  }

  /** Resolves when the module's inbox has room again. */
  drained(module: string): Promise<void> {
    return this.#inbox(module).drained();
  }

  /** Envelopes waiting or in work, per module. */
  depths(): ReadonlyMap<string, number> {
    return new Map([...this.#inboxes].map(([name, inbox]) => [name, inbox.size]));
  }

  #inbox(module: string): Inbox {
    const inbox = this.#inboxes.get(module);
    if (inbox === undefined) throw new BusError(`no module "${module}"`, { code: 'unknown-module', module });
    return inbox;
  }

  #tap(to: string, envelope: Envelope, handed: Tap['handed']): void {
    this.#taps.next({ to, envelope, handed });
  }
}

class Inbox {
  readonly #options: InboxOptions;
  /** Envelopes for which no handler is subscribed yet. */
  #parked: Envelope[] = [];
  #feed: Subject<Envelope> | undefined;
  #size = 0;
  #roomWaiters: (() => void)[] = [];

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#size;
  }

  push(envelope: Envelope): Handed {
    if (this.#size >= this.#options.capacity) return 'full';
    this.#size += 1;
    if (this.#feed === undefined) this.#parked.push(envelope);
    else this.#feed.next(envelope);
    return 'accepted';
  }

  drained(): Promise<void> {
    if (this.#size < this.#options.capacity) return Promise.resolve();
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  async serve(
    handle: (envelope: Envelope) => Promise<void>,
    signal: AbortSignal,
    failed: (error: unknown, envelope: Envelope) => void,
  ): Promise<void> {
    const running = new Set<Promise<void>>();
    const feed = new Subject<Envelope>();
    const tracked = (envelope: Envelope): Promise<void> => {
      const work = handle(envelope);
      const settled = work.then(
        () => {},
        () => {},
      );
      running.add(settled);
      void settled.then(() => running.delete(settled));
      return work.finally(() => this.#settle());
    };
    const subscription = feed
      .pipe(
        processSerially<Envelope>(tracked, {
          keyOf: this.#options.keyOf ?? ((envelope) => envelope.route.resource),
          lanesMax: this.#options.lanesMax,
          failed,
          abandoned: (envelopes) => this.#parked.unshift(...envelopes),
        }),
      )
      .subscribe();
    this.#feed = feed;
    for (const envelope of this.#parked.splice(0)) feed.next(envelope);
    if (!signal.aborted)
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    this.#feed = undefined;
    subscription.unsubscribe();
    await Promise.all(running);
  }

  #settle(): void {
    this.#size -= 1;
    for (const wake of this.#roomWaiters.splice(0)) wake();
  }
}
