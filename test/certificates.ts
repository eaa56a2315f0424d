/** Certificates for tests: an authority in memory that issues for 127.0.0.1 and for nodes. */

import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import type { TlsIdentity } from '#protocol/transport/transport.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const dayMs = 24 * 60 * 60 * 1000;

export interface TestAuthority {
  /** PEM */
  readonly ca: string;
  /** Good as a server on 127.0.0.1 and as a client. @param name subject, e.g. `CN=system:node:edge-1,O=system:nodes` */
  issue(name: string): Promise<TlsIdentity>;
}

export async function createTestAuthority(name = 'CN=Hawser test CA'): Promise<TestAuthority> {
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    name,
    keys,
    signingAlgorithm: algorithm,
    ...validity(),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  const ca = authority.toString('pem');
  return {
    ca,
    async issue(subject) {
      const own = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
      const certificate = await x509.X509CertificateGenerator.create({
        subject,
        issuer: authority.subject,
        publicKey: own.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
        ...validity(),
        extensions: [
          new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }]),
          new x509.ExtendedKeyUsageExtension([
            x509.ExtendedKeyUsage.serverAuth,
            x509.ExtendedKeyUsage.clientAuth,
          ]),
        ],
      });
      return { ca, cert: certificate.toString('pem'), key: await pemOf(own.privateKey) };
    },
  };
}

function validity(): { notBefore: Date; notAfter: Date } {
  const nowMs = Date.now();
  return { notBefore: new Date(nowMs - dayMs), notAfter: new Date(nowMs + dayMs) };
}

async function pemOf(key: CryptoKey): Promise<string> {
  const der = await crypto.subtle.exportKey('pkcs8', key);
  return x509.PemConverter.encode(der, 'PRIVATE KEY');
}
