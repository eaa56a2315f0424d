/**
 * EdgeHub: this edge's link to the cloud. Gets a certificate, dials, pumps both ways, and when the link is gone
 * dials again, for ever, with growing and jittered pauses. What has state keeps it elsewhere: an envelope that
 * cannot leave now is answered `not connected` and dropped.
 */

import { Backoff } from '#beehive/backoff.ts';
import type { Bus, InboxOptions } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Metrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import type { Random } from '#beehive/random.ts';
import { RateLimit } from '#beehive/rate-limit.ts';
import { CancelledError, describeError, TransportError } from '#protocol/errors.ts';
import { frameLimits, inboxLimits } from '#protocol/limits.ts';
import { type Envelope, newEnvelope, reply, replyError } from '#protocol/message.ts';
import { group, connection as news, operation, source } from '#protocol/names.ts';
import {
  agreesToSession,
  connectionUse,
  machineHeader,
  sessionHeader,
  sessionVersion,
  upgradeHeader,
} from '#protocol/session.ts';
import type { Connection, TlsIdentity, Transport } from '#protocol/transport/transport.ts';
import type { Certificates } from './certificates.ts';
import { Complaint } from './complaint.ts';
import { Link, type LinkOptions } from './link.ts';

export interface EdgeHubOptions extends LinkOptions {
  readonly nodeName: string;
  readonly projectId: string;
  /** `host:port` of CloudHub. */
  readonly server: string;
  readonly machine: string;
  readonly handshakeTimeoutMs: number;
  /** Obeyed at a KubeEdge cloud only. */
  readonly upstream: { readonly perSecond: number; readonly burst: number };
}

export interface EdgeHubComponents {
  readonly bus: Bus;
  readonly transport: Transport;
  readonly certificates: Certificates;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** One lane: what modules send leaves in the order they sent it. */
export const edgeHubInbox: InboxOptions = {
  capacity: inboxLimits.edgeHub,
  lanesMax: 1,
  keyOf: () => source.edgeHub,
};

export const notConnected = 'not connected to the cloud';

/** The first try comes quickly, spread over a second so that a fleet does not come back in step. */
const redial = { firstMs: 1_000, maxMs: 30_000, jitter: 0.95 };

export function createEdgeHub(options: EdgeHubOptions, components: EdgeHubComponents): Module {
  const { metrics } = components;
  const log = components.log.child({ module: source.edgeHub });
  const connected = metrics.gauge('hawser_edgehub_connected', '1 while the cloud is connected');
  const connects = metrics.counter('hawser_edgehub_connects_total', 'Connections that came up');
  const frames = metrics.counter('hawser_edgehub_frames_total', 'Frames in, out, and dropped', ['what']);
  const gauges: Gauges = {
    connected(up) {
      connected.set(up ? 1 : 0);
      if (up) connects.inc();
    },
    frame: (what) => frames.inc({ what }),
  };
  return {
    name: source.edgeHub,
    async run(signal, ready) {
      const stop = new AbortController();
      const running = AbortSignal.any([signal, stop.signal]);
      const work = new Work(options, { ...components, log }, gauges, running);
      const serving = components.bus.serve(source.edgeHub, (envelope) => work.up(envelope), running);
      ready();
      try {
        await work.stayConnected();
      } finally {
        stop.abort();
        await serving;
      }
    },
  };
}

interface Gauges {
  connected(up: boolean): void;
  frame(what: 'in' | 'out' | 'dropped'): void;
}

/** One run of the module. Its state is `#link`: undefined while there is no connection. */
class Work {
  readonly #options: EdgeHubOptions;
  readonly #components: EdgeHubComponents;
  readonly #gauges: Gauges;
  readonly #signal: AbortSignal;
  readonly #limit: RateLimit;
  readonly #complaint: Complaint;
  #link: Link | undefined;
  #news = new AbortController();
  /** The certificate whose renewal is awaited, and how to stop that. */
  #renewal: { cert: string; stop: AbortController } | undefined;
  /** A certificate that another took the place of while there was no link, perhaps while it was being dialled with. */
  #replaced: string | undefined;

  constructor(options: EdgeHubOptions, components: EdgeHubComponents, gauges: Gauges, signal: AbortSignal) {
    this.#options = options;
    this.#components = components;
    this.#gauges = gauges;
    this.#signal = signal;
    this.#limit = new RateLimit(options.upstream, components.clock);
    this.#complaint = new Complaint(components.log);
  }

  /** An envelope of a module, on its way to the cloud. */
  async up(envelope: Envelope): Promise<void> {
    const link = this.#link;
    if (link === undefined) return this.#refuse(envelope);
    if (envelope.route.group === group.link) return void this.#ping(link, envelope);
    try {
      if (!link.ours) await this.#limit.take(this.#signal);
      await link.send(envelope);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      this.#refuse(envelope);
    }
  }

  /** Beside the lane: others do not wait for the pong. */
  async #ping(link: Link, request: Envelope): Promise<void> {
    try {
      await link.ping();
      this.#components.bus.answer(reply(request, null));
    } catch (error) {
      if (!(error instanceof TransportError) && !(error instanceof CancelledError)) throw error;
      this.#refuse(request);
    }
  }

