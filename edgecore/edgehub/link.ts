/**
 * One connection to the cloud while it lasts: frames in, envelopes out, the beat that KubeEdge's cloud wants and
 * pings that find a dead link within two beats. A cloud of ours has no other beat than the pings: each renews the
 * node's Lease. While MetaManager takes no more, the socket is not read, and then a pong cannot be seen either: the
 * deadline is suspended.
 */

import { unlessAborted } from '#beehive/abort.ts';
import type { Bus } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { CancelledError, ProtocolError, TransportError } from '#protocol/errors.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import type { Connection } from '#protocol/transport/transport.ts';
import { routeOf } from './route.ts';

export interface LinkOptions {
  /** Of the beat at a KubeEdge cloud. */
  readonly heartbeatMs: number;
  /** Of the pings at a cloud of ours. */
  readonly sessionBeatMs: number;
  readonly pongTimeoutMs: number;
  readonly writeTimeoutMs: number;
  /** The modules that this daemon runs. */
  readonly modules: readonly string[];
}

export interface LinkComponents {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly countFrame: (what: 'in' | 'out' | 'dropped') => void;
}

/** A link is ended on purpose when nothing has passed for this long, or after the second time at the latest. */
const quiet = { afterMs: 500, atLatestMs: 3_000 };

export class Link {
  /** Whether the other end is a cloud of ours. */
  readonly ours: boolean;
  readonly #connection: Connection;
  readonly #options: LinkOptions;
  readonly #components: LinkComponents;
  readonly #ended = new AbortController();
  /** Why the link ended, when it was from here: a write failed, or it was asked to. */
  #failure: string | undefined;
  #lastFrameMs: number;
  #paused = false;
  #pauses = 0;

  constructor(connection: Connection, ours: boolean, options: LinkOptions, components: LinkComponents) {
    this.#connection = connection;
    this.ours = ours;
    this.#options = options;
    this.#components = components;
    this.#lastFrameMs = components.clock.monotonicMs();
  }

  /** Ends the link between two exchanges, so that few have to be repeated over the next. */
  async endWhenQuiet(reason: string): Promise<void> {
    const { clock } = this.#components;
    const latestMs = clock.monotonicMs() + quiet.atLatestMs;
    const untilMs = () => Math.min(this.#lastFrameMs + quiet.afterMs, latestMs) - clock.monotonicMs();
    try {
      while (untilMs() > 0) await clock.sleep(untilMs(), this.#ended.signal);
    } catch (error) {
      if (error instanceof CancelledError) return;
      throw error;
    }
    this.#failure ??= reason;
    this.#ended.abort();
  }

  /** Resolves with the reason when the link is over; a peer that is gone does not hold that up by not closing. */
  async run(stop: AbortSignal): Promise<string> {
    const signal = AbortSignal.any([stop, this.#ended.signal]);
    const parts = [this.#read(signal), this.#watch(signal), ...(this.ours ? [] : [this.#beat(signal)])];
    const reasons = parts.map((part) => part.catch(reasonOf));
    try {
      const reason = await Promise.race([...reasons, this.#connection.closed]);
      return this.#failure ?? reason;
    } finally {
      this.#ended.abort();
      const closed = this.#connection.close('ended by the edge').then(() => Promise.allSettled(reasons));
      if (stop.aborted) await closed;
    }
  }

  /** @throws TransportError when the envelope did not leave; then the link ends. */
  async send(envelope: Envelope): Promise<void> {
    try {
      await this.#sendInTime(envelope);
      this.#lastFrameMs = this.#components.clock.monotonicMs();
      this.#components.countFrame('out');
    } catch (error) {
      this.#failure ??= reasonOf(error);
      this.#ended.abort();
      throw error;
    }
  }

  /** Resolves when the peer has answered, and so has read all that was sent before. @throws TransportError */
  async ping(): Promise<void> {
    const { pongTimeoutMs: afterMs } = this.#options;
    const pong = this.#connection.ping(this.#ended.signal).then(() => 'pong' as const);
    if ((await this.#within(afterMs, pong)) === 'pong') return;
    throw new TransportError(`no pong within ${afterMs} ms`, { code: 'timeout', afterMs });
  }

  async #sendInTime(envelope: Envelope): Promise<void> {
    const { writeTimeoutMs } = this.#options;
    const sent = this.#connection.send(envelope).then(() => 'sent' as const);
    if ((await this.#within(writeTimeoutMs, sent)) === 'sent') return;
    throw new TransportError(`the cloud took nothing for ${writeTimeoutMs} ms`, {
      code: 'timeout',
      afterMs: writeTimeoutMs,
    });
  }

  async #read(signal: AbortSignal): Promise<string> {
    for await (const envelope of this.#connection.frames) {
      if (signal.aborted) break;
      this.#components.countFrame('in');
      this.#lastFrameMs = this.#components.clock.monotonicMs();
      await this.#deliver(envelope, signal);
    }
    return 'the cloud closed the connection';
  }

  async #deliver(envelope: Envelope, signal: AbortSignal): Promise<void> {
    const { bus, log, countFrame } = this.#components;
    const routing = routeOf(envelope);
    if (routing.answers && bus.answer(envelope)) return;
    const { to } = routing;
    if (to === undefined || !this.#options.modules.includes(to)) {
      countFrame('dropped');
      log.debug({ msgId: envelope.header.msg_id, route: envelope.route }, 'nobody here wants this');
      return;
    }
    while (bus.send(to, envelope) === 'full') {
      if (to !== source.metaManager) return countFrame('dropped');
      await this.#pauseUntilDrained(to, signal);
    }
  }

  async #pauseUntilDrained(to: string, signal: AbortSignal): Promise<void> {
    this.#paused = true;
    this.#pauses += 1;
    try {
      await unlessAborted(this.#components.bus.drained(to), signal);
    } finally {
      this.#paused = false;
    }
  }

  /** The message that keeps a session at a KubeEdge cloud (wire 3.3): at once, then every beat. */
  async #beat(signal: AbortSignal): Promise<string> {
    const resource = 'node';
    const route = {
      source: source.webSocket,
      group: group.resource,
      operation: operation.keepalive,
      resource,
    };
    for (;;) {
      await this.send(newEnvelope(route, 'ping', { timestampMs: this.#components.clock.now() }));
      await this.#components.clock.sleep(this.#options.heartbeatMs, signal);
    }
  }

  async #watch(signal: AbortSignal): Promise<string> {
    const { heartbeatMs, sessionBeatMs, pongTimeoutMs } = this.#options;
    const periodMs = this.ours ? sessionBeatMs : heartbeatMs;
    for (;;) {
      await this.#components.clock.sleep(periodMs, signal);
      if (this.#paused) continue;
      const pauses = this.#pauses;
      const pong = this.#connection.ping(signal).then(() => 'pong' as const);
      const late = (await this.#within(pongTimeoutMs, pong)) === undefined;
      if (late && !this.#paused && this.#pauses === pauses) return `no pong within ${pongTimeoutMs} ms`;
    }
  }

  /** Undefined when the time is over first. */
  async #within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
    const done = new AbortController();
    const late = this.#components.clock.sleep(ms, done.signal).then(
      () => undefined,
      () => undefined,
    );
    try {
      return await Promise.race([work, late]);
    } finally {
      done.abort();
    }
  }
}

/** Why a part of a link ended. A fault of our own is thrown on, for the supervisor. */
function reasonOf(error: unknown): string {
  if (error instanceof CancelledError) return 'ended here';
  if (error instanceof TransportError || error instanceof ProtocolError) return error.message;
  throw error;
}
