/**
 * One WebSocket as a Connection: JSON text frames, bounded both ways. Who dialled and who listened is the
 * business of websocket.ts and websocket-listener.ts.
 */

import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { RawData, WebSocket } from 'ws';
import { CancelledError, ProtocolError, TransportError } from '../errors.ts';
import { connectionLimits, frameLimits } from '../limits.ts';
import type { Envelope } from '../message.ts';
import { decodeFrame, encodeFrame, isFarewell } from '../wire/json-frame.ts';
import { PullQueue } from './pull-queue.ts';
import type { Connection } from './transport.ts';

export interface MonotonicClock {
  monotonicMs(): number;
}

export interface ConnectionFacts {
  readonly headers: Readonly<Record<string, string>>;
  readonly remote: string;
  readonly peerCertificate: Uint8Array | undefined;
}

interface PendingPing {
  readonly resolve: (result: { readonly rttMs: number }) => void;
  readonly reject: (error: Error) => void;
  readonly sentMs: number;
}

/** Options of `ws` that both ends use; the pings of the peer are answered by WebSocketConnection, within bounds. */
export const socketOptions = {
  perMessageDeflate: false,
  autoPong: false,
  maxFragments: connectionLimits.fragmentsMax,
  closeTimeout: connectionLimits.closeTimeoutMs,
} as const;

/** Close codes of a peer that went in order: normal, going away, and a close frame without a code. */
const orderlyCodes: ReadonlySet<number> = new Set([1000, 1001, 1005]);

export class WebSocketConnection implements Connection {
  readonly headers: Readonly<Record<string, string>>;
  readonly remote: string;
  readonly peerCertificate: Uint8Array | undefined;
  readonly frames: AsyncIterable<Envelope>;
  readonly closed: Promise<string>;

  readonly #socket: WebSocket;
  readonly #clock: MonotonicClock;
  readonly #frameLimits: { readonly bytesMax: number; readonly depthMax: number };
  readonly #unread = new PullQueue<Buffer>((frame) => this.#pulled(frame));
  #unreadBytes = 0;
  readonly #pings = new Map<string, PendingPing>();
  #pingCount = 0;
  #pinged: () => void = () => {};
  #closing = false;
  #fault: Error | undefined;

  constructor(
    socket: WebSocket,
    facts: ConnectionFacts,
    options: { readonly clock: MonotonicClock; readonly frameBytesMax: number },
  ) {
    this.headers = facts.headers;
    this.remote = facts.remote;
    this.peerCertificate = facts.peerCertificate;
    this.#socket = socket;
    this.#clock = options.clock;
    this.#frameLimits = { bytesMax: options.frameBytesMax, depthMax: frameLimits.depthMax };
    this.frames = this.#read();
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve(this.#gone(code, reason.toString())));
    });
    socket.on('message', (data) => this.#received(data));
    socket.on('error', (error) => this.#failed(error));
    socket.on('ping', (data) => this.#pong(data));
    socket.on('pong', (data) => this.#ponged(data.toString()));
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  async send(envelope: Envelope): Promise<void> {
    const text = encodeFrame(envelope, this.#frameLimits);
    if (this.#socket.readyState !== this.#socket.OPEN) throw this.#closedError('the link is closed');
    await new Promise<void>((resolve, reject) => {
      this.#socket.send(text, (error) => {
        if (error) reject(this.#closedError('the link broke while sending', error));
        else resolve();
      });
    });
  }

  ping(signal?: AbortSignal): Promise<{ readonly rttMs: number }> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new CancelledError());
      if (this.#socket.readyState !== this.#socket.OPEN) {
        return reject(this.#closedError('the link is closed'));
      }
      this.#pingCount += 1;
      const id = String(this.#pingCount);
      const abort = () => {
        this.#pings.delete(id);
        reject(new CancelledError());
      };
      const settle = () => signal?.removeEventListener('abort', abort);
      signal?.addEventListener('abort', abort, { once: true });
      this.#pings.set(id, {
        sentMs: this.#clock.monotonicMs(),
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      // A failing write ends in 'close', which rejects all pings.
      this.#socket.ping(id, undefined, () => {});
    });
  }

  onPing(pinged: () => void): void {
    this.#pinged = pinged;
  }

  async close(reason = ''): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      // The reason of a close frame has at most 123 bytes; a character has at most three here.
      this.#socket.close(1000, reason.slice(0, 40));
      // The answer to the close frame stands behind what was not read.
      this.#unread.end();
      this.#socket.resume();
    }
    await this.closed;
  }

  async *#read(): AsyncGenerator<Envelope, void, undefined> {
    for await (const frame of this.#unread) yield decodeFrame(frame.toString('utf8'), this.#frameLimits);
  }

  #received(data: RawData): void {
    if (this.#closing) return;
    const frame = bufferOf(data);
    if (isFarewell(frame)) {
      void this.close('farewell');
      return;
    }
    this.#unreadBytes += frame.byteLength;
    this.#unread.push(frame);
    if (this.#isFull() && !this.#socket.isPaused) this.#socket.pause();
  }

  #pulled(frame: Buffer): void {
    this.#unreadBytes -= frame.byteLength;
    if (this.#socket.isPaused && !this.#isFull()) this.#socket.resume();
  }

  #isFull(): boolean {
    return (
      this.#unread.size >= connectionLimits.unreadFramesMax ||
      this.#unreadBytes >= connectionLimits.unreadBytesMax
    );
  }

  #pong(data: Buffer): void {
    this.#pinged();
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    if (this.bufferedBytes > connectionLimits.pongBufferBytesMax) return;
    this.#socket.pong(data, undefined, () => {});
  }

