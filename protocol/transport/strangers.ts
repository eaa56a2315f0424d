/**
 * Peers that have not been let in yet, at a listener that anybody can reach. They are bounded by dropping the
 * oldest, of one address and of all, so that who holds places open loses them and an honest peer finds one. An
 * address whose peers keep failing is closed unheard for a while; peers that succeed cost their address nothing,
 * nor do those that had to make room, so a fleet behind one address is not held up.
 */

import { isIPv6, type Server, type Socket } from 'node:net';
import type { ListenerLimits } from '../limits.ts';

export type TurnedAway = 'fails-too-often' | 'handshakes-full' | 'address-full';

interface Waiting {
  readonly id: string;
  readonly address: string;
  readonly socket: Socket;
}

interface Failures {
  /** How many more are allowed now. */
  left: number;
  atMs: number;
}

type Limits = Pick<
  ListenerLimits,
  'handshakesMax' | 'handshakesPerAddressMax' | 'failuresBurst' | 'failuresPerSecond' | 'addressesMax'
>;
type Peer = Pick<Socket, 'remoteAddress' | 'remotePort'>;

export class Strangers {
  readonly #limits: Limits;
  readonly #clock: { monotonicMs(): number };
  readonly #turnedAway: (why: TurnedAway) => void;
  /** In the order they came. */
  readonly #waiting = new Map<string, Waiting>();
  /** The same by address. */
  readonly #waitingOf = new Map<string, Set<Waiting>>();
  /** By address, in the order of their last failure. */
  readonly #failures = new Map<string, Failures>();

  constructor(
    limits: Limits,
    components: {
      readonly clock: { monotonicMs(): number };
      readonly turnedAway?: ((why: TurnedAway) => void) | undefined;
    },
  ) {
    this.#limits = limits;
    this.#clock = components.clock;
    this.#turnedAway = components.turnedAway ?? (() => {});
  }

  /** Peers that are not known yet. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Addresses that failures are remembered of. */
  get addresses(): number {
    return this.#failures.size;
  }

  /** Meets every connection of the server before TLS does. */
  watch(server: Server): void {
    server.prependListener('connection', (socket: Socket) => this.#meet(socket));
  }

  /** The peer is let in, or was answered. Any socket of the connection will do, also the one that TLS made of it. */
  know(peer: Peer): void {
    this.#forget(this.#waiting.get(idOf(peer)));
  }

  #meet(socket: Socket): void {
    const address = networkOf(socket.remoteAddress ?? '');
    if (!this.#mayTry(address)) {
      this.#turnedAway('fails-too-often');
      destroySoon(socket);
      return;
    }
    const peer = { id: idOf(socket), address, socket };
    const neighbours = this.#waitingOf.get(address) ?? new Set();
    this.#waitingOf.set(address, neighbours.add(peer));
    this.#waiting.set(peer.id, peer);
    socket.once('close', () => {
      if (this.#forget(peer)) this.#failed(address);
    });
    if (neighbours.size > this.#limits.handshakesPerAddressMax) this.#dropOldest(neighbours, 'address-full');
    if (this.#waiting.size > this.#limits.handshakesMax)
      this.#dropOldest(this.#waiting.values(), 'handshakes-full');
  }

  #dropOldest(waiting: Iterable<Waiting>, why: TurnedAway): void {
    for (const oldest of waiting) {
      this.#forget(oldest);
      this.#turnedAway(why);
      destroySoon(oldest.socket);
      return;
    }
  }

  /** False when it was known or dropped before. */
  #forget(peer: Waiting | undefined): boolean {
    if (peer === undefined) return false;
    const neighbours = this.#waitingOf.get(peer.address);
    if (!neighbours?.delete(peer)) return false;
    if (neighbours.size === 0) this.#waitingOf.delete(peer.address);
    // A later socket may have the port of one whose end is not told yet.
    if (this.#waiting.get(peer.id) === peer) this.#waiting.delete(peer.id);
    return true;
  }

  #mayTry(address: string): boolean {
    const failures = this.#failures.get(address);
    if (failures === undefined) return true;
    this.#refill(failures);
    if (failures.left >= this.#limits.failuresBurst) this.#failures.delete(address);
    return failures.left >= 1;
  }

  #failed(address: string): void {
    const { failuresBurst, addressesMax } = this.#limits;
    const failures = this.#failures.get(address) ?? {
      left: failuresBurst,
      atMs: this.#clock.monotonicMs(),
    };
    this.#refill(failures);
    failures.left = Math.max(0, failures.left - 1);
    this.#failures.delete(address);
    this.#failures.set(address, failures);
    if (this.#failures.size <= addressesMax) return;
    for (const longestUnseen of this.#failures.keys()) {
      this.#failures.delete(longestUnseen);
      return;
    }
  }

  #refill(failures: Failures): void {
    const { failuresBurst, failuresPerSecond } = this.#limits;
    const nowMs = this.#clock.monotonicMs();
    const more = ((nowMs - failures.atMs) / 1000) * failuresPerSecond;
    failures.left = Math.min(failuresBurst, failures.left + more);
    failures.atMs = nowMs;
  }
}

/** Not at once: TLS looks at a new socket in this same turn, and wants to find it whole. */
function destroySoon(socket: Socket): void {
  process.nextTick(() => socket.destroy());
}

function idOf({ remoteAddress, remotePort }: Peer): string {
  return `${remoteAddress} ${remotePort}`;
}

/** An IPv6 host has a whole /64 to choose addresses from. */
function networkOf(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address;
  const [head = '', tail] = address.split('::');
  const before = head.split(':').filter((part) => part !== '');
  const after = (tail ?? '').split(':').filter((part) => part !== '');
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - before.length - after.length }, () => '0');
  return [...before, ...zeros, ...after].slice(0, 4).join(':');
}
