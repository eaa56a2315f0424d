/** Joining over real TLS: a small cloud of the test's own signs certificates; then the hub dials with one. */

import { createHash, createPrivateKey, webcrypto, X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Bus } from '#beehive/bus.ts';
import { ManualClock, systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { seededRandom } from '#beehive/random.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { bootstrap } from './bootstrap.ts';
import { createCertificates } from './certificates.ts';
import { readCredentials } from './credentials.ts';
import { createEdgeHub, edgeHubInbox } from './edgehub.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const jwt = (exp: number) =>
  ['{"alg":"HS256"}', JSON.stringify({ exp }), 'signature']
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.');
const notBefore = new Date(Date.now() - 60_000);
const notAfter = new Date(Date.now() + 3_600_000);

interface TestCa {
  readonly certificate: x509.X509Certificate;
  readonly keys: CryptoKeyPair;
  readonly hash: string;
  readonly server: { key: string; cert: string; ca: string };
}

async function createCa(): Promise<TestCa> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=KubeEdge',
    keys,
    signingAlgorithm: algorithm,
    notBefore,
    notAfter,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const serverKeys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const server = await x509.X509CertificateGenerator.create({
    subject: 'O=KubeEdge, CN=KubeEdge',
    issuer: certificate.subject,
    publicKey: serverKeys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: algorithm,
    notBefore,
    notAfter,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }])],
  });
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', serverKeys.privateKey));
  return {
    certificate,
    keys,
    hash: createHash('sha256').update(Buffer.from(certificate.rawData)).digest('hex'),
    server: {
      key: createPrivateKey({ key, format: 'der', type: 'pkcs8' })
        .export({ type: 'sec1', format: 'pem' })
        .toString(),
      cert: server.toString('pem'),
      ca: certificate.toString('pem'),
    },
  };
}

/** The bootstrap port of a cloud: notes what it was asked. */
interface Cloud {
  readonly url: string;
  readonly asked: { path: string; headers: NodeJS.Dict<string | string[]> }[];
  close(): Promise<void>;
}

let ca: TestCa;
let other: TestCa;
let cloud: Cloud;
let answer: (csr: Buffer) => Promise<{ status: number; body: Buffer | string }>;
let dir: string;
const live = new AbortController().signal;

async function sign(csr: Buffer, by = ca, commonName?: string): Promise<Buffer> {
  const request = new x509.Pkcs10CertificateRequest(new Uint8Array(csr));
  const certificate = await x509.X509CertificateGenerator.create({
    subject: commonName === undefined ? request.subject : `O=system:nodes, CN=${commonName}`,
    issuer: by.certificate.subject,
    publicKey: request.publicKey,
    signingKey: by.keys.privateKey,
    signingAlgorithm: algorithm,
    notBefore,
    notAfter,
  });
  return Buffer.from(certificate.rawData);
}

async function startCloud(): Promise<Cloud> {
  const asked: Cloud['asked'] = [];
  const server: Server = createServer({ ...ca.server }, (request, response) => {
    asked.push({ path: request.url ?? '', headers: request.headers });
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      if (request.url === '/ca.crt') return response.end(Buffer.from(ca.certificate.rawData));
      const { status, body } = await answer(Buffer.concat(chunks));
      response.writeHead(status).end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://127.0.0.1:${port}`,
    asked,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

beforeAll(async () => {
  ca = await createCa();
  other = await createCa();
});
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'hawser-join-'));
  answer = async (csr) => ({ status: 200, body: await sign(csr) });
  cloud = await startCloud();
});
afterEach(async () => {
  await cloud.close();
  rmSync(dir, { recursive: true, force: true });
});

const inAnHour = Math.floor(Date.now() / 1000) + 3600;
const join_ = (token: string, httpServer = cloud.url) =>
  bootstrap(
    { nodeName: 'edge-1', token, httpServer, machine: 'm1', timeoutMs: 60_000 },
    { clock: systemClock },
    live,
  );

