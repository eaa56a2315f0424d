/** One end of a link of the memory network: frames leave in a lane of their own, one after the other. */

import { CancelledError, ProtocolError, TransportError } from '../errors.ts';
import { connectionLimits, frameLimits } from '../limits.ts';
import type { Envelope } from '../message.ts';
import { decodeFrame, encodeFrame } from '../wire/json-frame.ts';
import type { MemoryClock, MemoryFaults } from './memory.ts';
import { PullQueue } from './pull-queue.ts';
import type { Connection } from './transport.ts';

interface Shared {
  readonly clock: MemoryClock;
  readonly random: { next(): number };
  readonly faults: Readonly<MemoryFaults>;
  readonly isSilent: () => boolean;
}

interface Outgoing {
  readonly dueMs: number;
  readonly bytes: number;
  readonly deliver: (peer: MemoryConnection) => void;
  readonly sent: () => void;
  readonly failed: (error: Error) => void;
  /** A close notice or a ping: not lost, not overtaken. */
  readonly isControl: boolean;
}

const control = { bytes: 0, sent: () => {}, failed: () => {}, isControl: true } as const;

export class MemoryConnection implements Connection {
  readonly headers: Readonly<Record<string, string>>;
  readonly remote: string;
  readonly peerCertificate: Uint8Array | undefined;
  readonly frames: AsyncIterable<Envelope>;
  readonly closed: Promise<string>;

  readonly #shared: Shared;
  readonly #limits: { readonly bytesMax: number; readonly depthMax: number };
  readonly #unread = new PullQueue<string>(() => this.#peer?.wake());
  readonly #lane: Outgoing[] = [];
  readonly #gone = new AbortController();
  #peer: MemoryConnection | undefined;
  readonly #pings = new Set<(error: Error) => void>();
  #pinged: () => void = () => {};
  #isSleeping = false;
  #isClosing = false;
  #bufferedBytes = 0;
  #lastDueMs = 0;

  constructor(
    facts: Pick<Connection, 'headers' | 'remote' | 'peerCertificate'>,
    frameBytesMax: number,
    shared: Shared,
  ) {
    this.headers = facts.headers;
    this.remote = facts.remote;
    this.peerCertificate = facts.peerCertificate;
    this.#limits = { bytesMax: frameBytesMax, depthMax: frameLimits.depthMax };
    this.#shared = shared;
    this.frames = this.#read();
    this.closed = new Promise((resolve) => {
      this.#gone.signal.addEventListener('abort', () => resolve(String(this.#gone.signal.reason)));
    });
  }

  join(peer: MemoryConnection): void {
    this.#peer = peer;
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  async send(envelope: Envelope): Promise<void> {
    const text = encodeFrame(envelope, this.#limits);
    await new Promise<void>((sent, failed) => {
      this.#depart({
        bytes: Buffer.byteLength(text),
        deliver: (peer) => peer.#arrive(text),
        sent,
        failed,
        isControl: false,
      });
    });
  }

  async ping(signal?: AbortSignal): Promise<{ readonly rttMs: number }> {
    const { clock } = this.#shared;
    const startMs = clock.monotonicMs();
    if (signal?.aborted) throw new CancelledError();
    let giveUp = (_error: Error) => {};
    const cancel = () => giveUp(new CancelledError());
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      await new Promise<void>((pong, reject) => {
        giveUp = reject;
        this.#pings.add(reject);
        this.#depart({ ...control, deliver: (peer) => peer.#pong(pong) });
        if (this.#gone.signal.aborted) reject(this.#closedError());
      });
    } finally {
      this.#pings.delete(giveUp);
      signal?.removeEventListener('abort', cancel);
    }
    return { rttMs: clock.monotonicMs() - startMs };
  }

  onPing(pinged: () => void): void {
    this.#pinged = pinged;
  }

