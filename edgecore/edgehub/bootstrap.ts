/**
 * From a token to a certificate (wire 2.3): fetch the CA, compare its hash with the token's, and only then show
 * the token, over verified TLS, with a request for a key of our own. Also the check that `keadm join` makes
 * before it writes anything.
 */

import { X509Certificate } from 'node:crypto';
import type { Clock } from '#beehive/clock.ts';
import { machineHeader } from '#protocol/session.ts';
import type { TlsIdentity } from '#protocol/transport/transport.ts';
import { downloadCa } from './ca-download.ts';
import { newCertificateRequest, nodeCommonName } from './certificate-request.ts';
import { CredentialError } from './errors.ts';
import { type HttpsAnswer, httpsGet } from './https-get.ts';
import { type JoinToken, parseToken } from './token.ts';

export interface BootstrapOptions {
  readonly nodeName: string;
  /** As `keadm gettoken` prints it. */
  readonly token: string;
  /** `https://host:10002` */
  readonly httpServer: string;
  /** This machine's own name for itself (machine.ts). */
  readonly machine: string;
  /** For each of the two requests. */
  readonly timeoutMs: number;
}

const certificateBytesMax = 64 * 1024;

/** @throws CredentialError; CancelledError when the signal is aborted. */
export async function bootstrap(
  options: BootstrapOptions,
  { clock }: { clock: Clock },
  signal: AbortSignal,
): Promise<TlsIdentity> {
  const token = parseToken(options.token);
  const { timeoutMs, nodeName } = options;
  const caUrl = new URL('/ca.crt', options.httpServer);
  const caDer = await downloadCa({ url: caUrl, sha256: token.caHash, timeoutMs }, clock, signal);
  const ca = readCertificate(caDer, caUrl);
  const { request, key } = await newCertificateRequest(nodeName);
  const url = new URL('/edge.crt', options.httpServer);
  const answer = await httpsGet(
    {
      url,
      headers: {
        Authorization: `Bearer ${token.bearer}`,
        NodeName: nodeName,
        [machineHeader]: options.machine,
      },
      body: request,
      trust: { ca: ca.toString() },
      bytesMax: certificateBytesMax,
      timeoutMs,
    },
    clock,
    signal,
  );
  if (answer.status !== 200) throw refusal(answer, token, url, clock.now());
  const certificate = readCertificate(answer.body, url);
  if (!certificate.verify(ca.publicKey) || !isCertificateOf(certificate, nodeName)) {
    throw badAnswer(url, `the certificate there is not of the CA, or not for node ${nodeName}`);
  }
  return { ca: ca.toString(), cert: certificate.toString(), key };
}

/** Whether the certificate makes its owner this node. */
export function isCertificateOf(certificate: X509Certificate, nodeName: string): boolean {
  return certificate.subject.split('\n').includes(`CN=${nodeCommonName(nodeName)}`);
}

function refusal(answer: HttpsAnswer, token: JoinToken, url: URL, nowMs: number): CredentialError {
  const body = Buffer.from(answer.body).toString().trim().slice(0, 500);
  const { status } = answer;
  if (status === 401 && token.expiresMs !== undefined && token.expiresMs < nowMs) {
    const expiredAgoMs = nowMs - token.expiresMs;
    return new CredentialError(
      `the token expired ${spell(expiredAgoMs)} ago; take a new one: keadm gettoken on the cloud`,
      { code: 'expired-token', expiredAgoMs },
    );
  }
  const next =
    status === 401 ? '; take a new token: keadm gettoken on the cloud, and check this machine’s clock' : '';
  return new CredentialError(
    `${url.host} refused to sign a certificate (${status}): ${body || 'no reason given'}${next}`,
    { code: 'refused', status, body },
    { retry: status >= 500 ? 'backoff' : 'never' },
  );
}

function spell(ms: number): string {
  const minutes = Math.max(1, Math.round(ms / 60_000));
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

function readCertificate(der: Uint8Array, url: URL): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (error) {
    throw badAnswer(url, 'it is not a certificate', error);
  }
}

function badAnswer(url: URL, reason: string, cause?: unknown): CredentialError {
  return new CredentialError(
    `${url.href} answered something else than expected: ${reason}; is that cloudcore?`,
    { code: 'bad-answer', url: url.href, reason },
    { cause },
  );
}
