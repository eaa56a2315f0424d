/**
 * One connection of one node, from its admission to its end: reads what the edge says, sends what its queue and
 * the controllers have for it, and ends when the link breaks, the edge falls silent, does not read, or keeps
 * sending nonsense. A session belongs to its connection and ends nothing but itself; what it has not delivered
 * goes with it, since the controllers compute the difference again at the next connect.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { RateLimit } from '#beehive/rate-limit.ts';
import { CancelledError, describeError, ProtocolError, TransportError } from '#protocol/errors.ts';
import { deliveryLimits } from '#protocol/limits.ts';
import type { Envelope } from '#protocol/message.ts';
import { operation } from '#protocol/names.ts';
import type { ObjectPath } from '#protocol/resource-path.ts';
import type { SessionKind } from '#protocol/session.ts';
import type { Connection } from '#protocol/transport/transport.ts';
import type { DeliveryLedger } from '../kube/delivery-ledger.ts';
import { KubeError } from '../kube/kube-api.ts';
import type { ObjectReader } from '../kube/object-reader.ts';
import { Bell } from './bell.ts';
import type { CloudHubMetrics } from './cloudhub-metrics.ts';
import { DeliveryNotes } from './delivery-notes.ts';
import { type Controller, dispatchUp } from './dispatcher.ts';
import type { NodeLeases } from './node-leases.ts';
import { type Delivery, NodeQueue } from './node-queue.ts';

export interface SessionOptions {
  /** An edge that says nothing for this long is gone (wire 3.3). */
  readonly silenceMaxMs: number;
  /** A frame that the link does not take for this long ends the session. */
  readonly writeTimeoutMs: number;
}

export interface SessionComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: CloudHubMetrics;
  readonly reader: ObjectReader;
  readonly ledger: DeliveryLedger;
  readonly leases: NodeLeases;
  /** Resolves when the controllers have taken it; until then no more is read from this node. */
  readonly forward: (to: readonly Controller[], envelope: Envelope, over: AbortSignal) => Promise<void>;
  /** What became of a message that is sent once; undefined: the link has it. */
  readonly handed: (envelope: Envelope, failure: string | undefined) => void;
}

const oneShotsMax = 1024;
const minuteMs = 60_000;

export class NodeSession {
  readonly node: string;
  readonly kind: SessionKind;
  readonly #connection: Connection;
  readonly #options: SessionOptions;
  readonly #components: SessionComponents;
  readonly #log: Log;
  readonly #rate: RateLimit;
  readonly #queue = new NodeQueue();
  readonly #notes: DeliveryNotes | undefined;
  readonly #oneShots: Envelope[] = [];
  readonly #objectBell: Bell;
  readonly #oneShotBell: Bell;
  readonly #watchBell: Bell;
  readonly #over = new AbortController();
  /** A KubeEdge edge renews its Lease itself. */
  readonly #beat: () => void;
  readonly #sendsSinceMs = new Set<{ readonly sinceMs: number }>();
  #reason = '';
  #heardMs: number;
  #forwarding = false;
  #pinging = false;
  #malformed = { count: 0, sinceMs: 0 };

  constructor(
    peer: { readonly node: string; readonly kind: SessionKind; readonly connection: Connection },
    options: SessionOptions,
    components: SessionComponents,
  ) {
    this.node = peer.node;
    this.kind = peer.kind;
    this.#connection = peer.connection;
    this.#notes = peer.kind === 'kubeedge' ? new DeliveryNotes(peer.node, components.ledger) : undefined;
    this.#options = options;
    this.#components = components;
    this.#log = components.log.child({ node: peer.node });
    this.#objectBell = new Bell(components.clock);
    this.#oneShotBell = new Bell(components.clock);
    this.#watchBell = new Bell(components.clock);
    this.#beat = peer.kind === 'hawser' ? components.leases.open(peer.node, this.over) : () => {};
    this.#heardMs = components.clock.monotonicMs();
    const { upstreamPerSecond: perSecond, upstreamBurst: burst } = deliveryLimits;
    this.#rate = new RateLimit({ perSecond, burst }, components.clock);
  }