  async close(reason = ''): Promise<void> {
    if (!this.#isClosing && !this.#gone.signal.aborted) {
      this.#isClosing = true;
      this.#unread.end();
      this.#depart({
        ...control,
        deliver: (peer) => {
          peer.#unread.end();
          peer.#end(reason || 'closed by the peer');
          this.#end(reason || 'closed');
        },
      });
      const { clock } = this.#shared;
      // A peer that takes nothing does not hold the close for ever.
      void clock.sleep(connectionLimits.closeTimeoutMs, this.#gone.signal).then(
        () => this.breakLink('the peer did not answer the close'),
        () => {},
      );
    }
    await this.closed;
  }

  /** The link is gone, for both ends, and what was under way with it. */
  breakLink(reason: string): void {
    this.#break(reason);
    this.#peer?.breakFromPeer(reason);
  }

  /** The other end's half of `breakLink`. */
  breakFromPeer(reason: string): void {
    this.#break(reason);
  }

  /** Carries what is due: called when a frame departs, when the peer has room again, when the network heals. */
  wake(): void {
    const { clock, isSilent } = this.#shared;
    const peer = this.#peer;
    while (peer !== undefined && !this.#isSleeping && !isSilent()) {
      const next = this.#lane[0];
      if (next === undefined) return;
      const waitMs = next.dueMs - clock.monotonicMs();
      if (waitMs > 0) {
        this.#sleep(waitMs);
        return;
      }
      if (peer.#unread.size >= connectionLimits.unreadFramesMax && !peer.#isClosing) return;
      this.#lane.shift();
      this.#carry(next, peer);
    }
  }

  #sleep(ms: number): void {
    this.#isSleeping = true;
    void this.#shared.clock.sleep(ms, this.#gone.signal).then(
      () => {
        this.#isSleeping = false;
        this.wake();
      },
      // Only the end of the link cuts this short, and then there is nothing left to carry.
      () => {},
    );
  }

  #break(reason: string): void {
    this.#unread.fail(this.#closedError(reason));
    this.#end(reason);
  }

  async *#read(): AsyncGenerator<Envelope, void, undefined> {
    for await (const text of this.#unread) yield decodeFrame(text, this.#limits);
  }

  #depart(frame: Omit<Outgoing, 'dueMs'>): void {
    if (this.#gone.signal.aborted) {
      frame.failed(this.#closedError());
      return;
    }
    const { clock, faults, random } = this.#shared;
    const delayMs = faults.delayMinMs + random.next() * Math.max(0, faults.delayMaxMs - faults.delayMinMs);
    this.#lastDueMs = Math.max(this.#lastDueMs, clock.monotonicMs() + delayMs);
    const outgoing = { ...frame, dueMs: this.#lastDueMs };
    const last = this.#lane.at(-1);
    const overtakes = last?.isControl === false && !frame.isControl && random.next() < faults.reorderChance;
    this.#lane.splice(overtakes ? -1 : this.#lane.length, 0, outgoing);
    this.#bufferedBytes += frame.bytes;
    this.wake();
  }

  #carry(frame: Outgoing, peer: MemoryConnection): void {
    const { faults, random } = this.#shared;
    this.#bufferedBytes -= frame.bytes;
    if (!frame.isControl && random.next() < faults.breakChance) {
      frame.failed(this.#closedError('the link broke'));
      this.breakLink('the link broke');
      return;
    }
    frame.sent();
    if (frame.isControl || random.next() >= faults.dropChance) frame.deliver(peer);
  }

  #pong(arrived: () => void): void {
    this.#pinged();
    this.#depart({ ...control, deliver: () => arrived() });
  }

  #arrive(text: string): void {
    if (Buffer.byteLength(text) <= this.#limits.bytesMax) {
      this.#unread.push(text);
      return;
    }
    const limitBytes = this.#limits.bytesMax;
    this.#unread.fail(
      new ProtocolError(`the peer sent a frame of more than ${limitBytes} bytes`, {
        code: 'frame-too-large',
        bytes: Buffer.byteLength(text),
        limitBytes,
      }),
    );
    this.breakLink('closed by the peer with code 1009');
  }

  #end(reason: string): void {
    if (this.#gone.signal.aborted) return;
    this.#gone.abort(reason);
    for (const frame of this.#lane.splice(0)) frame.failed(this.#closedError());
    for (const reject of this.#pings) reject(this.#closedError());
    this.#bufferedBytes = 0;
  }

  #closedError(reason = String(this.#gone.signal.reason)): TransportError {
    return new TransportError(
      `connection with ${this.remote}: ${reason}`,
      { code: 'closed', reason },
      { retry: 'backoff' },
    );
  }
}
