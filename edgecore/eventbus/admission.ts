/** Which clients come in at the embedded broker: within limits, and as who they are. */

import { TLSSocket } from 'node:tls';
import type { AedesOptions, AuthenticateError, Client } from 'aedes';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { brokerLimits } from '#protocol/limits.ts';
import type { BrokerAccess, Identity, Rules } from './broker-access.ts';
import { ClientStream } from './client-stream.ts';

export interface Admission extends Required<Pick<AedesOptions, 'preConnect' | 'authenticate'>> {
  /** Undefined for what is the edge's own. */
  rulesOf(client: Client | null): Rules | undefined;
}

export interface AdmissionComponents {
  readonly clock: Clock;
  readonly log: Log;
  readonly refused: (reason: 'connect' | 'user') => void;
  /** Drops what is kept for a client that is away. */
  readonly forget: (clientId: string) => void;
}

export function createAdmission(
  access: BrokerAccess,
  { refused, log, clock, forget }: AdmissionComponents,
): Admission {
  const sessions = new Sessions(clock, (clientId) => {
    log.info({ client: clientId }, 'session of an MQTT client that did not come back was dropped');
    access.release(clientId);
    forget(clientId);
  });
  const identities = new WeakMap<Client, Identity>();
  const live = new Map<string, Client>();
  const enter = (client: Client, identity: Identity) => {
    identities.set(client, identity);
    sessions.came(client);
    live.set(client.id, client);
    client.conn.once('close', () => {
      // Another connection of the same user may have taken the id over.
      if (live.get(client.id) !== client) return;
      live.delete(client.id);
      if (!sessions.left(client.id)) access.release(client.id);
    });
  };
  return {
    preConnect(_, { clientId, clean }, answer) {
      const isShort = Buffer.byteLength(clientId) <= brokerLimits.clientIdBytesMax;
      // Nobody could come back to the session of a client without an id (MQTT 3.1.1, 3.1.3-8).
      const fits = isShort && (clientId !== '' || clean !== false);
      if (!fits) refused('connect');
      // Without an error aedes leaves the connection open.
      answer(fits ? null : new Error('the client id is too long, or none for a session'), fits);
    },
    authenticate(client, username, password, answer) {
      const identity = access.identify({ username, password, certificateName: certificateName(client) });
      if (identity === undefined || !access.claim(client.id, identity.user)) {
        refused('user');
        log.debug({ client: client.id, user: username }, 'MQTT client refused');
        answer(null, false);
        return;
      }
      if (!sessions.hasRoom(client)) {
        if (!live.has(client.id)) access.release(client.id);
        refused('connect');
        log.debug({ client: client.id }, 'MQTT client refused: too many sessions are kept');
        answer(unavailable(), null);
        return;
      }
      enter(client, identity);
      answer(null, true);
    },
    rulesOf: (client) => (client === null ? undefined : identities.get(client)?.rules),
  };
}

/** Which client ids have a session that is kept when they go, and since when they are gone. */
class Sessions {
  readonly #clock: Clock;
  readonly #dropped: (clientId: string) => void;
  readonly #kept = new Set<string>();
  /** Who left first stands first. */
  readonly #away = new Map<string, number>();

  constructor(clock: Clock, dropped: (clientId: string) => void) {
    this.#clock = clock;
    this.#dropped = dropped;
  }

  /** Also by dropping a session whose client has been away for long. */
  hasRoom({ id, clean }: Client): boolean {
    if (clean || this.#kept.has(id) || this.#kept.size < brokerLimits.sessionsMax) return true;
    const [oldest] = this.#away;
    if (oldest === undefined) return false;
    const [clientId, sinceMs] = oldest;
    if (this.#clock.monotonicMs() - sinceMs < brokerLimits.sessionAwayMinMs) return false;
    this.#away.delete(clientId);
    this.#kept.delete(clientId);
    this.#dropped(clientId);
    return true;
  }

  came({ id, clean }: Client): void {
    this.#away.delete(id);
    if (clean) this.#kept.delete(id);
    else this.#kept.add(id);
  }

  /** Whether its session is kept. */
  left(clientId: string): boolean {
    if (!this.#kept.has(clientId)) return false;
    this.#away.set(clientId, this.#clock.monotonicMs());
    return true;
  }
}

/** CONNACK code 3: server unavailable. */
function unavailable(): AuthenticateError {
  return Object.assign(new Error('too many sessions are kept'), { returnCode: 3 });
}

/** The name of a certificate that TLS has verified. */
function certificateName(client: Client): string | undefined {
  const stream: unknown = client.conn;
  const socket = stream instanceof ClientStream ? stream.socket : undefined;
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const name: unknown = socket.getPeerCertificate().subject?.CN;
  return typeof name === 'string' ? name : undefined;
}
