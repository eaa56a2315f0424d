/** Reads what a PKCS#10 request asks for, once its sender has proved to own the key. Whether it may is decided elsewhere. */

import { CertificateRequestError, readRequest } from './pki.ts';

export interface ServingRequest {
  readonly commonNames: readonly string[];
  readonly organisations: readonly string[];
  readonly dnsNames: readonly string[];
  readonly addresses: readonly string[];
  /** Mail addresses, URIs and other kinds of alternative names. */
  readonly otherNames: number;
}

/** @throws CertificateRequestError */
export async function readServingRequest(pem: string): Promise<ServingRequest> {
  const der = derOf(pem);
  await readRequest(der);
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const request = new x509.Pkcs10CertificateRequest(Uint8Array.from(der));
  const names = request.extensions
    .filter((extension) => extension instanceof x509.SubjectAlternativeNameExtension)
    .flatMap((extension) => extension.names.items);
  const valuesOf = (type: string) => names.filter((name) => name.type === type).map(({ value }) => value);
  const dnsNames = valuesOf('dns');
  const addresses = valuesOf('ip');
  return {
    commonNames: request.subjectName.getField('CN'),
    organisations: request.subjectName.getField('O'),
    dnsNames,
    addresses,
    otherNames: names.length - dnsNames.length - addresses.length,
  };
}

function derOf(pem: string): Uint8Array {
  const body = /-----BEGIN CERTIFICATE REQUEST-----([\s\S]+?)-----END CERTIFICATE REQUEST-----/.exec(
    pem,
  )?.[1];
  if (body !== undefined) return Buffer.from(body, 'base64');
  const reason = 'it is not a request in PEM';
  throw new CertificateRequestError(`certificate request refused: ${reason}`, {
    code: 'bad-request',
    reason,
  });
}
