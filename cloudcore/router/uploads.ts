/**
 * What MQTT clients at edges say to REST targets. Messages of one node that match one rule are delivered in order, one
 * at a time. An edge of ours keeps each until it is told that the target has it (`OK`), that it never will (`OK` too,
 * and counted as failed), or that it should come again (`later`); what comes behind a message that must come again
 * comes again too, so that the order holds. A KubeEdge edge keeps nothing: its messages are tried a few times here.
 *
 * What a target has taken is remembered by number, so that a message which comes again because its acknowledgement was
 * lost does not reach the target a second time. A target that took it and could not say so gets it again, under the
 * same `Idempotency-Key`.
 */

import type { Clock } from '#beehive/clock.ts';
import { CancelledError } from '#protocol/errors.ts';
import type { Envelope } from '#protocol/message.ts';
import { callTarget, failureOf, type RestTargetComponents } from './rest-target.ts';
import type { RuleKey, UploadRoute } from './rule-set.ts';

export interface Upload {
  readonly node: string;
  readonly topic: string;
  readonly text: string;
  readonly envelope: Envelope;
  /** For an edge that keeps what it says; undefined: it does not. */
  readonly acknowledge: ((outcome: 'done' | 'later') => void) | undefined;
}

export interface UploadsComponents extends RestTargetComponents {
  readonly clock: Clock;
  readonly count: (rule: RuleKey, end: 'taken' | 'given-up' | 'again', failure: string) => void;
  /** Told of messages that came again. */
  readonly repeated: () => void;
}

export const uploadLimits = {
  /** Of one rule and node. */
  waitingMax: 1_000,
  /** Of all. */
  waitingBytesMax: 64 * 1024 * 1024,
  /** Numbers that are remembered of one node: an edge has 32 of them under way. */
  rememberedMax: 128,
  /** Tries of a message that no edge keeps. */
  triesMax: 3,
  tryPauseMs: 1_000,
  /** After so long a message that a target does not take is given up: what is behind it would wait for ever. */
  giveUpAfterMs: 3_600_000,
  /** An edge comes again within half a minute; one that lost the message does not hold up the rest for longer. */
  blockedMs: 90_000,
} as const;

interface Message extends Omit<Upload, 'acknowledge'> {
  acknowledge: Upload['acknowledge'];
  /** Rules that have not come to an end with it. */
  readonly open: Set<RuleKey>;
  comesAgain: boolean;
}

/** `behind`: it comes again because one before it does. */
type End = 'taken' | 'given-up' | 'again' | 'behind';

interface Lane {
  readonly queue: { readonly message: Message; readonly route: UploadRoute }[];
  running: boolean;
  /** The message that must come again before any other. */
  blocked: { readonly id: string; readonly sinceMs: number; untilMs: number } | undefined;
}

export class Uploads {
  readonly #components: UploadsComponents;
  readonly #signal: AbortSignal;
  readonly #lanes = new Map<string, Lane>();
  readonly #inWork = new Map<string, Message>();
  /** Node → number → rules that have come to an end with it; the oldest first. */
  readonly #ended = new Map<string, Map<string, Set<RuleKey>>>();
  readonly #running = new Set<Promise<void>>();
  #waitingBytes = 0;

  constructor(components: UploadsComponents, signal: AbortSignal) {
    this.#components = components;
    this.#signal = signal;
  }

  /** Resolves when nothing is being delivered any more. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Rules that are gone hold up nothing. */
  forgetAllBut(rules: ReadonlySet<RuleKey>): void {
    for (const [key, lane] of this.#lanes) {
      const rule = key.slice(key.indexOf(' ') + 1);
      if (!rules.has(rule) && !lane.running) this.#lanes.delete(key);
    }
  }

  add(upload: Upload, routes: readonly UploadRoute[]): void {
    const { node, envelope } = upload;
    const number = envelope.header.msg_id;
    const id = `${node} ${number}`;
    const inWork = this.#inWork.get(id);
    if (inWork !== undefined) {
      this.#components.repeated();
      inWork.acknowledge = upload.acknowledge;
      return;
    }
    const ended = this.#ended.get(node)?.get(number);
    if (ended !== undefined) this.#components.repeated();
    const left = routes.filter(({ rule }) => !ended?.has(rule));
    if (left.length === 0) {
      upload.acknowledge?.('done');
      return;
    }
    const message: Message = { ...upload, open: new Set(left.map(({ rule }) => rule)), comesAgain: false };
    this.#inWork.set(id, message);
    this.#waitingBytes += message.text.length;
    for (const route of left) this.#enqueue(message, route);
  }

