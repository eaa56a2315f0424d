/**
 * A network inside the process: the same contract as the real transports, with faults on demand. Time and
 * chance are given, so a run can be repeated from its seed. Frames go through the same framing as on a real
 * link, so nothing is shared between the ends.
 */

import { CancelledError, TransportError } from '../errors.ts';
import { MemoryConnection } from './memory-connection.ts';
import { PullQueue } from './pull-queue.ts';
import type {
  Connection,
  DialOptions,
  Listener,
  ListenOptions,
  TlsIdentity,
  Transport,
  UpgradeRequest,
} from './transport.ts';

export interface MemoryClock {
  monotonicMs(): number;
  /** @throws CancelledError when the signal is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** What goes wrong; all zero at first. Chances are 0 to 1 a frame. May be changed while links are up. */
export interface MemoryFaults {
  delayMinMs: number;
  delayMaxMs: number;
  /** The link breaks instead of carrying the frame: loss as TCP shows it. */
  breakChance: number;
  /** The frame vanishes and the link stays: what no TCP does, for tests of resending. */
  dropChance: number;
  /** The frame is overtaken by the next: what no TCP does, for tests of ordering by version. */
  reorderChance: number;
}

export interface MemoryNetworkComponents {
  readonly clock: MemoryClock;
  readonly random: { next(): number };
}

export class MemoryNetwork implements Transport {
  readonly faults: MemoryFaults = {
    delayMinMs: 0,
    delayMaxMs: 0,
    breakChance: 0,
    dropChance: 0,
    reorderChance: 0,
  };
  readonly #components: MemoryNetworkComponents;
  readonly #listeners = new Map<string, MemoryListener>();
  readonly #links = new Set<MemoryConnection>();
  #nextPort = 1;
  #isCut = false;
  #isSilent = false;

  constructor(components: MemoryNetworkComponents) {
    this.#components = components;
  }