  async stayConnected(): Promise<void> {
    const { clock, random, certificates } = this.#components;
    const backoff = new Backoff(redial, random);
    while (!this.#signal.aborted) {
      try {
        const identity = await certificates.obtain(this.#signal);
        this.#awaitRenewal(identity);
        const connection = await this.#dial(identity);
        if (this.#replaced === identity.cert) {
          this.#replaced = undefined;
          await connection.close('ended by the edge');
          continue;
        }
        const startedMs = clock.monotonicMs();
        const ours = agreesToSession(connection.headers);
        const end = await this.#live(connection, ours);
        if (clock.monotonicMs() - startedMs > this.#options.heartbeatMs) backoff.reset();
        // A KubeEdge cloud may take the end of the old connection for that of a new one that comes at once (wire 3.5).
        if (end === 'renewed' && ours) continue;
      } catch (error) {
        if (error instanceof CancelledError) return;
        if (!(error instanceof TransportError)) throw error;
        this.#complaint.say(
          error.code === 'refused' ? 'refused' : 'unreachable',
          { server: this.#options.server, reason: describeError(error) },
          'cannot reach the cloud; going on without it and trying again',
        );
      }
      await clock.sleep(backoff.nextMs(), this.#signal).catch(() => {});
    }
  }

  /** Once a newer certificate is there, the connection is made again with it, between two messages. */
  #awaitRenewal(identity: TlsIdentity): void {
    if (this.#renewal?.cert === identity.cert) return;
    this.#renewal?.stop.abort();
    const stop = new AbortController();
    this.#renewal = { cert: identity.cert, stop };
    const signal = AbortSignal.any([stop.signal, this.#signal]);
    void this.#components.certificates.renewed(identity, signal).then(
      () => {
        if (this.#link !== undefined) return this.#link.endWhenQuiet('renewed');
        this.#replaced = identity.cert;
        return undefined;
      },
      (error: unknown) => {
        if (error instanceof CancelledError) return;
        this.#renewal = undefined;
        this.#components.log.error(
          { err: error },
          'cannot renew the certificate; trying at the next connect',
        );
      },
    );
  }

  #dial(tls: TlsIdentity): Promise<Connection> {
    const { server, projectId, nodeName, machine, handshakeTimeoutMs } = this.#options;
    return this.#components.transport.dial({
      url: `wss://${server}/${encodeURIComponent(projectId)}/${encodeURIComponent(nodeName)}/events`,
      headers: {
        [upgradeHeader.nodeId]: nodeName,
        [upgradeHeader.projectId]: projectId,
        [upgradeHeader.connectionUse]: connectionUse,
        [sessionHeader]: sessionVersion,
        [machineHeader]: machine,
      },
      tls,
      handshakeTimeoutMs,
      frameBytesMax: frameLimits.bytesMax,
      signal: this.#signal,
    });
  }

  /** From the connection's first frame to its last; resolves with why it ended. */
  async #live(connection: Connection, ours: boolean): Promise<string> {
    const { bus, clock, log } = this.#components;
    const link = new Link(connection, ours, this.#options, {
      bus,
      clock,
      log,
      countFrame: this.#gauges.frame,
    });
    log.info(
      { server: this.#options.server, session: ours ? 'hawser' : 'kubeedge' },
      'connected to the cloud',
    );
    this.#complaint.settle();
    this.#gauges.connected(true);
    // The beat goes first on the wire; modules speak once they have the news.
    const ended = link.run(this.#signal);
    this.#link = link;
    this.#tell(news.connected, ours);
    const reason = await ended;
    this.#link = undefined;
    this.#gauges.connected(false);
    this.#tell(news.disconnected, ours);
    if (reason === 'renewed') log.info({}, 'connecting again with the new certificate');
    else if (!this.#signal.aborted)
      log.warn({ server: this.#options.server, reason }, 'lost the cloud; trying again');
    return reason;
  }

  /** Every module hears of it, one whose inbox is full as soon as there is room, unless it is old news by then. */
  #tell(content: string, ours: boolean): void {
    this.#news.abort();
    this.#news = new AbortController();
    const signal = AbortSignal.any([this.#news.signal, this.#signal]);
    const route = {
      source: source.edgeHub,
      group: group.resource,
      operation: operation.connect,
      resource: news.resource,
    };
    const envelope = newEnvelope(route, content, { timestampMs: this.#components.clock.now() });
    if (ours && content === news.connected) envelope.header.hawserSession = true;
    for (const to of this.#options.modules) void this.#tellOne(to, envelope, signal);
  }

  async #tellOne(to: string, envelope: Envelope, signal: AbortSignal): Promise<void> {
    const { bus } = this.#components;
    while (!signal.aborted && bus.send(to, envelope) === 'full') await bus.drained(to);
  }

  #refuse(envelope: Envelope): void {
    this.#gauges.frame('dropped');
    const parent = envelope.header.parent_msg_id;
    if (parent === undefined || parent === '')
      this.#components.bus.answer(replyError(envelope, notConnected, { group: group.link }));
  }
}