describe('a token becomes a certificate', () => {
  test('with a key of the edge’s own', async () => {
    const identity = await join_(`${ca.hash}.${jwt(inAnHour)}\n`);
    const certificate = new X509Certificate(identity.cert);
    expect(certificate.subject).toBe('O=system:nodes\nCN=system:node:edge-1');
    expect(certificate.checkPrivateKey(createPrivateKey(identity.key))).toBe(true);
    expect(identity.key).toMatch(/^-----BEGIN EC PRIVATE KEY-----/);
    expect(cloud.asked.map((one) => one.path)).toEqual(['/ca.crt', '/edge.crt']);
    expect(cloud.asked[0]?.headers.authorization).toBeUndefined();
    expect(cloud.asked[1]?.headers).toMatchObject({
      authorization: `Bearer ${jwt(inAnHour)}`,
      nodename: 'edge-1',
      'hawser-machine': 'm1',
    });
  });

  test('a wrong CA hash: the token is never sent', async () => {
    await expect(join_(`${other.hash}.${jwt(inAnHour)}`)).rejects.toMatchObject({
      code: 'wrong-ca-hash',
      message: expect.stringContaining('the token was not sent'),
    });
    expect(cloud.asked.map((one) => one.path)).toEqual(['/ca.crt']);
  });

  test.each(['', 'abc', 'a.b.c.d', `${'g'.repeat(64)}.a.b.c`, `${'0'.repeat(64)}.a.b`, 'x'.repeat(10_000)])(
    'malformed token %#: nothing is asked',
    async (token) => {
      await expect(join_(token)).rejects.toMatchObject({ code: 'malformed-token' });
      expect(cloud.asked).toEqual([]);
    },
  );

  test('an expired token says since when and what to do', async () => {
    answer = async () => ({ status: 401, body: 'token expired' });
    await expect(join_(`${ca.hash}.${jwt(inAnHour - 3600 * 3)}`)).rejects.toMatchObject({
      code: 'expired-token',
      message: 'token expired 2 h ago; make a new one on the cloud with `keadm gettoken`',
    });
  });

  test('a refused token carries the cloud’s reason', async () => {
    answer = async () => ({ status: 403, body: 'node edge-1 is another machine\n' });
    await expect(join_(`${ca.hash}.${jwt(inAnHour)}`)).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining('(403): node edge-1 is another machine'),
    });
  });

  test('nobody there: unreachable, and worth another try', async () => {
    await expect(join_(`${ca.hash}.${jwt(inAnHour)}`, 'https://127.0.0.1:1')).rejects.toMatchObject({
      code: 'unreachable',
      retry: 'backoff',
    });
  });

  test('a name that the cloud’s certificate does not have', async () => {
    const byName = cloud.url.replace('127.0.0.1', 'localhost');
    await expect(join_(`${ca.hash}.${jwt(inAnHour)}`, byName)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('--advertise-address'),
    });
    expect(cloud.asked.map((one) => one.path)).toEqual(['/ca.crt']);
  });

  test.each([
    ['no certificate', async () => Buffer.from('hello')],
    ['one of another CA', (csr: Buffer) => sign(csr, other)],
    ['one for another node', (csr: Buffer) => sign(csr, ca, 'system:node:edge-2')],
    ['endless', async () => Buffer.alloc(100_000)],
  ])('an answer that is %s is not believed', async (_, body) => {
    answer = async (csr) => ({ status: 200, body: await body(csr) });
    await expect(join_(`${ca.hash}.${jwt(inAnHour)}`)).rejects.toMatchObject({ code: 'bad-answer' });
  });
});

