/**
 * A link between the two ends, whatever carries it. One suite (test/suites/transport.suite.ts) holds every
 * implementation to what is said here.
 *
 * - A frame arrives whole or not at all, and frames of one connection arrive in the order they were sent.
 * - `frames` ends when the peer closes in order, and throws TransportError `closed` when the link breaks.
 * - Who does not read stops the peer: the socket is paused while nobody pulls from `frames`.
 * - `send` resolves when the frame has left our buffers; it rejects with TransportError when it cannot.
 */

import type { ListenerLimits } from '../limits.ts';
import type { Envelope } from '../message.ts';
import type { TurnedAway } from './strangers.ts';

export interface Connection {
  /** Headers of the upgrade, lower-case names. At the dialling end: those of the answer. */
  readonly headers: Readonly<Record<string, string>>;
  /** Where the peer is, `address:port`. */
  readonly remote: string;
  /** DER of the certificate the peer proved to own, when the listener asked for one. */
  readonly peerCertificate: Uint8Array | undefined;
  /** May be iterated once. A frame that is not an envelope throws ProtocolError; iteration may go on by calling `frames` no more: close. */
  readonly frames: AsyncIterable<Envelope>;
  send(envelope: Envelope): Promise<void>;
  /** A protocol-level ping; resolves with the round trip when the pong is there. */
  ping(signal?: AbortSignal): Promise<{ readonly rttMs: number }>;
  /** Calls back for each ping of the peer. One listener: a later call takes the place of the one before. */
  onPing(pinged: () => void): void;
  /** Bytes that `send` has taken and the link has not. */
  readonly bufferedBytes: number;
  /** Idempotent. Resolves when the link is gone. */
  close(reason?: string): Promise<void>;
  /** Resolves, never rejects, once the link is gone, with the reason. */
  readonly closed: Promise<string>;
}

/** What the listener says to an upgrade: take it, with headers for the answer, or refuse it with a status and a text. */
export type Admission =
  | { readonly accept: true; readonly headers?: Readonly<Record<string, string>> }
  | { readonly accept: false; readonly status: number; readonly reason: string };

export interface UpgradeRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly remote: string;
  readonly peerCertificate: Uint8Array | undefined;
}

export interface Listener {
  readonly port: number;
  /** Each admitted connection once. Ends at `close`. */
  readonly connections: AsyncIterable<Connection>;
  close(): Promise<void>;
}

/** PEM texts. `ca` is the only trust anchor; the system's own are never used. */
export interface TlsIdentity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface ListenOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** Absent: no TLS (in-memory, tests). Present: client certificates are required and verified. */
  readonly tls?: TlsIdentity;
  readonly admit: (request: UpgradeRequest) => Admission | Promise<Admission>;
  readonly connectionsMax: number;
  readonly frameBytesMax: number;
  /** Default: listenerLimits. */
  readonly limits?: ListenerLimits;
  /** Told of each peer that was closed before it could say who it is. */
  readonly turnedAway?: (why: TurnedAway) => void;
}

export interface DialOptions {
  /** `wss://host:port/path` */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls?: TlsIdentity;
  readonly handshakeTimeoutMs: number;
  readonly frameBytesMax: number;
  readonly signal: AbortSignal;
}

export interface Transport {
  /** @throws TransportError `port-taken` */
  listen(options: ListenOptions): Promise<Listener>;
  /** @throws TransportError `unreachable`, `refused`, `timeout`; CancelledError when the signal is aborted. */
  dial(options: DialOptions): Promise<Connection>;
}
