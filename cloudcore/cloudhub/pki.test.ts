import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { describe, expect, it } from 'vitest';
import {
  CertificateRequestError,
  createCa,
  isNodeName,
  issueNode,
  issueServer,
  readCredential,
  readNodeSubject,
  readRequest,
  sec1Der,
  serves,
} from './pki.ts';

const nowMs = Date.UTC(2026, 5, 1);
const dayMs = 86_400_000;

async function request(subject: string, curve = 'P-256'): Promise<Uint8Array> {
  const algorithm = { name: 'ECDSA', namedCurve: curve, hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: subject,
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'kubernetes.default' }])],
  });
  return new Uint8Array(csr.rawData);
}

describe('pki', () => {
  it('makes a CA that signs for a hundred years, dated back a little', async () => {
    const ca = new X509Certificate((await createCa(nowMs)).certificate);
    expect(ca.ca).toBe(true);
    expect(ca.subject).toBe('CN=KubeEdge');
    expect(Date.parse(ca.validFrom)).toBe(nowMs - 3_600_000);
    expect(Date.parse(ca.validTo)).toBeGreaterThan(nowMs + 99 * 365 * dayMs);
  });

  it('writes keys that come back from SEC1, and refuses a key of another certificate', async () => {
    const [one, two] = [await createCa(nowMs), await createCa(nowMs)];
    expect(readCredential(one.certificate, sec1Der(one.key)).key.equals(one.key)).toBe(true);
    expect(() => readCredential(one.certificate, sec1Der(two.key))).toThrow(/not the certificate/);
  });

  it('forces the subject of a node certificate and drops what the request asked for', async () => {
    const ca = await createCa(nowMs);
    const publicKey = await readRequest(await request('O=system:masters, CN=system:node:other'));
    const der = await issueNode(
      ca,
      { subject: { node: 'edge-1', machine: 'ab12' }, publicKey, days: 365 },
      nowMs,
    );
    const certificate = new X509Certificate(der);
    expect(certificate.subject.split('\n')).toEqual([
      'O=system:nodes',
      'CN=system:node:edge-1',
      'serialNumber=ab12',
    ]);
    expect(certificate.subjectAltName).toBeUndefined();
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(certificate.ca).toBe(false);
    expect(Date.parse(certificate.validTo)).toBe(nowMs + 365 * dayMs);
    expect(certificate.verify(new X509Certificate(ca.certificate).publicKey)).toBe(true);
    expect(readNodeSubject(der)).toEqual({ node: 'edge-1', machine: 'ab12' });
  });

  it('sees when the server certificate no longer fits its names or its CA', async () => {
    const ca = await createCa(nowMs);
    const names = ['10.0.0.1', 'fd00::1', 'cloud.example'];
    const server = await issueServer(ca, names, nowMs);
    expect(serves(ca, server, ['fd00:0::1', 'cloud.example', '10.0.0.1'], nowMs)).toBe(true);
    expect(serves(ca, server, ['10.0.0.1'], nowMs)).toBe(false);
    expect(serves(ca, server, [...names, 'more.example'], nowMs)).toBe(false);
    expect(serves(await createCa(nowMs), server, names, nowMs)).toBe(false);
    expect(new X509Certificate(server.certificate).keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  });

  it('takes no certificate but a node’s for a node', async () => {
    const ca = await createCa(nowMs);
    expect(readNodeSubject(ca.certificate)).toBeUndefined();
    expect(readNodeSubject(Buffer.from('nonsense'))).toBeUndefined();
  });

  it('refuses requests that are garbage, weak, or signed with another key', async () => {
    const good = await request('CN=x');
    const forged = Uint8Array.from(good);
    forged.set([(forged.at(-1) ?? 0) ^ 1], forged.length - 1);
    const { publicKey } = generateKeyPairSync('ed25519');
    const bad = [
      Buffer.alloc(0),
      Buffer.from('null'),
      Buffer.alloc(64 * 1024, 0x30),
      good.subarray(0, good.length - 5),
      publicKey.export({ type: 'spki', format: 'der' }),
      forged,
      await request('CN=x', 'P-521'),
    ];
    for (const der of bad) await expect(readRequest(der)).rejects.toBeInstanceOf(CertificateRequestError);
  });

  it('knows what a node may be called', () => {
    for (const name of ['edge-1', 'a', '1.example.org']) expect(isNodeName(name)).toBe(true);
    for (const name of ['', 'Edge', 'a/b', 'a..b', '-a', 'a\nCN=b', 'a+b', 'x'.repeat(254)])
      expect(isNodeName(name)).toBe(false);
  });
});
