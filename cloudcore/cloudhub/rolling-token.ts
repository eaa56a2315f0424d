/**
 * The join token that cloudcore renews and `keadm gettoken` prints. Each carries the generation in which it was
 * given out. The present one stands in a Secret: another makes all tokens of before useless at once, at every
 * cloudcore of the cluster, and touches no named token. Without the Secret it is the first, whose name is empty.
 */

import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import { SystemSecrets } from './system-secrets.ts';
import type { TokenIssuer } from './token.ts';
import { TokenError } from './token-error.ts';

/** What it is called where tokens are named. */
export const rollingTokenId = 'default';

const generationSecret = { name: 'hawser-token-generation', key: 'generation' };
const tokenSecret = { name: 'tokensecret', key: 'tokendata' };
/** Somebody revokes it just while it is renewed, again and again. */
const triesMax = 5;

const claimsSchema = z.object({ iat: z.number(), exp: z.number() });

/** What a token says of itself, by whoever it is signed; undefined: it is none, or one for ever. */
export function readClaims(
  text: string,
): { readonly caHash: string; readonly createdMs: number; readonly expiresMs: number } | undefined {
  const [caHash = '', , payload = ''] = text.split('.');
  try {
    const { iat, exp } = claimsSchema.parse(JSON.parse(Buffer.from(payload, 'base64url').toString()));
    return { caHash, createdMs: iat * 1000, expiresMs: exp * 1000 };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

export class RollingToken {
  readonly #issuer: TokenIssuer;
  readonly #secrets: SystemSecrets;
  readonly #clock: Clock;

  constructor({ issuer, api, clock }: { issuer: TokenIssuer; api: KubeApi; clock: Clock }) {
    this.#issuer = issuer;
    this.#clock = clock;
    this.#secrets = new SystemSecrets(api);
  }

  /** The one that is printed now, if there is one. @throws KubeError */
  async read(): Promise<string | undefined> {
    const bytes = (await this.#secrets.read(tokenSecret.name))?.[tokenSecret.key];
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('ascii').trim();
  }

  /** A fresh one takes the place of the one that is printed; those of before live on. @throws KubeError */
  async publish(caHash: string, lifeMs: number): Promise<void> {
    for (let tries = 1; tries <= triesMax; tries += 1) {
      const generation = await this.#generation();
      const token = await this.#issuer.issue(caHash, lifeMs, generation);
      await this.#secrets.put(tokenSecret.name, { [tokenSecret.key]: Buffer.from(token, 'ascii') });
      if ((await this.#generation()) === generation) return;
    }
  }

  /** All that were given out are refused from now on; a new one is printed for as long as the last one was. @throws KubeError */
  async revoke(): Promise<void> {
    await this.#secrets.put(generationSecret.name, { [generationSecret.key]: Buffer.from(randomUUID()) });
    const text = await this.read();
    const claims = text === undefined ? undefined : readClaims(text);
    if (claims !== undefined) await this.publish(claims.caHash, claims.expiresMs - this.#clock.now());
  }

  /** @throws TokenError when tokens of this generation were revoked; KubeError */
  async check(generation: string): Promise<void> {
    if (generation === (await this.#generation())) return;
    throw new TokenError(
      'this token was revoked on the cloud; print the present one there with `keadm gettoken`',
      { code: 'token-revoked' },
    );
  }

  async #generation(): Promise<string> {
    const bytes = (await this.#secrets.read(generationSecret.name))?.[generationSecret.key];
    return Buffer.from(bytes ?? []).toString();
  }
}
