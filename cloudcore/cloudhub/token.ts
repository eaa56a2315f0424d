/**
 * Join tokens: KubeEdge's four parts, `<sha256 of the CA, hex>.<jwt>` (wire 2.2), signed with a key of their own
 * that can do nothing else and is created or adopted like the CA. The edge checks the first part against the CA
 * it is shown and sends the rest, so what is verified here is the JWT alone. There are two kinds: the rolling one
 * (rolling-token.ts), and named ones, of which named-tokens.ts keeps what they may be used for.
 */

import { randomBytes, randomUUID } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import type { Clock } from '#beehive/clock.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import { expiredTokenText } from '#protocol/expired-token.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import type { NamedToken } from './named-tokens.ts';
import { SystemSecrets } from './system-secrets.ts';
import { TokenError } from './token-error.ts';

/** What a token's signature is good for; whether it was revoked is for its kind to say. */
export type VerifiedToken =
  | { readonly kind: 'rolling'; readonly generation: string }
  | { readonly kind: 'named'; readonly id: string };

/** What stands in `sub`: it tells a named token whose record is gone from the rolling one, which has none. */
const subject = { rolling: 'rolling', named: 'named' };
const keySecret = { name: 'hawser-token-key', key: 'key' };
const keyBytes = 32;
const algorithm = 'HS256';
const tokenCharsMax = 2048;

export class TokenIssuer {
  readonly #key: Uint8Array;
  readonly #clock: Clock;

  constructor(key: Uint8Array, clock: Clock) {
    this.#key = key;
    this.#clock = clock;
  }

  /** A rolling token. */
  issue(caHash: string, lifeMs: number, generation = ''): Promise<string> {
    const claims = { sub: subject.rolling, jti: randomUUID(), gen: generation };
    return this.#sign(caHash, claims, this.#clock.now() + lifeMs);
  }

  issueNamed(caHash: string, { id, expiresMs }: NamedToken): Promise<string> {
    return this.#sign(caHash, { sub: subject.named, jti: id }, expiresMs);
  }

  /** @throws TokenError that says what is wrong with the bearer token and what to do. */
  async verify(jwt: string): Promise<VerifiedToken> {
    if (jwt.length > tokenCharsMax || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(jwt)) throw malformed();
    let payload: JWTPayload;
    try {
      const now = { currentDate: new Date(this.#clock.now()) };
      ({ payload } = await jwtVerify(jwt, this.#key, { algorithms: [algorithm], ...now }));
    } catch (error) {
      throw this.#refusal(error);
    }
    if (payload.sub === subject.named && payload.jti !== undefined) return { kind: 'named', id: payload.jti };
    if (payload.exp === undefined) throw malformed();
    return { kind: 'rolling', generation: typeof payload.gen === 'string' ? payload.gen : '' };
  }

  #sign(caHash: string, claims: JWTPayload, expiresMs: number | undefined): Promise<string> {
    const jwt = new SignJWT(claims)
      .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
      .setIssuedAt(Math.floor(this.#clock.now() / 1000));
    if (expiresMs !== undefined) jwt.setExpirationTime(Math.floor(expiresMs / 1000));
    return jwt.sign(this.#key).then((signed) => `${caHash}.${signed}`);
  }

  #refusal(error: unknown): TokenError {
    if (error instanceof errors.JWTExpired) {
      const expiredAgoMs = Math.max(0, this.#clock.now() - Number(error.payload.exp) * 1000);
      return new TokenError(expiredTokenText(expiredAgoMs), { code: 'token-expired', expiredAgoMs });
    }
    if (error instanceof errors.JWSSignatureVerificationFailed) {
      return new TokenError(
        'token is not signed by this cloud; get one from this very cloud with `keadm gettoken`',
        { code: 'token-signature' },
      );
    }
    return malformed(error);
  }
}

/** The issuer with the cluster's signing key, made here if nobody made it yet. @throws KubeError */
export async function openTokenIssuer(components: { api: KubeApi; clock: Clock }): Promise<TokenIssuer> {
  const secrets = new SystemSecrets(components.api);
  const { name, key: field } = keySecret;
  const stored =
    (await secrets.read(name)) ?? (await secrets.createOrAdopt(name, { [field]: randomBytes(keyBytes) }));
  const key = stored[field];
  if (key === undefined || key.length < keyBytes) {
    throw new UnrecoverableError(
      `secret kubeedge/${name} holds no signing key of ${keyBytes} bytes in "${field}"; delete it to have a new one made (tokens given out before then stop working)`,
    );
  }
  return new TokenIssuer(key, components.clock);
}

function malformed(cause?: unknown): TokenError {
  return new TokenError(
    'token is malformed; pass it whole, as `keadm gettoken` prints it',
    { code: 'token-malformed' },
    { cause },
  );
}
