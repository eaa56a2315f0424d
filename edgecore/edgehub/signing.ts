/**
 * One request for a certificate (wire 2.4, 2.5): a new key of the edge, a request to sign it, shown with a proof
 * that the asker may have it: a token, or the certificate that it has now. What comes back is checked.
 */

import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { Clock } from '#beehive/clock.ts';
import { bootstrapAnswerLimits } from '#protocol/limits.ts';
import { machineHeader } from '#protocol/session.ts';
import type { TlsIdentity } from '#protocol/transport/transport.ts';
import { newCertificateRequest, nodeCommonName } from './certificate-request.ts';
import { CredentialError } from './errors.ts';
import { type HttpsAnswer, httpsGet } from './https-get.ts';

export interface Signing {
  readonly nodeName: string;
  /** This machine's own name for itself (machine.ts). */
  readonly machine: string;
  /** `https://host:10002` */
  readonly httpServer: string;
  readonly timeoutMs: number;
  /** The only authority that is believed, PEM. */
  readonly ca: string;
  readonly proof: { readonly bearer: string } | Pick<TlsIdentity, 'cert' | 'key'>;
}

export type Signed = { readonly identity: TlsIdentity } | { readonly refusal: HttpsAnswer };

/** @throws CredentialError; CancelledError when the signal is aborted. */
export async function requestCertificate(
  signing: Signing,
  clock: Clock,
  signal: AbortSignal,
): Promise<Signed> {
  const { nodeName, machine, ca, proof, timeoutMs } = signing;
  const url = new URL('/edge.crt', signing.httpServer);
  const { request, key } = await newCertificateRequest(nodeName);
  const bearer = 'bearer' in proof ? { Authorization: `Bearer ${proof.bearer}` } : {};
  const own = 'bearer' in proof ? {} : { cert: proof.cert, key: proof.key };
  const answer = await httpsGet(
    {
      url,
      headers: { ...bearer, NodeName: nodeName, [machineHeader]: machine },
      body: request,
      trust: { ca, ...own },
      bytesMax: bootstrapAnswerLimits.bytesMax,
      timeoutMs,
    },
    clock,
    signal,
  );
  if (answer.status !== 200) return { refusal: answer };
  const certificate = readCertificate(answer.body, url);
  const isOurs = certificate.verify(new X509Certificate(ca).publicKey);
  if (!isOurs || !isCertificateOf(certificate, nodeName)) {
    throw badAnswer(url, `the certificate there is not of the CA, or not for node ${nodeName}`);
  }
  if (!certificate.checkPrivateKey(createPrivateKey(key))) {
    throw badAnswer(url, 'the certificate there is for another key than the one that was sent');
  }
  return { identity: { ca, cert: certificate.toString(), key } };
}

/** Whether the certificate makes its owner this node. */
export function isCertificateOf(certificate: X509Certificate, nodeName: string): boolean {
  return certificate.subject.split('\n').includes(`CN=${nodeCommonName(nodeName)}`);
}

/** What the cloud gave as its reason, for a sentence. */
export function reasonOf({ body }: HttpsAnswer): string {
  return Buffer.from(body).toString().trim().slice(0, 500) || 'no reason given';
}

/** @throws CredentialError `bad-answer` */
export function readCertificate(der: Uint8Array, url: URL): X509Certificate {
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
