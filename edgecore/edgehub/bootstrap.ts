/**
 * From a token to a certificate (wire 2.3): fetch the CA, compare its hash with the token's, and only then show
 * the token, over verified TLS, with a request for a key of our own. Also the check that `keadm join` makes
 * before it writes anything.
 */

import type { Clock } from '#beehive/clock.ts';
import { expiredTokenText } from '#protocol/expired-token.ts';
import type { TlsIdentity } from '#protocol/transport/transport.ts';
import { downloadCa } from './ca-download.ts';
import { CredentialError } from './errors.ts';
import type { HttpsAnswer } from './https-get.ts';
import { readCertificate, reasonOf, requestCertificate, type Signing } from './signing.ts';
import { type JoinToken, parseToken } from './token.ts';

export interface BootstrapOptions extends Omit<Signing, 'ca' | 'proof'> {
  /** As `keadm gettoken` prints it. */
  readonly token: string;
}

/** @throws CredentialError; CancelledError when the signal is aborted. */
export async function bootstrap(
  { token: text, ...options }: BootstrapOptions,
  { clock }: { clock: Clock },
  signal: AbortSignal,
): Promise<TlsIdentity> {
  const token = parseToken(text);
  const url = new URL('/ca.crt', options.httpServer);
  const { timeoutMs } = options;
  const der = await downloadCa({ url, sha256: token.caHash, timeoutMs }, clock, signal);
  const ca = readCertificate(der, url).toString();
  const signed = await requestCertificate({ ...options, ca, proof: { bearer: token.bearer } }, clock, signal);
  if ('identity' in signed) return signed.identity;
  throw refused(signed.refusal, token, url.host, clock.now());
}

function refused(answer: HttpsAnswer, token: JoinToken, host: string, nowMs: number): CredentialError {
  const { status } = answer;
  if (status === 401 && token.expiresMs !== undefined && token.expiresMs < nowMs) {
    const expiredAgoMs = nowMs - token.expiresMs;
    return new CredentialError(expiredTokenText(expiredAgoMs), { code: 'expired-token', expiredAgoMs });
  }
  const body = reasonOf(answer);
  // A KubeEdge cloud says no more than that it refuses.
  const next =
    status === 401 && !body.includes('keadm')
      ? '; make a new token on the cloud with `keadm gettoken`, and check this machine’s clock'
      : '';
  return new CredentialError(
    `${host} refused to sign a certificate (${status}): ${body}${next}`,
    { code: 'refused', status, body },
    { retry: status >= 500 ? 'backoff' : 'never' },
  );
}