  #ponged(id: string): void {
    const ping = this.#pings.get(id);
    this.#pings.delete(id);
    ping?.resolve({ rttMs: this.#clock.monotonicMs() - ping.sentMs });
  }

  #failed(error: Error): void {
    this.#fault ??= faultOf(error, this.#frameLimits.bytesMax);
  }

  #gone(code: number, text: string): string {
    const reason = text || this.#fault?.message || reasonOf(code);
    if (this.#closing || (orderlyCodes.has(code) && this.#fault === undefined)) this.#unread.end();
    else this.#unread.fail(this.#fault instanceof ProtocolError ? this.#fault : this.#closedError(reason));
    for (const ping of this.#pings.values()) ping.reject(this.#closedError(reason));
    this.#pings.clear();
    return reason;
  }

  #closedError(reason: string, cause: unknown = this.#fault): TransportError {
    return new TransportError(
      `connection with ${this.remote}: ${reason}`,
      { code: 'closed', reason },
      { retry: 'backoff', cause },
    );
  }
}

/** Headers with one text a name, as Node has them lower-case. */
export function headersOf(message: IncomingMessage): Readonly<Record<string, string>> {
  const headers: [string, string][] = [];
  for (const [name, value] of Object.entries(message.headers)) {
    if (value !== undefined) headers.push([name, Array.isArray(value) ? value.join(', ') : value]);
  }
  return Object.fromEntries(headers);
}

export function certificateOf(socket: unknown): Uint8Array | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  // Without a certificate Node answers an empty object, whatever its types say.
  const certificate: { readonly raw?: Uint8Array } = socket.getPeerCertificate();
  return certificate.raw;
}

function bufferOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

function faultOf(error: Error & { readonly code?: string }, bytesMax: number): Error {
  if (error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') {
    return new ProtocolError(
      `the peer sent a frame of more than ${bytesMax} bytes`,
      { code: 'frame-too-large', bytes: bytesMax + 1, limitBytes: bytesMax },
      { cause: error },
    );
  }
  if (error.code?.startsWith('WS_ERR_')) {
    return new ProtocolError(
      `the peer broke the WebSocket protocol: ${error.message}`,
      { code: 'malformed-frame', reason: error.message },
      { cause: error },
    );
  }
  return error;
}

function reasonOf(code: number): string {
  if (orderlyCodes.has(code)) return 'closed by the peer';
  return code === 1006 ? 'the link broke' : `closed by the peer with code ${code}`;
}