describe('certificates', () => {
  const filesIn = (at: string) => ({
    caFile: join(at, 'ca', 'rootCA.crt'),
    certFile: join(at, 'certs', 'server.crt'),
    keyFile: join(at, 'certs', 'server.key'),
  });
  const certificates = (token: string, nodeName = 'edge-1', clock = systemClock) =>
    createCertificates(
      {
        nodeName,
        token,
        httpServer: cloud.url,
        machine: 'm1',
        files: filesIn(dir),
        bootstrapFile: join(dir, 'bootstrap.conf'),
        requestTimeoutMs: 60_000,
        rotate: true,
      },
      { clock, random: seededRandom(1), log: silentLog },
    );

  test('are saved for their owner only, and used again; the token file goes', async () => {
    writeFileSync(join(dir, 'bootstrap.conf'), `${ca.hash}.${jwt(inAnHour)}\n`);
    const first = await certificates('').obtain(live);
    expect(existsSync(join(dir, 'bootstrap.conf'))).toBe(false);
    expect(statSync(filesIn(dir).keyFile).mode & 0o777).toBe(0o600);
    const second = await certificates('').obtain(live);
    expect(second).toEqual(first);
    expect(cloud.asked).toHaveLength(2);
  });

  test('for another node, with another key, or too old are not used', async () => {
    await certificates(`${ca.hash}.${jwt(inAnHour)}`).obtain(live);
    const files = filesIn(dir);
    const now = Date.now();
    expect(await readCredentials(files, 'edge-1', now)).toHaveProperty('identity');
    expect(await readCredentials(files, 'edge-2', now)).toMatchObject({
      unusable: expect.stringContaining('edge-2'),
    });
    expect(await readCredentials(files, 'edge-1', now + 7_200_000)).toMatchObject({
      unusable: expect.stringContaining('expired'),
    });
    writeFileSync(files.keyFile, ca.server.key);
    expect(await readCredentials(files, 'edge-1', now)).toMatchObject({
      unusable: expect.stringContaining('not the key'),
    });
    writeFileSync(files.certFile, 'garbage');
    expect(await readCredentials(files, 'edge-1', now)).toMatchObject({
      unusable: expect.stringContaining('cannot read'),
    });
  });

  test('a token that comes later is found, without a restart', async () => {
    const clock = new ManualClock(Date.now());
    const obtained = certificates('', 'edge-1', clock).obtain(live);
    while (clock.sleepers === 0) await new Promise((resolve) => setImmediate(resolve));
    writeFileSync(join(dir, 'bootstrap.conf'), `${ca.hash}.${jwt(inAnHour)}`);
    await clock.advance(60_000);
    expect((await obtained).cert).toBe(readFileSync(filesIn(dir).certFile, 'utf8'));
  });

  test('the hub joins, dials with mutual TLS and beats', async () => {
    const transport = createWebSocketTransport({ clock: systemClock });
    const listener = await transport.listen({
      host: '127.0.0.1',
      port: 0,
      tls: ca.server,
      connectionsMax: 2,
      frameBytesMax: 1e6,
      admit: () => ({ accept: true }),
    });
    const stop = new AbortController();
    const bus = new Bus({ clock: systemClock, log: silentLog });
    bus.open('edgehub', edgeHubInbox);
    const hub = createEdgeHub(
      {
        nodeName: 'edge-1',
        projectId: 'p',
        server: `127.0.0.1:${listener.port}`,
        machine: 'm1',
        heartbeatMs: 15_000,
        sessionBeatMs: 5_000,
        pongTimeoutMs: 15_000,
        writeTimeoutMs: 15_000,
        handshakeTimeoutMs: 60_000,
        upstream: { perSecond: 30, burst: 60 },
        modules: [],
      },
      {
        bus,
        transport,
        certificates: certificates(`${ca.hash}.${jwt(inAnHour)}`),
        clock: systemClock,
        random: seededRandom(1),
        log: silentLog,
        metrics: createMetrics(),
      },
    );
    const running = hub.run(stop.signal, () => {});
    for await (const connection of listener.connections) {
      expect(new X509Certificate(connection.peerCertificate ?? '').subject).toContain(
        'CN=system:node:edge-1',
      );
      for await (const beat of connection.frames) {
        expect(beat.route.operation).toBe('keepalive');
        break;
      }
      break;
    }
    stop.abort();
    await running;
    await listener.close();
  });
});
