/**
 * Which node a caller of the HTTPS port already is, by the certificate whose key it used in the handshake. One
 * that has expired is a proof for some time more: an edge that was switched off over its certificate's end comes
 * back without anybody's help, as long as its Node exists.
 */

import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { type NodeSubject, readNodeSubject } from './pki.ts';

export interface PresentNode extends NodeSubject {
  readonly expired: boolean;
}

/** How long after its end a certificate still counts for asking for the next. */
export const expiredGraceMs = 90 * 86_400_000;

/** Undefined when there is no certificate, or it is none of ours. */
export function presentCertificate(
  socket: TLSSocket,
  ca: Uint8Array,
  nowMs: number,
): PresentNode | undefined {
  const { raw } = socket.getPeerCertificate();
  const subject = raw === undefined ? undefined : readNodeSubject(raw);
  if (raw === undefined || subject === undefined) return undefined;
  if (socket.authorized) return { ...subject, expired: false };
  // OpenSSL names one fault; whether it is the only one is looked at here.
  const fault: unknown = socket.authorizationError;
  if (fault !== 'CERT_HAS_EXPIRED') return undefined;
  const certificate = new X509Certificate(raw);
  const authority = new X509Certificate(ca);
  const endedMs = Date.parse(certificate.validTo);
  const isOurs = certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
  return isOurs && nowMs - endedMs <= expiredGraceMs ? { ...subject, expired: true } : undefined;
}