  /** Aborted when the session has ended. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Resolves with the reason when the session has ended and its connection is gone. */
  async run(): Promise<string> {
    this.#connection.onPing(() => this.#heard());
    this.#heard();
    void this.#connection.closed.then((reason) => this.end(reason));
    const parts = [this.#read(), this.#sendOneShots(), this.#sendObjects(), this.#watch()];
    await Promise.all(parts.map((part) => part.catch((error) => this.#failed(error))));
    for (const envelope of this.#oneShots.splice(0)) this.#components.handed(envelope, this.#reason);
    await this.#connection.closed;
    return this.#reason;
  }

  /** Keeps an object message until the edge has acknowledged it. */
  offer(envelope: Envelope): void {
    if (this.#queue.offer(envelope) === 'full') this.end('more objects wait for this node than may');
    this.#objectBell.ring();
  }

  /** Sends a message once. */
  post(envelope: Envelope): void {
    if (this.#over.signal.aborted) {
      this.#components.handed(envelope, this.#reason);
      return;
    }
    if (this.#oneShots.length >= oneShotsMax) this.end('the edge does not take its answers');
    else this.#oneShots.push(envelope);
    this.#notes?.answering(envelope);
    this.#oneShotBell.ring();
  }

  /** Only the first reason counts. */
  end(reason: string): void {
    if (this.#over.signal.aborted) return;
    this.#reason = reason;
    this.#over.abort();
    for (const bell of [this.#objectBell, this.#oneShotBell, this.#watchBell]) bell.ring();
    void this.#connection.close(reason);
  }

  #failed(error: unknown): void {
    const expected =
      error instanceof TransportError || error instanceof ProtocolError || error instanceof CancelledError;
    if (!expected) this.#log.error({ err: error }, 'session failed');
    if (error instanceof ProtocolError) this.#components.metrics.dropped.inc({ reason: 'malformed' });
    this.end(describeError(error));
  }

  async #read(): Promise<void> {
    for await (const envelope of this.#connection.frames) {
      if (this.#over.signal.aborted) return;
      this.#heard();
      if (!(await this.#mayRead())) return;
      await this.#receive(envelope);
    }
    this.end('the edge closed the connection');
  }

  #heard(): void {
    this.#heardMs = this.#components.clock.monotonicMs();
    this.#beat();
  }

  /** Waits while the edge says more than it may: meanwhile its socket fills, and it must wait too. */
  async #mayRead(): Promise<boolean> {
    this.#forwarding = true;
    try {
      await this.#rate.take(this.#over.signal);
      return true;
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
      return false;
    } finally {
      this.#forwarding = false;
    }
  }

  async #receive(envelope: Envelope): Promise<void> {
    const { metrics, clock, forward } = this.#components;
    const verdict = dispatchUp(envelope, this.node, this.kind);
    metrics.received.inc({ kind: verdict.kind });
    switch (verdict.kind) {
      case 'keepalive':
        return;
      case 'acknowledged':
        this.#notes?.acknowledged(verdict.messageId, this.#queue.sentAs(verdict.messageId));
        if (this.#queue.settle(verdict.messageId)) this.#objectBell.ring();
        return;
      case 'refused':
        if (this.#queue.postpone(verdict.messageId, clock.monotonicMs())) {
          this.#log.warn(
            { msgId: verdict.messageId, resource: envelope.route.resource },
            'edge refused an object',
          );
          this.#objectBell.ring();
        }
        return;
      case 'dropped':
        metrics.dropped.inc({ reason: verdict.reason });
        this.#log.debug({ reason: verdict.reason, route: envelope.route }, 'dropped a message of the edge');
        if (verdict.reason !== 'no-module') this.#countMalformed();
        return;
      case 'forward':
        this.#forwarding = true;
        await forward(verdict.to, verdict.envelope, this.#over.signal);
        this.#forwarding = false;
        this.#heard();
    }
  }

  #countMalformed(): void {
    const nowMs = this.#components.clock.monotonicMs();
    if (nowMs - this.#malformed.sinceMs >= minuteMs) this.#malformed = { count: 0, sinceMs: nowMs };
    this.#malformed.count += 1;
    if (this.#malformed.count > deliveryLimits.malformedPerMinuteMax)
      this.end('too many messages that no edge may send');
  }

  async #sendOneShots(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const envelope = this.#oneShots.shift();
      if (envelope === undefined) await this.#oneShotBell.rest();
      else await this.#sendOnce(envelope);
    }
  }

  async #sendOnce(envelope: Envelope): Promise<void> {
    let failure: string | undefined = 'the link broke';
    try {
      failure = (await this.#send(envelope)) ? undefined : 'it is larger than a message may be';
    } finally {
      this.#components.handed(envelope, failure);
    }
  }

  async #sendObjects(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const delivery = this.#queue.next(this.#components.clock.monotonicMs());
      if (delivery === undefined) await this.#objectBell.rest(this.#queue.wakeAtMs());
      else await this.#deliver(delivery);
    }
  }

  async #deliver({ path, envelope, send }: Delivery): Promise<void> {
    const { clock, metrics } = this.#components;
    const id = envelope.header.msg_id;
    let whole: Envelope | undefined;
    try {
      whole = await this.#whole(path, envelope);
      if (whole !== undefined) await this.#notes?.beforeSending({ path, envelope: whole });
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      const fields = { resource: envelope.route.resource, err: error };
      this.#log.warn(fields, 'cannot read or note an object, trying later');
      this.#queue.postpone(id, clock.monotonicMs());
      return;
    }
    if (whole === undefined) {
      this.#queue.settle(id);
      return;
    }
    if (send === 'again') metrics.resent.inc();
    if (await this.#send(whole)) this.#queue.sent(whole, clock.monotonicMs());
    else this.#queue.postpone(id, clock.monotonicMs());
  }

  /** With its body as it is now; undefined when the object is gone. @throws KubeError */
  async #whole(path: ObjectPath, envelope: Envelope): Promise<Envelope | undefined> {
    if (envelope.content !== undefined || envelope.route.operation === operation.delete) return envelope;
    const body = await this.#components.reader.read(path);
    return body === undefined ? undefined : withBody(envelope, body, body.metadata.resourceVersion);
  }

  /** False: no frame can carry it, and the link is as it was. @throws TransportError when the link is gone */
  async #send(envelope: Envelope): Promise<boolean> {
    const sending = { sinceMs: this.#components.clock.monotonicMs() };
    this.#sendsSinceMs.add(sending);
    try {
      await this.#connection.send(envelope);
      this.#components.metrics.sent.inc();
      return true;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#log.error({ resource: envelope.route.resource, err: error }, 'cannot send a message');
      return false;
    } finally {
      this.#sendsSinceMs.delete(sending);
    }
  }

  /** Ends the session of an edge that is silent or does not read; asks one of ours before it gives up. */
  async #watch(): Promise<void> {
    const { clock } = this.#components;
    const { silenceMaxMs, writeTimeoutMs } = this.#options;
    const turnMs = Math.min(silenceMaxMs, writeTimeoutMs) / 6;
    while (!this.#over.signal.aborted) {
      await this.#watchBell.rest(clock.monotonicMs() + turnMs);
      const nowMs = clock.monotonicMs();
      // While a controller's full inbox keeps us from reading, the silence is ours.
      if (this.#forwarding) this.#heard();
      if (nowMs - this.#heardMs >= silenceMaxMs) this.end(`silent for ${silenceMaxMs / 1000} s`);
      for (const { sinceMs } of this.#sendsSinceMs)
        if (nowMs - sinceMs >= writeTimeoutMs) this.end(`took nothing for ${writeTimeoutMs / 1000} s`);
      if (this.kind === 'hawser' && nowMs - this.#heardMs >= silenceMaxMs / 2) this.#ping();
    }
  }

  #ping(): void {
    if (this.#pinging || this.#over.signal.aborted) return;
    this.#pinging = true;
    const unanswered = () => {};
    void this.#connection
      .ping(this.#over.signal)
      .then(() => this.#heard(), unanswered)
      .finally(() => {
        this.#pinging = false;
      });
  }
}

function withBody(envelope: Envelope, content: object, resourceVersion: string | undefined): Envelope {
  const header = {
    ...envelope.header,
    ...(resourceVersion === undefined ? {} : { resourceversion: resourceVersion }),
  };
  return { ...envelope, header, content };
}
