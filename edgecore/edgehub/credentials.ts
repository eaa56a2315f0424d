/**
 * The edge's CA, certificate and key on the disk: read when they are good for this node, written so that a
 * power cut leaves the old ones or the new ones.
 */

import { createPrivateKey, randomUUID, X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describeError } from '#protocol/errors.ts';
import type { TlsIdentity } from '#protocol/transport/transport.ts';
import { isCertificateOf } from './bootstrap.ts';

export interface CredentialFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export type Credentials = { readonly identity: TlsIdentity } | { readonly unusable: string };

/** Says why what is there cannot be used; a certificate that is not there yet is `absent`. */
export async function readCredentials(
  files: CredentialFiles,
  nodeName: string,
  nowMs: number,
): Promise<Credentials> {
  let identity: TlsIdentity;
  let certificate: X509Certificate;
  try {
    const [ca, cert, key] = await Promise.all(
      [files.caFile, files.certFile, files.keyFile].map((file) => readFile(file, 'utf8')),
    );
    identity = { ca: ca ?? '', cert: cert ?? '', key: key ?? '' };
    certificate = new X509Certificate(identity.cert);
    if (!certificate.checkPrivateKey(createPrivateKey(identity.key))) {
      return { unusable: `${files.keyFile} is not the key of ${files.certFile}` };
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { unusable: 'absent' };
    return { unusable: `cannot read the certificate of this edge: ${describeError(error)}` };
  }
  if (!isCertificateOf(certificate, nodeName)) {
    return { unusable: `${files.certFile} is not for node ${nodeName}` };
  }
  if (Date.parse(certificate.validTo) <= nowMs) {
    return { unusable: `${files.certFile} expired on ${certificate.validTo}` };
  }
  return { identity };
}

/** The certificate last: until it is there, the pair does not match and is not used. */
export async function saveCredentials(files: CredentialFiles, identity: TlsIdentity): Promise<void> {
  await replaceFile(files.caFile, identity.ca, 0o644);
  await replaceFile(files.keyFile, identity.key, 0o600);
  await replaceFile(files.certFile, identity.cert, 0o644);
}

async function replaceFile(file: string, text: string, mode: number): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o755 });
  const fresh = `${file}.${randomUUID()}`;
  try {
    const handle = await open(fresh, 'wx', mode);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(fresh, file);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
}
