/**
 * Certificates as KubeEdge shapes them (wire 2.1, 2.4): ECDSA P-256, a CA named KubeEdge, its server
 * certificate, and node certificates whose subject is ours to say. No files and no API here.
 * The x509 library is loaded at the first use: a daemon that only restarts needs none of it.
 */

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import type * as X509 from '@peculiar/x509';
import { HawserError } from '#protocol/errors.ts';

/** A certificate in DER with its private key. */
export interface Credential {
  readonly certificate: Uint8Array;
  readonly key: KeyObject;
}

export interface NodeSubject {
  readonly node: string;
  /** Hash by which the machine named itself when it joined; kept in the certificate as its serial number. */
  readonly machine: string | undefined;
}

export class CertificateRequestError extends HawserError<{ code: 'bad-request'; reason: string }> {}

const organisation = 'system:nodes';
const nodePrefix = 'system:node:';
const signature = { name: 'ECDSA', hash: 'SHA-256' } as const;
const curve = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const dayMs = 86_400_000;
const longLifeMs = 100 * 365 * dayMs;
/** Edge machines without a battery clock start in the past, others run a little behind. */
const backdateMs = 3_600_000;
const rsaBits = { min: 2048, max: 4096 };

async function loadX509(): Promise<typeof X509> {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

export async function createCa(nowMs: number): Promise<Credential> {
  const x509 = await loadX509();
  const { key, spki } = newKey();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: 'CN=KubeEdge',
    issuer: 'CN=KubeEdge',
    notBefore: new Date(nowMs - backdateMs),
    notAfter: new Date(nowMs + longLifeMs),
    publicKey: new x509.PublicKey(spki),
    signingKey: await signingKey(key),
    signingAlgorithm: signature,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign |
          x509.KeyUsageFlags.digitalSignature |
          x509.KeyUsageFlags.keyEncipherment,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(new x509.PublicKey(spki)),
    ],
  });
  return { certificate: new Uint8Array(certificate.rawData), key };
}

export async function issueServer(
  ca: Credential,
  names: readonly string[],
  nowMs: number,
): Promise<Credential> {
  const x509 = await loadX509();
  const { key, spki } = newKey();
  const certificate = await issue(x509, ca, {
    subject: [{ O: ['KubeEdge'] }, { CN: ['KubeEdge'] }],
    spki,
    nowMs,
    lifeMs: longLifeMs,
    extensions: [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value })),
      ),
    ],
  });
  return { certificate, key };
}

/** Nothing of the edge's request but its key goes in: not its subject, not its names, not its usages. */
export async function issueNode(
  ca: Credential,
  request: { readonly subject: NodeSubject; readonly publicKey: Uint8Array; readonly days: number },
  nowMs: number,
): Promise<Uint8Array> {
  const x509 = await loadX509();
  const { node, machine } = request.subject;
  return issue(x509, ca, {
    subject: [
      { O: [organisation] },
      { CN: [`${nodePrefix}${node}`] },
      ...(machine === undefined ? [] : [{ '2.5.4.5': [machine] }]),
    ],
    spki: request.publicKey,
    nowMs,
    lifeMs: request.days * dayMs,
    extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])],
  });
}

/**
 * The public key (SPKI, DER) of a PKCS#10 request whose sender proved to own it.
 * @throws CertificateRequestError
 */
export async function readRequest(der: Uint8Array): Promise<Uint8Array> {
  const x509 = await loadX509();
  const refuse = (reason: string, cause?: unknown) =>
    new CertificateRequestError(
      `certificate request refused: ${reason}`,
      { code: 'bad-request', reason },
      { cause },
    );
  let request: X509.Pkcs10CertificateRequest;
  let spki: Uint8Array;
  let publicKey: KeyObject;
  try {
    request = new x509.Pkcs10CertificateRequest(Uint8Array.from(der));
    spki = new Uint8Array(request.publicKey.rawData);
    publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch (error) {
    throw refuse('it is not a PKCS#10 request in DER', error);
  }
  if (!strongEnough(publicKey))
    throw refuse('its key must be EC P-256 or P-384, or RSA of 2048 to 4096 bits');
  let proven: boolean;
  try {
    proven = await request.verify();
  } catch (error) {
    throw refuse('its signature cannot be checked', error);
  }
  if (!proven) throw refuse('it is not signed with the key it is for');
  return spki;
}

/** Whom a node certificate names; undefined when it is none. Its chain is checked by TLS, not here. */
export function readNodeSubject(der: Uint8Array): NodeSubject | undefined {
  let subject: ReadonlyMap<string, readonly string[]>;
  try {
    subject = readSubject(new X509Certificate(der));
  } catch {
    return undefined;
  }
  const [name, ...others] = subject.get('CN') ?? [];
  if (name === undefined || others.length > 0 || !name.startsWith(nodePrefix)) return undefined;
  if (subject.get('O')?.[0] !== organisation) return undefined;
  const node = name.slice(nodePrefix.length);
  return isNodeName(node) ? { node, machine: subject.get('serialNumber')?.[0] } : undefined;
}

/** A Kubernetes object name: what may stand in a subject, a path and a log line without escaping. */
export function isNodeName(text: string): boolean {
  return text.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(text);
}

export function sec1Der(key: KeyObject): Uint8Array {
  return key.export({ type: 'sec1', format: 'der' });
}

export function sec1Pem(key: KeyObject): string {
  return key.export({ type: 'sec1', format: 'pem' }).toString();
}

export function certificatePem(der: Uint8Array): string {
  return new X509Certificate(der).toString();
}

/** @throws Error when one is unreadable or they do not belong together. */
export function readCredential(certificate: Uint8Array | string, key: Uint8Array | string): Credential {
  const parsed = new X509Certificate(certificate);
  const privateKey =
    typeof key === 'string'
      ? createPrivateKey(key)
      : createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'sec1' });
  if (!parsed.checkPrivateKey(privateKey)) throw new Error('the key is not the certificate’s');
  return { certificate: new Uint8Array(parsed.raw), key: privateKey };
}

