/**
 * The files of the server's own public-key infrastructure: made on the first start, adopted later. Leaf certificates
 * are made anew when they come to their end or no longer name every address; the CA and the token key never are.
 */

import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '#beehive/clock.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import { masters } from './user.ts';

const dayMs = 24 * 3_600_000;
const caDays = 3_650;
const leafDays = 365;
/** A leaf that ends sooner than this is made anew at the start. */
const renewDays = 90;

export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

export interface Pki {
  readonly caCertificate: string;
  readonly serving: KeyPair;
  readonly admin: KeyPair;
  readonly cloudcore: KeyPair;
  /** PKCS 8 PEM of the key that signs service account tokens. */
  readonly tokenKey: string;
}

export async function openPki(directory: string, hosts: readonly string[], clock: Clock): Promise<Pki> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const authority = new Authority(directory, clock);
  const ca = await authority.ca();
  return {
    caCertificate: ca.certificate,
    serving: await authority.leaf('apiserver', { commonName: 'kube-apiserver', hosts }),
    admin: await authority.leaf('admin', { commonName: 'kubernetes-admin', organization: masters }),
    cloudcore: await authority.leaf('cloudcore', { commonName: 'system:cloudcore' }),
    tokenKey: tokenKey(join(directory, 'sa.key')),
  };
}

interface Leaf {
  readonly commonName: string;
  readonly organization?: string;
  /** With hosts it is a server's certificate, else a client's. */
  readonly hosts?: readonly string[];
}

class Authority {
  readonly #directory: string;
  readonly #clock: Clock;

  constructor(directory: string, clock: Clock) {
    this.#directory = directory;
    this.#clock = clock;
  }

  async ca(): Promise<KeyPair> {
    const found = this.#read('ca');
    if (found !== undefined) return found;
    const x509 = await loadX509();
    const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      ...this.#validity(caDays),
      serialNumber: serial(),
      name: 'CN=hawser-ca',
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return this.#write('ca', certificate.toString('pem'), await pem(keys.privateKey));
  }

  async leaf(name: string, leaf: Leaf): Promise<KeyPair> {
    const ca = await this.ca();
    const found = this.#read(name);
    if (found !== undefined && this.#isGood(found, ca, leaf)) return found;
    const x509 = await loadX509();
    const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const caKey = await crypto.subtle.importKey('pkcs8', decodePem(ca.key), algorithm, false, ['sign']);
    const issuer = new x509.X509Certificate(ca.certificate);
    const certificate = await x509.X509CertificateGenerator.create({
      ...this.#validity(leafDays),
      serialNumber: serial(),
      subject: [
        ...(leaf.organization === undefined ? [] : [{ O: [leaf.organization] }]),
        { CN: [leaf.commonName] },
      ],
      issuer: issuer.subject,
      publicKey: keys.publicKey,
      signingKey: caKey,
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          leaf.hosts === undefined ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
        ]),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
        ...(leaf.hosts === undefined
          ? []
          : [new x509.SubjectAlternativeNameExtension(leaf.hosts.map(alternativeName))]),
      ],
    });
    return this.#write(name, certificate.toString('pem'), await pem(keys.privateKey));
  }

  #isGood(found: KeyPair, ca: KeyPair, leaf: Leaf): boolean {
    const certificate = new X509Certificate(found.certificate);
    const endsMs = Date.parse(certificate.validTo);
    const named = (leaf.hosts ?? []).every((host) =>
      isIP(host) === 0 ? certificate.checkHost(host) !== undefined : certificate.checkIP(host) !== undefined,
    );
    const issued = certificate.verify(new X509Certificate(ca.certificate).publicKey);
    return named && issued && endsMs - this.#clock.now() > renewDays * dayMs;
  }

  #validity(days: number) {
    const now = this.#clock.now();
    // An hour back, for clients whose clock is behind.
    return { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + days * dayMs) };
  }

  #read(name: string): KeyPair | undefined {
    const [certificate, key] = [join(this.#directory, `${name}.crt`), join(this.#directory, `${name}.key`)];
    const present = [certificate, key].filter((file) => existsSync(file));
    if (present.length === 0) return undefined;
    if (present.length === 1) {
      throw new UnrecoverableError(
        `${present[0]} is there without its other half; restore ${name}.crt and ${name}.key together, or remove both`,
      );
    }
    return { certificate: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') };
  }

  #write(name: string, certificate: string, key: string): KeyPair {
    const pair = { certificate: `${certificate.trim()}\n`, key };
    writePrivate(join(this.#directory, `${name}.key`), pair.key);
    writePrivate(join(this.#directory, `${name}.crt`), pair.certificate);
    return pair;
  }
}

function alternativeName(host: string) {
  return isIP(host) === 0 ? ({ type: 'dns', value: host } as const) : ({ type: 'ip', value: host } as const);
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

async function loadX509() {
  // Its classes are registered through decorators that need this first.
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

function serial(): string {
  return `00${randomBytes(15).toString('hex')}`;
}

async function pem(key: CryptoKey): Promise<string> {
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', key));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`;
}

function decodePem(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text.replace(/-----[^-]+-----|\s/g, ''), 'base64'));
}

function tokenKey(file: string): string {
  if (existsSync(file)) return readFileSync(file, 'utf8');
  const { privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  writePrivate(file, privateKey);
  return privateKey;
}

/** Whole or not at all, and readable by the owner only. */
export function writePrivate(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}
