/**
 * Peers that have not said yet who they are, at a listener that anybody can reach. Unfinished handshakes are
 * bounded by dropping the oldest, so that who holds places open loses them and an honest peer finds one. An
 * address whose peers keep failing is closed unheard for a while; peers that succeed cost their address nothing,
 * so a fleet behind one address is not held up.
 */

import { isIPv6, type Server, type Socket } from 'node:net';
import type { ListenerLimits } from '../limits.ts';

export type TurnedAway = 'fails-too-often' | 'handshakes-full';

interface Failures {
  /** How many more are allowed now. */
  left: number;
  atMs: number;
}

type Limits = Pick<ListenerLimits, 'handshakesMax' | 'failuresBurst' | 'failuresPerSecond' | 'addressesMax'>;
type Peer = Pick<Socket, 'remoteAddress' | 'remotePort'>;

export class Strangers {
  readonly #limits: Limits;
  readonly #clock: { monotonicMs(): number };
  readonly #turnedAway: (why: TurnedAway) => void;
  /** In the order they came. */
  readonly #waiting = new Map<string, Socket>();
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

  /** The peer has said who it is. Any socket of the connection will do, also the one that TLS made of it. */
  know(peer: Peer): void {
    this.#waiting.delete(idOf(peer));
  }

  #meet(socket: Socket): void {
    const address = networkOf(socket.remoteAddress ?? '');
    if (!this.#mayTry(address)) {
      this.#turnedAway('fails-too-often');
      destroySoon(socket);
      return;
    }
    const id = idOf(socket);
    this.#waiting.set(id, socket);
    socket.once('close', () => {
      if (this.#waiting.delete(id)) this.#failed(address);
    });
    if (this.#waiting.size <= this.#limits.handshakesMax) return;
    for (const oldest of this.#waiting.values()) {
      this.#turnedAway('handshakes-full');
      destroySoon(oldest);
      return;
    }
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