  /** Breaks every link and refuses new ones until `heal`. */
  cut(): void {
    this.#isCut = true;
    for (const link of this.#links) link.breakLink('the network was cut');
  }

  /** Nothing arrives any more and nobody is told, until `heal`: a half-open link. */
  silence(): void {
    this.#isSilent = true;
  }

  heal(): void {
    this.#isCut = false;
    this.#isSilent = false;
    for (const link of this.#links) link.wake();
  }

  async listen(options: ListenOptions): Promise<Listener> {
    const port = options.port === 0 ? this.#freePort(options.host) : options.port;
    const at = `${options.host}:${port}`;
    if (this.#listeners.has(at)) {
      throw new TransportError(`port ${port} on ${options.host} is taken by another program`, {
        code: 'port-taken',
        host: options.host,
        port,
      });
    }
    const listener = new MemoryListener(port, options, () => this.#listeners.delete(at));
    this.#listeners.set(at, listener);
    return listener;
  }

  async dial(options: DialOptions): Promise<Connection> {
    if (options.signal.aborted) throw new CancelledError();
    const { host, pathname } = new URL(options.url);
    const listener = this.#listeners.get(host);
    if (listener === undefined || this.#isCut) throw unreachable(options.url, 'nobody listens there');
    if (this.#isSilent) return await this.#expire(options);
    const request: UpgradeRequest = {
      path: pathname,
      headers: lowerCaseNames(options.headers),
      remote: `memory:${this.#takePort()}`,
      peerCertificate: certificateOf(options.tls),
    };
    if (listener.options.tls !== undefined && options.tls === undefined) {
      throw unreachable(options.url, 'the listener asks for a certificate');
    }
    const headers = await listener.admit(request, options.url);
    // The caller may have given up while the listener was deciding.
    if (options.signal.aborted) throw new CancelledError();
    return this.#join(options, listener, request, headers);
  }

  #join(
    options: DialOptions,
    listener: MemoryListener,
    request: UpgradeRequest,
    headers: Readonly<Record<string, string>>,
  ): Connection {
    const shared = { ...this.#components, faults: this.faults, isSilent: () => this.#isSilent };
    const near = new MemoryConnection(
      {
        headers: lowerCaseNames(headers),
        remote: new URL(options.url).host,
        peerCertificate: certificateOf(listener.options.tls),
      },
      options.frameBytesMax,
      shared,
    );
    const far = new MemoryConnection(request, listener.options.frameBytesMax, shared);
    near.join(far);
    far.join(near);
    for (const link of [near, far]) {
      this.#links.add(link);
      void link.closed.then(() => this.#links.delete(link));
    }
    listener.accept(far);
    return near;
  }

  /** A handshake that nobody answers. */
  async #expire({ url, handshakeTimeoutMs, signal }: DialOptions): Promise<never> {
    await this.#components.clock.sleep(handshakeTimeoutMs, signal);
    throw new TransportError(
      `${new URL(url).host} did not finish the handshake within ${handshakeTimeoutMs} ms`,
      { code: 'timeout', afterMs: handshakeTimeoutMs },
      { retry: 'backoff' },
    );
  }

  #freePort(host: string): number {
    for (;;) {
      const port = this.#takePort();
      if (!this.#listeners.has(`${host}:${port}`)) return port;
    }
  }

  #takePort(): number {
    const port = this.#nextPort;
    this.#nextPort += 1;
    return port;
  }
}

class MemoryListener implements Listener {
  readonly connections: AsyncIterable<Connection>;
  readonly port: number;
  readonly options: ListenOptions;
  readonly #accepted = new PullQueue<Connection>();
  readonly #live = new Set<MemoryConnection>();
  readonly #forget: () => void;
  #deciding = 0;
  #isClosed = false;

  constructor(port: number, options: ListenOptions, forget: () => void) {
    this.port = port;
    this.options = options;
    this.connections = this.#accepted;
    this.#forget = forget;
  }

  /** @returns the headers of the answer. @throws TransportError `refused` */
  async admit(request: UpgradeRequest, url: string): Promise<Readonly<Record<string, string>>> {
    const { connectionsMax } = this.options;
    if (this.#live.size + this.#deciding >= connectionsMax) {
      throw refused(url, 503, `all ${connectionsMax} connections are in use`);
    }
    this.#deciding += 1;
    try {
      const admission = await this.options.admit(request);
      if (this.#isClosed) throw refused(url, 503, 'shutting down');
      if (!admission.accept) throw refused(url, admission.status, admission.reason);
      return admission.headers ?? {};
    } catch (error) {
      if (error instanceof TransportError) throw error;
      throw refused(url, 500, 'the request could not be decided');
    } finally {
      this.#deciding -= 1;
    }
  }

  accept(connection: MemoryConnection): void {
    this.#live.add(connection);
    void connection.closed.then(() => this.#live.delete(connection));
    this.#accepted.push(connection);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#forget();
    this.#accepted.end();
    await Promise.all([...this.#live].map((connection) => connection.close('shutting down')));
  }
}

function lowerCaseNames(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** DER of the first certificate in the PEM. That the peer owns it is taken on trust: no wire to listen on. */
function certificateOf(identity: TlsIdentity | undefined): Uint8Array | undefined {
  const body = /-----BEGIN CERTIFICATE-----([^-]+)-----END/.exec(identity?.cert ?? '')?.[1];
  return body === undefined ? undefined : Buffer.from(body, 'base64');
}

function unreachable(url: string, why: string): TransportError {
  return new TransportError(
    `cannot reach ${new URL(url).host}: ${why}`,
    { code: 'unreachable', url },
    { retry: 'backoff' },
  );
}

function refused(url: string, status: number, body: string): TransportError {
  return new TransportError(
    `${new URL(url).host} refused the connection: ${status} ${body}`,
    { code: 'refused', url, status, body },
    { retry: 'backoff' },
  );
}
