/**
 * CloudHub: the two ports that edges reach, and the mailbox by which controllers reach edges. It opens the CA
 * and the token key, then serves joining (HTTPS) and sessions (WebSocket) until it is stopped. It routes
 * envelopes and reads no content.
 */

import { Backoff } from '#beehive/backoff.ts';
import type { Bus, InboxOptions } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import type { Log } from '#beehive/log.ts';
import type { Metrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import type { Random } from '#beehive/random.ts';
import { CancelledError, ProtocolError, TransportError } from '#protocol/errors.ts';
import { frameLimits, inboxLimits } from '#protocol/limits.ts';
import type { Envelope } from '#protocol/message.ts';
import type { Listener, Transport } from '#protocol/transport/transport.ts';
import type { DeliveryLedger } from '../kube/delivery-ledger.ts';
import { type KubeApi, KubeError } from '../kube/kube-api.ts';
import type { ObjectReader } from '../kube/object-reader.ts';
import { BootstrapServer } from './bootstrap-server.ts';
import {
  type AuthorityOptions,
  type CertificateAuthority,
  openCertificateAuthority,
} from './certificate-authority.ts';
import { createCloudHubMetrics } from './cloudhub-metrics.ts';
import type { Controller } from './dispatcher.ts';
import { annotateNode, cloudcoreAnnotation, machineAnnotation } from './node-annotations.ts';
import { NodeLeases } from './node-leases.ts';
import type { NodeSubject } from './pki.ts';
import { RollingToken } from './rolling-token.ts';
import { Sessions } from './sessions.ts';
import { openTokenIssuer, type TokenIssuer } from './token.ts';

export interface CloudHubOptions {
  readonly host: string;
  /** WebSocket. */
  readonly port: number;
  /** HTTPS for joining; undefined: not served here. */
  readonly bootstrapPort: number | undefined;
  readonly nodesMax: number;
  readonly silenceMaxMs: number;
  readonly writeTimeoutMs: number;
  readonly tokenRefreshIntervalMs: number;
  readonly authority: AuthorityOptions;
  /** Under which this cloudcore is written on the nodes that it has. */
  readonly advertisedAddress: string;
}

export interface CloudHubComponents {
  readonly api: KubeApi;
  readonly reader: ObjectReader;
  readonly ledger: DeliveryLedger;
  readonly transport: Transport;
  readonly controllers: readonly Controller[];
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Told the ports that are served, when they are. */
  readonly listening?: (ports: { readonly port: number; readonly bootstrapPort: number | undefined }) => void;
}

/** Handling is handing over, so one lane suffices. */
export const cloudHubInbox: InboxOptions = { capacity: inboxLimits.cloudHub, lanesMax: 1 };

const name = 'cloudhub';
const tokenRetry = { firstMs: 5_000, maxMs: 300_000, jitter: 0.2 };
const annotationRetry = { firstMs: 250, maxMs: 15_000, jitter: 0.2 };

export function createCloudHub(options: CloudHubOptions, components: CloudHubComponents): Module {
  const log = components.log.child({ module: name });
  return new CloudHub(options, { ...components, log });
}

class CloudHub implements Module {
  readonly name = name;
  readonly #options: CloudHubOptions;
  readonly #components: CloudHubComponents;
  readonly #hubMetrics: ReturnType<typeof createCloudHubMetrics>;

  constructor(options: CloudHubOptions, components: CloudHubComponents) {
    this.#options = options;
    this.#components = components;
    this.#hubMetrics = createCloudHubMetrics(components.metrics);
  }

  async run(signal: AbortSignal, ready: () => void): Promise<void> {
    const { api, bus, clock } = this.#components;
    const authority = await openCertificateAuthority(this.#options.authority, this.#components);
    const tokens = await openTokenIssuer({ api, clock });
    await this.#publishToken(authority, tokens);

    const stop = new AbortController();
    const passOn = () => stop.abort();
    signal.addEventListener('abort', passOn, { once: true });
    const bootstrap = await this.#startBootstrap(authority, tokens);
    try {
      const sessions = this.#createSessions(stop.signal);
      const listener = await this.#listen(authority, sessions);
      try {
        this.#components.listening?.({ port: listener.port, bootstrapPort: bootstrap?.port });
        ready();
        if (signal.aborted) stop.abort();
        await untilFirstFails(stop, [
          bus.serve(name, async (envelope) => this.#route(sessions, envelope), stop.signal),
          this.#accept(listener, sessions),
          this.#refreshToken(authority, tokens, stop.signal),
          closeWhenAborted(stop.signal, listener, sessions),
        ]);
      } finally {
        await listener.close();
      }
    } finally {
      signal.removeEventListener('abort', passOn);
      await bootstrap?.close();
    }
  }

  /** Valid for two refreshes (wire 2.2). @throws KubeError */
  #publishToken({ certificateHash }: CertificateAuthority, issuer: TokenIssuer): Promise<void> {
    const rolling = new RollingToken({ ...this.#components, issuer });
    return rolling.publish(certificateHash, 2 * this.#options.tokenRefreshIntervalMs);
  }

  async #startBootstrap(
    authority: CertificateAuthority,
    tokens: TokenIssuer,
  ): Promise<BootstrapServer | undefined> {
    const { host, bootstrapPort: port } = this.#options;
    if (port === undefined) return undefined;
    const components = { ...this.#components, metrics: this.#hubMetrics, authority, tokens };
    const start = BootstrapServer.start({ host, port }, components);
    return portOrExit(start, 'modules.cloudHub.https.port');
  }

  #listen(authority: CertificateAuthority, sessions: Sessions): Promise<Listener> {
    const { host, port, nodesMax } = this.#options;
    const listener = this.#components.transport.listen({
      host,
      port,
      tls: authority.tls,
      admit: (request) => sessions.admit(request),
      // A node that comes back has two connections for a moment, and a whole fleet may come back.
      connectionsMax: 2 * nodesMax,
      frameBytesMax: frameLimits.bytesMax,
      turnedAway: (why) => this.#hubMetrics.refusals.inc({ status: why }),
    });
    return portOrExit(listener, 'modules.cloudHub.websocket.port');
  }

  #createSessions(stopped: AbortSignal): Sessions {
    const connected = (peer: NodeSubject, over: AbortSignal) => {
      if (!stopped.aborted) void this.#annotate(peer, over);
    };
    const components = { ...this.#components, metrics: this.#hubMetrics };
    const leases = new NodeLeases(components);
    return new Sessions(this.#options, { ...components, leases, connected });
  }

  async #accept(listener: Listener, sessions: Sessions): Promise<void> {
    const serving = new Set<Promise<void>>();
    for await (const connection of listener.connections) {
      const served = sessions.serve(connection).catch((error: unknown) => {
        this.#components.log.error({ err: error, remote: connection.remote }, 'session failed');
      });
      serving.add(served);
      void served.then(() => serving.delete(served));
    }
    await Promise.all(serving);
  }

  #route(sessions: Sessions, envelope: Envelope): void {
    try {
      sessions.route(envelope);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#components.log.error(
        { route: envelope.route, err: error },
        'a controller sent what no node can get',
      );
    }
  }

  async #refreshToken(
    authority: CertificateAuthority,
    tokens: TokenIssuer,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, random, log } = this.#components;
    const backoff = new Backoff(tokenRetry, random);
    let pauseMs = this.#options.tokenRefreshIntervalMs;
    while (await slept(clock, pauseMs, signal)) {
      try {
        await this.#publishToken(authority, tokens);
        backoff.reset();
        pauseMs = this.#options.tokenRefreshIntervalMs;
      } catch (error) {
        if (!(error instanceof KubeError)) throw error;
        pauseMs = backoff.nextMs();
        log.warn({ err: error, againInMs: Math.round(pauseMs) }, 'cannot renew the join token');
      }
    }
  }

  async #annotate({ node, machine }: NodeSubject, over: AbortSignal): Promise<void> {
    const { api, reader, clock, random, log } = this.#components;
    const annotations = {
      [cloudcoreAnnotation]: this.#options.advertisedAddress,
      ...(machine === undefined ? {} : { [machineAnnotation]: machine }),
    };
    const backoff = new Backoff(annotationRetry, random);
    const written = await annotateNode(node, annotations, { api, reader, clock, backoff }, over);
    if (!written && !over.aborted) log.warn({ node }, 'cannot write on the Node which cloudcore has it');
  }
}

async function untilFirstFails(stop: AbortController, parts: readonly Promise<void>[]): Promise<void> {
  const guarded = parts.map((part) =>
    part.catch((error: unknown) => {
      stop.abort();
      throw error;
    }),
  );
  const results = await Promise.allSettled(guarded);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

async function closeWhenAborted(signal: AbortSignal, listener: Listener, sessions: Sessions): Promise<void> {
  if (!signal.aborted)
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  sessions.endAll('cloudcore stops');
  await listener.close();
}

/** @throws UnrecoverableError when the port is taken: names it and the field to change. */
async function portOrExit<T>(starting: Promise<T>, field: string): Promise<T> {
  try {
    return await starting;
  } catch (error) {
    if (!(error instanceof TransportError) || error.detail.code !== 'port-taken') throw error;
    throw new UnrecoverableError(
      `port ${error.detail.port} is taken by another program: stop it, or set ${field} to a free port`,
    );
  }
}

async function slept(clock: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await clock.sleep(ms, signal);
    return true;
  } catch (error) {
    if (error instanceof CancelledError) return false;
    throw error;
  }
}
