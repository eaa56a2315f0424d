/** Which clients come in at the embedded broker: within limits, and as who they are. */

import { TLSSocket } from 'node:tls';
import type { AedesOptions, Client } from 'aedes';
import type { Log } from '#beehive/log.ts';
import { brokerLimits } from '#protocol/limits.ts';
import type { BrokerAccess, Identity, Rules } from './broker-access.ts';
import { ClientStream } from './client-stream.ts';

export interface Admission extends Required<Pick<AedesOptions, 'preConnect' | 'authenticate'>> {
  /** Undefined for what is the edge's own. */
  rulesOf(client: Client | null): Rules | undefined;
}

export function createAdmission(
  access: BrokerAccess,
  { refused, log }: { readonly refused: (reason: 'connect' | 'user') => void; readonly log: Log },
): Admission {
  /** Client ids whose session is kept when they go. */
  const sessions = new Set<string>();
  const identities = new WeakMap<Client, Identity>();
  const live = new Map<string, Client>();
  const enter = (client: Client, identity: Identity) => {
    identities.set(client, identity);
    if (client.clean) sessions.delete(client.id);
    else sessions.add(client.id);
    live.set(client.id, client);
    client.conn.once('close', () => {
      // Another connection of the same user may have taken the id over.
      if (live.get(client.id) !== client) return;
      live.delete(client.id);
      if (!sessions.has(client.id)) access.release(client.id);
    });
  };
  return {
    preConnect(_, packet, answer) {
      const { clientId } = packet;
      const fits =
        Buffer.byteLength(clientId) <= brokerLimits.clientIdBytesMax &&
        (packet.clean !== false || sessions.has(clientId) || sessions.size < brokerLimits.sessionsMax);
      if (!fits) refused('connect');
      answer(null, fits);
    },
    authenticate(client, username, password, answer) {
      const identity = access.identify({ username, password, certificateName: certificateName(client) });
      const fits = identity !== undefined && access.claim(client.id, identity.user);
      if (fits) enter(client, identity);
      else {
        refused('user');
        log.debug({ client: client.id, user: username }, 'MQTT client refused');
      }
      answer(null, fits);
    },
    rulesOf: (client) => (client === null ? undefined : identities.get(client)?.rules),
  };
}

/** The name of a certificate that TLS has verified. */
function certificateName(client: Client): string | undefined {
  const stream: unknown = client.conn;
  const socket = stream instanceof ClientStream ? stream.socket : undefined;
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const name: unknown = socket.getPeerCertificate().subject?.CN;
  return typeof name === 'string' ? name : undefined;
}
