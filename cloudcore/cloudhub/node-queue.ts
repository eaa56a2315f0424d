/**
 * What one node still has to be sent and has not acknowledged: a state machine without clock, socket or API,
 * so that every order of offers, acknowledgements and silences can be tried.
 *
 * - Keyed by object path. A path has at most one message on the link, and behind it at most one delete followed
 *   by at most one upsert. A later offer takes the place of what waits, so a slow link sees the newest state
 *   only, and the queue is bounded by the objects of the node. A delete is acknowledged before the insert of
 *   the object that took its name.
 * - Upserts wait without a body. Who sends reads the body when it is the entry's turn.
 * - Unacknowledged messages on the link: `windowMax` (a KubeEdge edge drops the oldest of more than 100).
 * - Silence: the same message id again after `resendAfterMs`, `sendsMax` times in all; then the entry goes to the end of the
 *   queue with a growing pause, so that one that is never acknowledged does not hold up the rest.
 * - A device waits while a model of its namespace is on the way (wire 4.5: model first).
 */

import { deliveryLimits, sessionLimits } from '#protocol/limits.ts';
import type { Envelope } from '#protocol/message.ts';
import { operation } from '#protocol/names.ts';
import type { ObjectPath } from '#protocol/resource-path.ts';
import { parseObjectPath } from '#protocol/resource-path.ts';

export interface NodeQueueOptions {
  readonly windowMax: number;
  readonly resendAfterMs: number;
  readonly sendsMax: number;
  /** Pause after a round without an acknowledgement, doubled each round. */
  readonly pauseFirstMs: number;
  readonly pauseMaxMs: number;
  readonly pathsMax: number;
}

export const defaultNodeQueueOptions: NodeQueueOptions = {
  windowMax: deliveryLimits.windowMax,
  resendAfterMs: deliveryLimits.resendAfterMs,
  sendsMax: 1 + deliveryLimits.resendsMax,
  pauseFirstMs: 5_000,
  pauseMaxMs: 300_000,
  // Twice what an edge may say it holds: all of that replaced by as much.
  pathsMax: 2 * sessionLimits.heldObjectsMax,
};

/** A message to put on the link now. Its content is undefined when the body must be read first. */
export interface Delivery {
  readonly path: ObjectPath;
  readonly envelope: Envelope;
  readonly send: 'first' | 'again';
}

interface Waiting {
  readonly path: ObjectPath;
  remove: Envelope | undefined;
  upsert: Envelope | undefined;
  rounds: number;
  notBeforeMs: number;
}

interface OnLink {
  readonly key: string;
  readonly path: ObjectPath;
  /** As it was offered; without a body when that is read at send time. */
  readonly offered: Envelope;
  /** As it was sent: what a resend repeats. */
  envelope: Envelope;
  /** Times that it was put on the link. */
  sends: number;
  /** When it was last put there; undefined while who sends has it in hand. */
  sentMs: number | undefined;
  readonly rounds: number;
}

export class NodeQueue {
  readonly #options: NodeQueueOptions;
  /** In the order of their turns. */
  readonly #waiting = new Map<string, Waiting>();
  /** Those of `#waiting` that devices wait for. */
  readonly #models = new Set<Waiting>();
  readonly #onLink = new Map<string, OnLink>();
  readonly #keyById = new Map<string, string>();

  constructor(options: NodeQueueOptions = defaultNodeQueueOptions) {
    this.#options = options;
  }

