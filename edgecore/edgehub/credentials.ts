/**
 * The edge's CA, certificate and key on the disk: read when they are good for this node, written so that a
 * power cut at any moment leaves the old pair or the new one. A new key waits beside the old one until its
 * certificate is there: without that, a cut between the two files would leave an edge that nobody lets in.
 */

import { createPrivateKey, randomUUID, X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describeError } from '#protocol/errors.ts';
import type { TlsIdentity } from '#protocol/transport/transport.ts';
import { isCertificateOf } from './signing.ts';

export interface CredentialFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export type Credentials =
  | { readonly identity: TlsIdentity }
  /** Good in everything but its date: the key still proves who asks for the next. */
  | { readonly expired: TlsIdentity; readonly unusable: string }
  | { readonly unusable: string };

/** Says why what is there cannot be used; a certificate that is not there yet is `absent`. */
export async function readCredentials(
  files: CredentialFiles,
  nodeName: string,
  nowMs: number,
): Promise<Credentials> {
  let identity: TlsIdentity;
  let certificate: X509Certificate;
  try {
    const [ca, cert] = await Promise.all(
      [files.caFile, files.certFile].map((file) => readFile(file, 'utf8')),
    );
    certificate = new X509Certificate(cert ?? '');
    const key = await readKeyOf(certificate, files);
    if (key === undefined) return { unusable: `${files.keyFile} is not the key of ${files.certFile}` };
    identity = { ca: ca ?? '', cert: cert ?? '', key };
  } catch (error) {
    if (isAbsent(error)) return { unusable: 'absent' };
    return { unusable: `cannot read the certificate of this edge: ${describeError(error)}` };
  }
  if (!isCertificateOf(certificate, nodeName)) {
    return { unusable: `${files.certFile} is not for node ${nodeName}` };
  }
  if (Date.parse(certificate.validTo) <= nowMs) {
    return { expired: identity, unusable: `${files.certFile} expired on ${certificate.validTo}` };
  }
  return { identity };
}

export async function saveCredentials(files: CredentialFiles, identity: TlsIdentity): Promise<void> {
  await replaceFile(files.caFile, identity.ca, 0o644);
  await replaceFile(nextKeyFile(files), identity.key, 0o600);
  await replaceFile(files.certFile, identity.cert, 0o644);
  await move(nextKeyFile(files), files.keyFile);
}

/** Undefined when neither the key nor the one that waited beside it is this certificate's. */
async function readKeyOf(certificate: X509Certificate, files: CredentialFiles): Promise<string | undefined> {
  const next = await readIfPresent(nextKeyFile(files));
  const key = await readIfPresent(files.keyFile);
  if (key !== undefined && certificate.checkPrivateKey(createPrivateKey(key))) return key;
  if (next !== undefined && certificate.checkPrivateKey(createPrivateKey(next))) {
    await move(nextKeyFile(files), files.keyFile);
    return next;
  }
  if (key === undefined) await readFile(files.keyFile);
  return undefined;
}

function nextKeyFile({ keyFile }: CredentialFiles): string {
  return `${keyFile}.next`;
}

async function readIfPresent(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
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
    await move(fresh, file);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
}

/** On the disk when it resolves. */
async function move(from: string, to: string): Promise<void> {
  await rename(from, to);
  const directory = await open(dirname(to), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
