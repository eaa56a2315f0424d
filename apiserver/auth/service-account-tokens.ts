/** Tokens of service accounts: signed for a time, an audience and, if asked, one object; checked against what is stored. */

import { createPrivateKey, createPublicKey, type KeyObject, randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import { type Api, resource } from '../api.ts';
import { limits } from '../limits.ts';
import { allAuthenticated, serviceAccountName, type User } from './user.ts';

export const issuer = 'https://kubernetes.default.svc.cluster.local';
export const standardAudience = issuer;

const boundSchema = z.object({ name: z.string(), uid: z.string() });

const claimsSchema = z.object({
  aud: z.union([z.string(), z.array(z.string())]),
  sub: z.string(),
  jti: z.string().optional(),
  'kubernetes.io': z.object({
    namespace: z.string(),
    serviceaccount: boundSchema,
    pod: boundSchema.optional(),
    secret: boundSchema.optional(),
    node: boundSchema.optional(),
  }),
});

export interface BoundObject {
  readonly kind: 'Pod' | 'Secret' | 'Node';
  readonly name: string;
  readonly uid: string;
}

export interface TokenGrant {
  readonly namespace: string;
  readonly account: { readonly name: string; readonly uid: string };
  readonly audiences: readonly string[];
  readonly seconds: number;
  readonly bound?: BoundObject | undefined;
}

export class ServiceAccountTokens {
  readonly #privateKey: KeyObject;
  readonly #publicKey: KeyObject;
  readonly #api: Api;
  readonly #clock: Clock;

  constructor(privateKeyPem: string, components: { api: Api; clock: Clock }) {
    this.#privateKey = createPrivateKey(privateKeyPem);
    this.#publicKey = createPublicKey(this.#privateKey);
    this.#api = components.api;
    this.#clock = components.clock;
  }

  async issue(grant: TokenGrant): Promise<{ token: string; expiresMs: number }> {
    const { SignJWT } = await import('jose');
    const seconds = Math.min(grant.seconds, limits.tokenSeconds.longest);
    const now = Math.floor(this.#clock.now() / 1000);
    const { namespace, account, bound } = grant;
    const token = await new SignJWT({
      'kubernetes.io': {
        namespace,
        serviceaccount: account,
        ...(bound === undefined ? {} : { [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid } }),
      },
    })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer(issuer)
      .setSubject(serviceAccountName(namespace, account.name))
      .setAudience([...grant.audiences])
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + seconds)
      .setJti(randomUUID())
      .sign(this.#privateKey);
    return { token, expiresMs: (now + seconds) * 1000 };
  }

  /** The account behind a token for one of these audiences; undefined for a token that is not, or no longer, good. */
  async verify(
    token: string,
    audiences: readonly string[] = [standardAudience],
  ): Promise<{ user: User; audiences: readonly string[] } | undefined> {
    if (token.length > limits.tokenChars) return undefined;
    const { errors, jwtVerify } = await import('jose');
    try {
      const { payload } = await jwtVerify(token, this.#publicKey, {
        issuer,
        algorithms: ['ES256'],
        audience: [...audiences],
        currentDate: new Date(this.#clock.now()),
        clockTolerance: 5,
      });
      const claims = claimsSchema.safeParse(payload);
      if (!claims.success || !this.#stillStored(claims.data['kubernetes.io'])) return undefined;
      const granted = [claims.data.aud].flat().filter((audience) => audiences.includes(audience));
      return { user: toUser(claims.data), audiences: granted };
    } catch (error) {
      if (error instanceof errors.JOSEError) return undefined;
      throw error;
    }
  }

  /** A token ends with its account, and with the object it is bound to. */
  #stillStored(about: z.infer<typeof claimsSchema>['kubernetes.io']): boolean {
    const { namespace } = about;
    const bound = [
      [resource.serviceAccounts, namespace, about.serviceaccount],
      [resource.pods, namespace, about.pod],
      [resource.secrets, namespace, about.secret],
      [resource.nodes, undefined, about.node],
    ] as const;
    return bound.every(([of, within, object]) => {
      if (object === undefined) return true;
      const found = this.#api.get({ ...of, namespace: within, name: object.name });
      return found?.metadata.uid === object.uid;
    });
  }
}

function toUser(claims: z.infer<typeof claimsSchema>): User {
  const { namespace, serviceaccount, pod } = claims['kubernetes.io'];
  return {
    name: serviceAccountName(namespace, serviceaccount.name),
    uid: serviceaccount.uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, allAuthenticated],
    ...(pod === undefined
      ? {}
      : {
          extra: {
            'authentication.kubernetes.io/pod-name': [pod.name],
            'authentication.kubernetes.io/pod-uid': [pod.uid],
          },
        }),
  };
}
