/** Finds out who sends a request: by client certificate, else by bearer token. */

import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { StatusError } from '../status-error.ts';
import type { ServiceAccountTokens } from './service-account-tokens.ts';
import { allAuthenticated, anonymous, type User } from './user.ts';

export class Authenticator {
  readonly #tokens: ServiceAccountTokens;
  readonly #bySocket = new WeakMap<TLSSocket, User>();

  constructor(tokens: ServiceAccountTokens) {
    this.#tokens = tokens;
  }

  /** @throws StatusError 401 for credentials that are wrong; anonymous without any. */
  async authenticate(request: IncomingMessage): Promise<User> {
    const byCertificate = this.#certificateUser(request);
    if (byCertificate !== undefined) return byCertificate;
    const header = request.headers.authorization;
    if (header === undefined) return anonymous;
    const token = /^Bearer\s+(\S+)$/i.exec(header)?.[1];
    const verified = token === undefined ? undefined : await this.#tokens.verify(token);
    if (verified === undefined) throw unauthorized();
    return verified.user;
  }

  #certificateUser(request: IncomingMessage): User | undefined {
    const { socket } = request;
    if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
    const known = this.#bySocket.get(socket);
    if (known !== undefined) return known;
    const subject = socket.getPeerCertificate().subject;
    const name = [subject?.CN ?? ''].flat()[0] ?? '';
    if (name === '') return undefined;
    const organizations = [subject?.O ?? []].flat();
    const user = { name, groups: [...organizations, allAuthenticated] };
    this.#bySocket.set(socket, user);
    return user;
  }
}

export function unauthorized(): StatusError {
  return new StatusError('Unauthorized', 'Unauthorized');
}
