/** The join token (wire 2.2): the hash of the CA to expect, and what to show to it. */

import { z } from 'zod';
import { CredentialError } from './errors.ts';

export interface JoinToken {
  /** SHA-256 of the CA certificate in DER, lower-case hex. */
  readonly caHash: string;
  /** For the header Authorization. */
  readonly bearer: string;
  /** As the token says of itself; only the cloud's verdict counts. */
  readonly expiresMs: number | undefined;
}

const claimsSchema = z.looseObject({ exp: z.number().optional() });
const form = /^([0-9a-f]{64})\.([\w-]+\.([\w-]+)\.[\w-]+)$/i;
const tokenCharsMax = 4096;

/** @throws CredentialError `malformed-token` */
export function parseToken(text: string): JoinToken {
  const trimmed = text.trim();
  const [, caHash, bearer, payload] = trimmed.length <= tokenCharsMax ? (form.exec(trimmed) ?? []) : [];
  if (caHash === undefined || bearer === undefined || payload === undefined) {
    throw new CredentialError(
      'the token is malformed: it must be the whole line that `keadm gettoken` prints on the cloud',
      { code: 'malformed-token' },
    );
  }
  return { caHash: caHash.toLowerCase(), bearer, expiresMs: expiryOf(payload) };
}

function expiryOf(payload: string): number | undefined {
  try {
    const claims = claimsSchema.safeParse(JSON.parse(Buffer.from(payload, 'base64url').toString()));
    return claims.data?.exp === undefined ? undefined : claims.data.exp * 1000;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
}
