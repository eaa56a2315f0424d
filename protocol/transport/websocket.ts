/**
 * The transport that KubeEdge speaks: WebSocket over TLS 1.2 or newer, one JSON text a frame, no compression.
 * Here is the dialling end; websocket-listener.ts has the other.
 */

import type { ClientRequest, IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { CancelledError, TransportError } from '../errors.ts';
import { connectionLimits } from '../limits.ts';
import type { Connection, DialOptions, Transport } from './transport.ts';
import {
  type ConnectionFacts,
  certificateOf,
  headersOf,
  type MonotonicClock,
  socketOptions,
  WebSocketConnection,
} from './websocket-connection.ts';
import { listenWebSocket } from './websocket-listener.ts';

export function createWebSocketTransport(components: { readonly clock: MonotonicClock }): Transport {
  const { clock } = components;
  return {
    listen: (options) => listenWebSocket(options, clock),
    dial: (options) => dial(options, clock),
  };
}

async function dial(options: DialOptions, clock: MonotonicClock): Promise<Connection> {
  const { signal, url } = options;
  if (signal.aborted) throw new CancelledError();
  const socket = createSocket(options);
  // Counts the whole handshake, so that a peer that sends a byte now and then does not hold us.
  const deadline = AbortSignal.timeout(options.handshakeTimeoutMs);
  return await new Promise<Connection>((resolve, reject) => {
    let facts: ConnectionFacts = { headers: {}, remote: remoteOf(url), peerCertificate: undefined };
    const giveUp = (error: Error) => {
      settle();
      reject(error);
      socket.terminate();
    };
    const cancel = () => giveUp(new CancelledError());
    const expire = () => giveUp(timeout(url, options.handshakeTimeoutMs));
    const settle = () => {
      signal.removeEventListener('abort', cancel);
      deadline.removeEventListener('abort', expire);
    };
    signal.addEventListener('abort', cancel, { once: true });
    deadline.addEventListener('abort', expire, { once: true });
    // Stays for good: after `giveUp` the aborted handshake is an error event too.
    socket.on('error', (error) => giveUp(unreachable(url, error)));
    socket.on('unexpected-response', (request, response) => {
      void readRefusal(request, response).then((body) => giveUp(refused(url, response, body)));
    });
    socket.on('upgrade', (response) => {
      facts = { ...facts, headers: headersOf(response), peerCertificate: certificateOf(response.socket) };
    });
    socket.on('open', () => {
      settle();
      socket.removeAllListeners();
      resolve(new WebSocketConnection(socket, facts, { clock, frameBytesMax: options.frameBytesMax }));
    });
  });
}

function createSocket({ url, headers, tls, frameBytesMax }: DialOptions): WebSocket {
  try {
    return new WebSocket(url, {
      headers: { ...headers },
      ...(tls === undefined ? {} : { ca: tls.ca, cert: tls.cert, key: tls.key }),
      minVersion: 'TLSv1.2',
      ...socketOptions,
      maxPayload: frameBytesMax,
      followRedirects: false,
    });
  } catch (error) {
    // A URL that is none, or PEM that is none.
    throw unreachable(url, error);
  }
}

/** The text of a refusal, as much of it as is worth reading; what goes wrong meanwhile leaves it shorter. */
async function readRefusal(request: ClientRequest, response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      const part = Buffer.from(chunk);
      chunks.push(part);
      bytes += part.byteLength;
      if (bytes >= connectionLimits.refusalBytesMax) break;
    }
  } catch {
    // The status alone says enough.
  }
  request.destroy();
  return Buffer.concat(chunks).toString('utf8').slice(0, connectionLimits.refusalBytesMax).trim();
}

function remoteOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : url;
}

function refused(url: string, response: IncomingMessage, body: string): TransportError {
  const status = response.statusCode ?? 0;
  return new TransportError(
    `${remoteOf(url)} refused the connection: ${status} ${body}`.trim(),
    { code: 'refused', url, status, body },
    { retry: 'backoff' },
  );
}

function unreachable(url: string, cause: unknown): TransportError {
  return new TransportError(
    `cannot reach ${remoteOf(url)}`,
    { code: 'unreachable', url },
    { retry: 'backoff', cause },
  );
}

function timeout(url: string, afterMs: number): TransportError {
  return new TransportError(
    `${remoteOf(url)} did not finish the handshake within ${afterMs} ms`,
    { code: 'timeout', afterMs },
    { retry: 'backoff' },
  );
}