  #enqueue(message: Message, route: UploadRoute): void {
    const key = `${message.node} ${route.rule}`;
    const lane = this.#lanes.get(key) ?? { queue: [], running: false, blocked: undefined };
    this.#lanes.set(key, lane);
    const { waitingMax, waitingBytesMax } = uploadLimits;
    if (lane.queue.length >= waitingMax || this.#waitingBytes > waitingBytesMax) {
      // An edge of ours brings it again; then it must wait its turn again, too.
      if (message.acknowledge !== undefined) this.#block(lane, message);
      const end = message.acknowledge === undefined ? 'given-up' : 'again';
      this.#end(message, route, end, 'more messages wait for this rule than may');
      return;
    }
    lane.queue.push({ message, route });
    if (lane.running) return;
    lane.running = true;
    const run = this.#runLane(key, lane).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async #runLane(key: string, lane: Lane): Promise<void> {
    // Lets `#running` know this promise before its work can end.
    await Promise.resolve();
    for (let next = lane.queue[0]; next !== undefined; next = lane.queue[0]) {
      if (this.#signal.aborted) break;
      await this.#deliver(next.message, next.route, lane);
      lane.queue.shift();
    }
    lane.running = false;
    if (lane.blocked === undefined) this.#lanes.delete(key);
  }

  async #deliver(message: Message, route: UploadRoute, lane: Lane): Promise<void> {
    const { clock } = this.#components;
    const id = message.envelope.header.msg_id;
    const { blocked } = lane;
    if (blocked !== undefined && blocked.id !== id && clock.monotonicMs() < blocked.untilMs) {
      if (message.acknowledge !== undefined) return this.#end(message, route, 'behind');
    }
    const failure = await this.#try(message, route);
    if (this.#signal.aborted) return;
    if (failure === undefined) {
      lane.blocked = undefined;
      return this.#end(message, route, 'taken');
    }
    if (failure.again && message.acknowledge !== undefined && !this.#isGivenUp(lane, id)) {
      this.#block(lane, message);
      return this.#end(message, route, 'again', failure.reason);
    }
    lane.blocked = undefined;
    this.#end(message, route, 'given-up', failure.reason);
  }

  async #try(message: Message, route: UploadRoute): Promise<ReturnType<typeof failureOf>> {
    const { clock } = this.#components;
    const { triesMax, tryPauseMs } = uploadLimits;
    for (let tries = 1; ; tries += 1) {
      const outcome = await callTarget(
        {
          url: route.url,
          method: 'POST',
          headers: [
            ['Content-Type', contentTypeOf(message.text)],
            ['NodeName', message.node],
            ['Hawser-Topic', encodeURI(message.topic)],
            ['Idempotency-Key', message.envelope.header.msg_id],
          ],
          body: Buffer.from(message.text),
          signal: this.#signal,
        },
        this.#components,
      );
      const failure = failureOf(outcome, route.url);
      const isLast = message.acknowledge !== undefined || tries >= triesMax || this.#signal.aborted;
      if (failure === undefined || !failure.again || isLast) return failure;
      try {
        await clock.sleep(tryPauseMs, this.#signal);
      } catch (error) {
        if (!(error instanceof CancelledError)) throw error;
        return failure;
      }
    }
  }

  #block(lane: Lane, message: Message): void {
    const nowMs = this.#components.clock.monotonicMs();
    const untilMs = nowMs + uploadLimits.blockedMs;
    const id = message.envelope.header.msg_id;
    if (lane.blocked?.id === id) lane.blocked.untilMs = untilMs;
    // The first one that was sent back stays the one that must come first.
    else if (lane.blocked === undefined || nowMs >= lane.blocked.untilMs)
      lane.blocked = { id, sinceMs: nowMs, untilMs };
  }

  #isGivenUp({ blocked }: Lane, id: string): boolean {
    if (blocked?.id !== id) return false;
    return this.#components.clock.monotonicMs() - blocked.sinceMs >= uploadLimits.giveUpAfterMs;
  }

  /** One rule is done with the message, for now or for good; with the last one its edge is told. */
  #end(message: Message, { rule }: UploadRoute, end: End, failure = ''): void {
    message.open.delete(rule);
    if (end === 'again' || end === 'behind') message.comesAgain = true;
    else if (message.acknowledge !== undefined) this.#remember(message, rule);
    if (end !== 'behind') this.#components.count(rule, end, failure);
    if (message.open.size > 0) return;
    this.#inWork.delete(`${message.node} ${message.envelope.header.msg_id}`);
    this.#waitingBytes -= message.text.length;
    message.acknowledge?.(message.comesAgain ? 'later' : 'done');
  }

  #remember({ node, envelope }: Message, rule: RuleKey): void {
    const ended = this.#ended.get(node) ?? new Map<string, Set<RuleKey>>();
    this.#ended.set(node, ended);
    const id = envelope.header.msg_id;
    ended.set(id, (ended.get(id) ?? new Set()).add(rule));
    for (const oldest of ended.keys()) {
      if (ended.size <= uploadLimits.rememberedMax) break;
      ended.delete(oldest);
    }
  }
}

function contentTypeOf(text: string): string {
  return /^\s*[[{]/.test(text) ? 'application/json' : 'text/plain; charset=utf-8';
}
