/**
 * A client's socket with limits in both directions. In: a packet that announces more than it may ends the
 * connection before it is read. Out: writing never waits, so that a client that does not read holds up no other;
 * what it leaves unread is counted, and beyond the limit it is disconnected. What is written in one turn of the event
 * loop leaves as one: a system call costs as much as all that comes before it.
 */

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

export interface ClientStreamLimits {
  readonly packetBytesMax: number;
  readonly unreadBytesMax: number;
}

export type ClientFault = 'packet-too-large' | 'does-not-read';

export class ClientStream extends Duplex {
  readonly #socket: Socket;
  readonly #limits: ClientStreamLimits;
  readonly #fault: (fault: ClientFault) => void;
  readonly #header = new PacketHeaders();

  constructor(socket: Socket, limits: ClientStreamLimits, fault: (fault: ClientFault) => void) {
    super({ allowHalfOpen: false, writableHighWaterMark: limits.unreadBytesMax });
    this.#socket = socket;
    this.#limits = limits;
    this.#fault = fault;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  get socket(): Socket {
    return this.#socket;
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    if (this.#socket.writableLength + chunk.length > this.#limits.unreadBytesMax) {
      this.#fault('does-not-read');
      done(new Error('the client does not read what it subscribed to'));
      return;
    }
    if (!this.#socket.destroyed) this.#send(chunk);
    done();
  }

  #send(chunk: Buffer): void {
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      setImmediate(() => this.#socket.uncork());
    }
    this.#socket.write(chunk);
  }

  override _final(done: () => void): void {
    // Ends what is corked, too.
    this.#socket.end(done);
  }

  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    // What was said last, as why a client is not let in, still goes out.
    if (this.#socket.writableCorked > 0) this.#socket.uncork();
    this.#socket.destroy();
    // The broker has been told by the end of the stream; a broken connection is nobody's error.
    done(null);
  }

  #take(chunk: Buffer): void {
    if (this.#header.largest(chunk) > this.#limits.packetBytesMax) {
      this.#fault('packet-too-large');
      this.destroy();
      return;
    }
    if (!this.push(chunk)) this.#socket.pause();
  }
}

/** Follows the fixed headers of MQTT packets (3.1.1, 2.2) through a stream of chunks. */
export class PacketHeaders {
  /** Bytes of the current packet's body that are still to come. */
  #bodyLeft = 0;
  /** Undefined outside of a length field; else what has been read of it. */
  #length: { value: number; shift: number } | undefined;

  /** The largest length that a packet announces in this chunk; endless for one that is no length. */
  largest(chunk: Uint8Array): number {
    let largest = 0;
    for (let at = 0; at < chunk.length; ) {
      if (this.#bodyLeft > 0) {
        const skipped = Math.min(this.#bodyLeft, chunk.length - at);
        this.#bodyLeft -= skipped;
        at += skipped;
        continue;
      }
      const byte = chunk[at] ?? 0;
      at += 1;
      if (this.#length === undefined) {
        this.#length = { value: 0, shift: 0 };
        continue;
      }
      this.#length.value += (byte & 0x7f) * 2 ** this.#length.shift;
      this.#length.shift += 7;
      if ((byte & 0x80) === 0) {
        largest = Math.max(largest, this.#length.value);
        this.#bodyLeft = this.#length.value;
        this.#length = undefined;
      } else if (this.#length.shift >= 28) {
        return Number.POSITIVE_INFINITY;
      }
    }
    return largest;
  }
}
