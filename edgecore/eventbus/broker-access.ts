/**
 * Who may do what at the embedded broker: users by password or by the name in a verified certificate, each with the
 * topics that it may publish and subscribe to. Without users everybody on this machine may do everything, as at the
 * brokers that KubeEdge's clients know.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import { topicMatches } from '#protocol/topics.ts';

export interface Rules {
  /** Topic filters; undefined: every topic. */
  readonly publish?: readonly string[] | undefined;
  readonly subscribe?: readonly string[] | undefined;
}

export interface User extends Rules {
  readonly name: string;
  /** Without one the user comes by certificate only. */
  readonly password?: string | undefined;
}

export interface AccessOptions {
  readonly users: readonly User[];
  /** What clients without a name may do; undefined: nothing, they are refused. */
  readonly anonymous?: Rules | undefined;
}

export interface Identity {
  /** Empty for clients without one. */
  readonly user: string;
  readonly rules: Rules;
}

export interface Credentials {
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  /** Common name of the certificate that TLS has verified. */
  readonly certificateName: string | undefined;
}

export class BrokerAccess {
  readonly #users: ReadonlyMap<string, User>;
  readonly #anonymous: Rules | undefined;
  /** Client ids that are connected or have a session, and whose they are. */
  readonly #owners = new Map<string, string>();

  constructor({ users, anonymous }: AccessOptions) {
    this.#users = new Map(users.map((user) => [user.name, user]));
    this.#anonymous = users.length === 0 ? {} : anonymous;
  }

  /** Undefined: refused. */
  identify({ username, password, certificateName }: Credentials): Identity | undefined {
    if (certificateName !== undefined) {
      const named = this.#users.get(certificateName);
      // Without users the authority that signed it is all that counts.
      if (named === undefined && this.#users.size > 0) return undefined;
      return { user: certificateName, rules: named ?? {} };
    }
    if (username === undefined || username === '' || this.#users.size === 0) {
      return this.#anonymous === undefined ? undefined : { user: '', rules: this.#anonymous };
    }
    const user = this.#users.get(username);
    const fits = isEqual(user?.password ?? '', password ?? new Uint8Array());
    if (user?.password === undefined || !fits) return undefined;
    return { user: username, rules: user };
  }

  /** False when the id is another user's: who takes an id over gets that client's session. */
  claim(clientId: string, user: string): boolean {
    const owner = this.#owners.get(clientId);
    if (owner !== undefined && owner !== user) return false;
    this.#owners.set(clientId, user);
    return true;
  }

  release(clientId: string): void {
    this.#owners.delete(clientId);
  }
}

export function mayPublish({ publish }: Rules, topic: string): boolean {
  return publish === undefined || publish.some((filter) => topicMatches(filter, topic));
}

export function maySubscribe({ subscribe }: Rules, wanted: string): boolean {
  return subscribe === undefined || subscribe.some((filter) => covers(filter, wanted));
}

/** Whether every topic of one filter is one of the other. */
export function covers(filter: string, wanted: string): boolean {
  if (wanted.startsWith('$') && (filter.startsWith('+') || filter.startsWith('#'))) return false;
  const levels = wanted.split('/');
  const allowed = filter.split('/');
  for (const [at, level] of allowed.entries()) {
    if (level === '#') return true;
    const asked = levels[at];
    if (asked === undefined || asked === '#') return false;
    if (level !== '+' && level !== asked) return false;
  }
  // `a/#` also takes `a` itself.
  return levels.length === allowed.length;
}

/** In a time that says nothing of either. */
function isEqual(expected: string, given: Uint8Array): boolean {
  const digest = (value: string | Uint8Array) => createHash('sha256').update(value).digest();
  return timingSafeEqual(digest(expected), digest(given));
}
