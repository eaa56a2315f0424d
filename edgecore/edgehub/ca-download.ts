/**
 * The one place where a server is spoken to that is not verified: an edge that joins does not have the CA yet,
 * this fetches it. Nothing is sent but the request for it, and nothing that comes back is believed before its
 * hash is the one in the token, which came to the edge by another way.
 */

import { createHash } from 'node:crypto';
import type { Clock } from '#beehive/clock.ts';
import { bootstrapAnswerLimits } from '#protocol/limits.ts';
import { CredentialError } from './errors.ts';
import { httpsGet } from './https-get.ts';

/** The CA certificate in DER. @throws CredentialError, `wrong-ca-hash` among others. */
export async function downloadCa(
  options: { readonly url: URL; readonly sha256: string; readonly timeoutMs: number },
  clock: Clock,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { url, sha256, timeoutMs } = options;
  const trust = { rejectUnauthorized: false };
  const { status, body } = await httpsGet(
    { url, headers: {}, trust, bytesMax: bootstrapAnswerLimits.bytesMax, timeoutMs },
    clock,
    signal,
  );
  if (status !== 200) {
    const reason = `status ${status}`;
    throw new CredentialError(
      `${url.href} gave no CA certificate (${reason}); is that cloudcore's HTTPS port?`,
      {
        code: 'bad-answer',
        url: url.href,
        reason,
      },
    );
  }
  const found = createHash('sha256').update(body).digest('hex');
  if (found !== sha256) {
    throw new CredentialError(
      `${url.href}: the CA there (sha256 ${found}) is not the one the token is for (${sha256}); the token was not sent. Take the token from this cloud (keadm gettoken); if it is, somebody stands between`,
      { code: 'wrong-ca-hash', expected: sha256, found },
    );
  }
  return body;
}

/**
 * What the clock of the cloud says, for a person whose own may be wrong: by a wrong one no certificate can be
 * verified. Nothing but a warning depends on it. @throws CredentialError
 */
export async function cloudTime(
  { url, timeoutMs }: { readonly url: URL; readonly timeoutMs: number },
  clock: Clock,
  signal: AbortSignal,
): Promise<number | undefined> {
  const trust = { rejectUnauthorized: false };
  const { bytesMax } = bootstrapAnswerLimits;
  return (await httpsGet({ url, headers: {}, trust, bytesMax, timeoutMs }, clock, signal)).dateMs;
}