/** True when the certificate is of this CA, in date, and for exactly these names and addresses. */
export function serves(ca: Credential, server: Credential, names: readonly string[], nowMs: number): boolean {
  const certificate = new X509Certificate(server.certificate);
  if (!certificate.verify(new X509Certificate(ca.certificate).publicKey)) return false;
  if (Date.parse(certificate.validTo) - 30 * dayMs < nowMs || Date.parse(certificate.validFrom) > nowMs)
    return false;
  const held = (certificate.subjectAltName ?? '')
    .split(', ')
    .map((entry) => entry.slice(entry.indexOf(':') + 1));
  const canonical = (all: readonly string[]) => [...new Set(all.map(canonicalName))].sort().join();
  return canonical(held) === canonical(names);
}

interface Certificate {
  readonly subject: X509.JsonName;
  readonly spki: Uint8Array;
  readonly nowMs: number;
  readonly lifeMs: number;
  readonly extensions: X509.Extension[];
}

async function issue(x509: typeof X509, ca: Credential, wanted: Certificate): Promise<Uint8Array> {
  const authority = new x509.X509Certificate(Uint8Array.from(ca.certificate));
  const notAfterMs = Math.min(wanted.nowMs + wanted.lifeMs, authority.notAfter.getTime());
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: wanted.subject,
    issuer: authority.subjectName.toJSON(),
    notBefore: new Date(wanted.nowMs - backdateMs),
    notAfter: new Date(notAfterMs),
    publicKey: new x509.PublicKey(Uint8Array.from(wanted.spki)),
    signingKey: await signingKey(ca.key),
    signingAlgorithm: signature,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
        true,
      ),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
      ...wanted.extensions,
    ],
  });
  return new Uint8Array(certificate.rawData);
}

function newKey(): { readonly key: KeyObject; readonly spki: Uint8Array<ArrayBuffer> } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { key: privateKey, spki: Uint8Array.from(publicKey.export({ type: 'spki', format: 'der' })) };
}

function signingKey(key: KeyObject): Promise<CryptoKey> {
  const pkcs8 = Uint8Array.from(key.export({ type: 'pkcs8', format: 'der' }));
  return globalThis.crypto.subtle.importKey('pkcs8', pkcs8, curve, false, ['sign']);
}

/** Positive, 63 bits. */
function serialNumber(): string {
  const bytes = randomBytes(8);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0);
  return bytes.toString('hex');
}

function strongEnough(key: KeyObject): boolean {
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'ec') return namedCurve === 'prime256v1' || namedCurve === 'secp384r1';
  if (key.asymmetricKeyType !== 'rsa' || modulusLength === undefined) return false;
  return modulusLength >= rsaBits.min && modulusLength <= rsaBits.max;
}

/** Node writes one `NAME=value` a line, with line breaks and `+` inside of values escaped. */
function readSubject(certificate: X509Certificate): Map<string, string[]> {
  const fields = new Map<string, string[]>();
  for (const line of (certificate.subject ?? '').split('\n')) {
    const at = line.indexOf('=');
    if (at < 0) continue;
    const name = line.slice(0, at);
    fields.set(name, [...(fields.get(name) ?? []), line.slice(at + 1)]);
  }
  return fields;
}

function canonicalName(name: string): string {
  return isIP(name) === 6 ? new URL(`http://[${name}]`).hostname : name.toLowerCase();
}
