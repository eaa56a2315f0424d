/** A new key of the edge and the request to sign it (wire 2.4). The x509 library is loaded only here. */

import { generateKeyPairSync, webcrypto } from 'node:crypto';

/** What a node's certificate says of it. */
export const nodeCommonName = (nodeName: string): string => `system:node:${nodeName}`;
export const nodeOrganisation = 'system:nodes';

export interface CertificateRequest {
  /** PKCS#10, DER. */
  readonly request: Uint8Array;
  /** SEC1, PEM: never leaves this machine. */
  readonly key: string;
}

export async function newCertificateRequest(nodeName: string): Promise<CertificateRequest> {
  await import('reflect-metadata');
  const { Pkcs10CertificateRequestGenerator } = await import('@peculiar/x509');
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const [signing, verifying] = await Promise.all([
    webcrypto.subtle.importKey('jwk', privateKey.export({ format: 'jwk' }), algorithm, false, ['sign']),
    webcrypto.subtle.importKey('jwk', publicKey.export({ format: 'jwk' }), algorithm, true, ['verify']),
  ]);
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ O: [nodeOrganisation] }, { CN: [nodeCommonName(nodeName)] }],
    keys: { privateKey: signing, publicKey: verifying },
    signingAlgorithm: algorithm,
  });
  return {
    request: new Uint8Array(request.rawData),
    key: privateKey.export({ type: 'sec1', format: 'pem' }).toString(),
  };
}