  /** Paths that wait or are on the link. */
  get size(): number {
    let both = 0;
    for (const key of this.#onLink.keys()) if (this.#waiting.has(key)) both += 1;
    return this.#waiting.size + this.#onLink.size - both;
  }

  get unacknowledged(): number {
    return this.#onLink.size;
  }

  /**
   * Takes an object message whose resource is `<namespace>/<type>/<name>`. `full`: nothing was taken.
   * @throws ProtocolError `malformed-path`
   */
  offer(envelope: Envelope): 'queued' | 'full' {
    const key = envelope.route.resource;
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) {
      this.#merge(waiting, envelope);
      return 'queued';
    }
    if (this.#waiting.size >= this.#options.pathsMax) return 'full';
    this.#merge(this.#wait(key, parseObjectPath(key)), envelope);
    return 'queued';
  }

  /** The next message to send, or undefined when none may go before `wakeAtMs`. */
  next(nowMs: number): Delivery | undefined {
    const silent = this.#silent(nowMs);
    if (silent !== undefined) return silent;
    if (this.#onLink.size >= this.#options.windowMax) return undefined;
    for (const [key, waiting] of this.#waiting) {
      if (this.#onLink.has(key) || waiting.notBeforeMs > nowMs) continue;
      if (this.#waitsForModel(waiting, nowMs)) continue;
      return this.#putOnLink(key, waiting);
    }
    return undefined;
  }

  /** The message has left; from now on its acknowledgement is awaited. `envelope` is what a resend repeats. */
  sent(envelope: Envelope, nowMs: number): void {
    const entry = this.#find(envelope.header.msg_id);
    if (entry === undefined) return;
    entry.envelope = envelope;
    entry.sends += 1;
    entry.sentMs = nowMs;
    const version = envelope.header.resourceversion;
    const waiting = this.#waiting.get(entry.key);
    if (version === undefined || waiting === undefined || waiting.remove !== undefined) return;
    if (entry.offered.route.operation === operation.delete) return;
    // The body was newer than the offer that asked for it: a later offer of just that version is served.
    if (waiting.upsert?.header.resourceversion === version) this.#endWait(entry.key);
  }

  /** What is on the link under this id, as it was sent. */
  sentAs(messageId: string): { readonly path: ObjectPath; readonly envelope: Envelope } | undefined {
    const entry = this.#find(messageId);
    return entry?.sentMs === undefined ? undefined : { path: entry.path, envelope: entry.envelope };
  }

  /** The edge has it, or there is nothing to send any more. False: the id is not on the link. */
  settle(messageId: string): boolean {
    const entry = this.#find(messageId);
    if (entry === undefined) return false;
    this.#takeOffLink(entry);
    return true;
  }

  /** The edge refused it, or its body could not be read: again after a pause. False: the id is not on the link. */
  postpone(messageId: string, nowMs: number): boolean {
    const entry = this.#find(messageId);
    if (entry === undefined) return false;
    this.#putBack(entry, nowMs);
    return true;
  }

  /** When `next` may have something that it has not now, unless an offer or an acknowledgement comes first. */
  wakeAtMs(): number | undefined {
    let atMs: number | undefined;
    const consider = (ms: number) => {
      if (atMs === undefined || ms < atMs) atMs = ms;
    };
    for (const entry of this.#onLink.values()) {
      if (entry.sentMs !== undefined) consider(entry.sentMs + this.#options.resendAfterMs);
    }
    if (this.#onLink.size < this.#options.windowMax) {
      for (const [key, waiting] of this.#waiting) {
        if (!this.#onLink.has(key) && waiting.notBeforeMs > Number.NEGATIVE_INFINITY)
          consider(waiting.notBeforeMs);
      }
    }
    return atMs;
  }

  #merge(waiting: Waiting, envelope: Envelope): void {
    if (envelope.route.operation !== operation.delete) {
      waiting.upsert = envelope;
      // The pause was for what is now replaced.
      waiting.notBeforeMs = Number.NEGATIVE_INFINITY;
      return;
    }
    waiting.upsert = undefined;
    // An object that came after a delete that still waits has never been sent: the first delete says it all.
    waiting.remove ??= envelope;
  }

  #putOnLink(key: string, waiting: Waiting): Delivery | undefined {
    const envelope = waiting.remove ?? waiting.upsert;
    if (envelope === undefined) return undefined;
    if (envelope === waiting.remove) waiting.remove = undefined;
    else waiting.upsert = undefined;
    const { path, rounds } = waiting;
    if (waiting.upsert === undefined) this.#endWait(key);
    else waiting.rounds = 0;
    this.#onLink.set(key, { key, path, offered: envelope, envelope, sends: 0, sentMs: undefined, rounds });
    this.#keyById.set(envelope.header.msg_id, key);
    return { path, envelope, send: 'first' };
  }

  /** Resends what is silent; puts back what was silent too often. */
  #silent(nowMs: number): Delivery | undefined {
    for (const entry of [...this.#onLink.values()]) {
      if (entry.sentMs === undefined || nowMs < entry.sentMs + this.#options.resendAfterMs) continue;
      if (entry.sends < this.#options.sendsMax) {
        entry.sentMs = undefined;
        return { path: entry.path, envelope: entry.envelope, send: 'again' };
      }
      this.#putBack(entry, nowMs);
    }
    return undefined;
  }

  #putBack(entry: OnLink, nowMs: number): void {
    this.#takeOffLink(entry);
    const { pauseFirstMs, pauseMaxMs } = this.#options;
    const pauseMs = Math.min(pauseMaxMs, pauseFirstMs * 2 ** Math.min(entry.rounds, 30));
    const { remove, upsert } = this.#waiting.get(entry.key) ?? {};
    this.#endWait(entry.key);
    const waiting = this.#wait(entry.key, entry.path);
    waiting.rounds = entry.rounds + 1;
    waiting.notBeforeMs = nowMs + pauseMs;
    if (entry.offered.route.operation === operation.delete) {
      waiting.remove = entry.offered;
      waiting.upsert = upsert;
    } else {
      waiting.remove = remove;
      waiting.upsert = upsert ?? (remove === undefined ? entry.offered : undefined);
    }
  }

  #wait(key: string, path: ObjectPath): Waiting {
    const waiting: Waiting = {
      path,
      remove: undefined,
      upsert: undefined,
      rounds: 0,
      notBeforeMs: Number.NEGATIVE_INFINITY,
    };
    this.#waiting.set(key, waiting);
    if (path.type === 'devicemodel') this.#models.add(waiting);
    return waiting;
  }

  #endWait(key: string): void {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return;
    this.#waiting.delete(key);
    this.#models.delete(waiting);
  }

  #takeOffLink(entry: OnLink): void {
    this.#onLink.delete(entry.key);
    this.#keyById.delete(entry.offered.header.msg_id);
  }

  #find(messageId: string): OnLink | undefined {
    const key = this.#keyById.get(messageId);
    return key === undefined ? undefined : this.#onLink.get(key);
  }

  #waitsForModel(waiting: Waiting, nowMs: number): boolean {
    if (waiting.path.type !== 'device' || waiting.remove !== undefined) return false;
    const isModel = (path: ObjectPath) =>
      path.type === 'devicemodel' && path.namespace === waiting.path.namespace;
    for (const entry of this.#onLink.values()) if (isModel(entry.path)) return true;
    for (const other of this.#models)
      if (other.upsert !== undefined && other.notBeforeMs <= nowMs && isModel(other.path)) return true;
    return false;
  }
}
