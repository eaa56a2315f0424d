/**
 * The accepting end of WebSockets: TLS with client certificates, limits before anybody is known, admission
 * during the upgrade, and a refusal that says why.
 */

import {
  createServer,
  type IncomingMessage,
  type Server,
  STATUS_CODES,
  validateHeaderValue,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { TransportError } from '../errors.ts';
import { type ListenerLimits, listenerLimits } from '../limits.ts';
import { PullQueue } from './pull-queue.ts';
import { Strangers } from './strangers.ts';
import type { Admission, Connection, Listener, ListenOptions } from './transport.ts';
import {
  certificateOf,
  headersOf,
  type MonotonicClock,
  socketOptions,
  WebSocketConnection,
} from './websocket-connection.ts';

export async function listenWebSocket(options: ListenOptions, clock: MonotonicClock): Promise<Listener> {
  const { tls, limits = listenerLimits, turnedAway } = options;
  const server = tls === undefined ? createServer(serverTimes(limits)) : createServerWithTls(tls, limits);
  server.maxConnections = options.connectionsMax + limits.handshakesMax;
  const strangers = new Strangers(limits, { clock, turnedAway });
  strangers.watch(server);
  const listener = new WebSocketListener(server, strangers, options, clock);
  await bind(server, options);
  return listener;
}

function serverTimes(limits: ListenerLimits) {
  return {
    maxHeaderSize: limits.headerBytesMax,
    headersTimeout: limits.handshakeTimeoutMs,
    requestTimeout: limits.handshakeTimeoutMs,
    connectionsCheckingInterval: limits.checkIntervalMs,
  };
}

function createServerWithTls(tls: NonNullable<ListenOptions['tls']>, limits: ListenerLimits): Server {
  return createTlsServer({
    ...serverTimes(limits),
    ca: tls.ca,
    cert: tls.cert,
    key: tls.key,
    minVersion: 'TLSv1.2',
    requestCert: true,
    rejectUnauthorized: true,
    handshakeTimeout: limits.handshakeTimeoutMs,
  });
}

async function bind(server: Server, { host, port }: ListenOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') {
        reject(
          new TransportError(
            `port ${port} on ${host} is taken by another program`,
            { code: 'port-taken', host, port },
            { cause: error },
          ),
        );
      } else {
        const url = `${host}:${port}`;
        reject(new TransportError(`cannot listen on ${url}`, { code: 'unreachable', url }, { cause: error }));
      }
    });
    server.listen({ host, port }, resolve);
  });
  server.removeAllListeners('error');
  // Accepting may fail for want of descriptors; the peer sees a refused link and comes again.
  server.on('error', () => {});
}

class WebSocketListener implements Listener {
  readonly connections: AsyncIterable<Connection>;
  readonly #accepted = new PullQueue<Connection>();
  readonly #live = new Set<WebSocketConnection>();
  /** Sockets whose admission is being decided. */
  readonly #waiting = new Set<Duplex>();
  readonly #answerHeaders = new WeakMap<IncomingMessage, Readonly<Record<string, string>>>();
  readonly #server: Server;
  readonly #strangers: Strangers;
  readonly #upgrader: WebSocketServer;
  readonly #options: ListenOptions;
  readonly #clock: MonotonicClock;
  #closed: Promise<void> | undefined;

  constructor(server: Server, strangers: Strangers, options: ListenOptions, clock: MonotonicClock) {
    this.connections = this.#accepted;
    this.#server = server;
    this.#strangers = strangers;
    this.#options = options;
    this.#clock = clock;
    this.#upgrader = new WebSocketServer({
      noServer: true,
      ...socketOptions,
      maxPayload: options.frameBytesMax,
    });
    this.#upgrader.on('headers', (lines, request) => {
      for (const [name, value] of Object.entries(this.#answerHeaders.get(request) ?? {})) {
        validateHeaderValue(name, value);
        lines.push(`${name}: ${value}`);
      }
    });
    server.on('upgrade', (request, socket, head) => void this.#upgrade(request, socket, head));
    server.on('request', (_request, response) => {
      response.writeHead(426, { 'content-type': 'text/plain', connection: 'close' });
      response.end('this port speaks WebSocket\n');
    });
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : this.#options.port;
  }

  close(): Promise<void> {
    this.#closed ??= this.#shut();
    return this.#closed;
  }

  async #shut(): Promise<void> {
    const gone = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#accepted.end();
    for (const socket of this.#waiting) socket.destroy();
    await Promise.all([...this.#live].map((connection) => connection.close('shutting down')));
    this.#server.closeAllConnections();
    await gone;
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // A peer that leaves during the upgrade is no news.
    socket.on('error', () => {});
    this.#waiting.add(socket);
    try {
      const admission = await this.#decide(request);
      if (socket.destroyed) return;
      // A certificate alone holds no place: who has one, and asks for nothing or for what it may not, stays a stranger.
      if (admission.accept || !isOwnFault(admission.status)) this.#strangers.know(request.socket);
      if (admission.accept) this.#accept(request, socket, head, admission.headers ?? {});
      else refuse(socket, admission.status, admission.reason);
    } catch {
      // `admit` is given to us; whatever it throws must not end the daemon, nor be told to the peer.
      refuse(socket, 500, 'the request could not be decided');
    } finally {
      this.#waiting.delete(socket);
    }
  }

  async #decide(request: IncomingMessage): Promise<Admission> {
    if (this.#closed !== undefined) return { accept: false, status: 503, reason: 'shutting down' };
    if (this.#live.size + this.#waiting.size > this.#options.connectionsMax) {
      const reason = `all ${this.#options.connectionsMax} connections are in use`;
      return { accept: false, status: 503, reason };
    }
    return await this.#options.admit({
      path: request.url ?? '/',
      headers: headersOf(request),
      remote: remoteOf(request),
      peerCertificate: certificateOf(request.socket),
    });
  }

  #accept(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    answer: Readonly<Record<string, string>>,
  ): void {
    this.#answerHeaders.set(request, answer);
    this.#upgrader.handleUpgrade(request, socket, head, (webSocket) => {
      const connection = new WebSocketConnection(
        webSocket,
        {
          headers: headersOf(request),
          remote: remoteOf(request),
          peerCertificate: certificateOf(request.socket),
        },
        { clock: this.#clock, frameBytesMax: this.#options.frameBytesMax },
      );
      this.#live.add(connection);
      void connection.closed.then(() => this.#live.delete(connection));
      this.#accepted.push(connection);
    });
  }
}

/** The others say that there is no room, or that it is the wrong moment. */
function isOwnFault(status: number): boolean {
  return status === 401 || status === 403;
}

function remoteOf(request: IncomingMessage): string {
  return `${request.socket.remoteAddress ?? 'unknown'}:${request.socket.remotePort ?? 0}`;
}

function refuse(socket: Duplex, status: number, reason: string): void {
  const body = Buffer.from(`${reason}\n`);
  socket.end(
    Buffer.concat([
      Buffer.from(
        `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Refused'}\r\nConnection: close\r\n` +
          `Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.byteLength}\r\n\r\n`,
      ),
      body,
    ]),
  );
  socket.once('finish', () => socket.destroy());
}
