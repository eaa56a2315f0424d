import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect as connectPlain, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { bootstrapLimits } from '#protocol/limits.ts';
import { MemoryKubeApi } from '../kube/memory-kube-api.ts';
import { type BootstrapLimits, BootstrapServer } from './bootstrap-server.ts';
import { type CertificateAuthority, openCertificateAuthority } from './certificate-authority.ts';
import { createCloudHubMetrics } from './cloudhub-metrics.ts';
import { type NamedToken, NamedTokens } from './named-tokens.ts';
import { machineAnnotation } from './node-annotations.ts';
import { certificatePem, createCa, issueNode, readCredential } from './pki.ts';
import { RollingToken } from './rolling-token.ts';
import { openTokenIssuer, type TokenIssuer } from './token.ts';

interface Reply {
  readonly status: number;
  readonly body: Buffer;
  readonly headers: IncomingHttpHeaders;
}

interface Ask {
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array;
  readonly cert?: string;
  readonly key?: string;
  readonly method?: string;
}

const hourMs = 3_600_000;
let clock: ManualClock;
let root: string;
let api: MemoryKubeApi;
let authority: CertificateAuthority;
let tokens: TokenIssuer;
let server: BootstrapServer;

beforeEach(async () => {
  // Real now: TLS itself looks at the dates of certificates.
  clock = new ManualClock(Date.now());
  root = await mkdtemp(join(tmpdir(), 'hawser-bootstrap-'));
  api = new MemoryKubeApi({ clock });
  const pair = (name: string) => ({
    certFile: join(root, `${name}.crt`),
    keyFile: join(root, `${name}.key`),
  });
  authority = await openCertificateAuthority(
    {
      caFiles: pair('ca'),
      serverFiles: pair('server'),
      serverNames: ['127.0.0.1'],
      nodeCertificateDays: 365,
    },
    { api, clock, log: silentLog },
  );
  tokens = await openTokenIssuer({ api, clock });
  server = await startServer(bootstrapLimits);
});
afterEach(async () => {
  await server.close();
  await rm(root, { recursive: true });
});

function startServer(limits: BootstrapLimits): Promise<BootstrapServer> {
  const metrics = createCloudHubMetrics(createMetrics());
  const components = { authority, tokens, api, clock, log: silentLog, metrics };
  return BootstrapServer.start({ host: '127.0.0.1', port: 0, limits }, components);
}

function ask(path: string, { headers = {}, body, cert, key, method = 'GET' }: Ask = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest({
      host: '127.0.0.1',
      port: server.port,
      path,
      method,
      ca: authority.tls.ca,
      headers: { ...headers, ...(body === undefined ? {} : { 'Content-Length': body.length }) },
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
      agent: false,
    });
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks), headers: response.headers }),
      );
    });
    request.end(body);
  });
}

/** Of the server's own CA, for edge-1, over since so many days. */
async function expiredCertificate(daysAgo: number, machine: string): Promise<{ cert: string; key: string }> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const [certFile, keyFile] = [join(root, 'ca.crt'), join(root, 'ca.key')];
  const ca = readCredential(await readFile(certFile, 'utf8'), await readFile(keyFile, 'utf8'));
  const request = {
    subject: { node: 'edge-1', machine },
    publicKey: publicKey.export({ type: 'spki', format: 'der' }),
    days: 1,
  };
  const der = await issueNode(ca, request, Date.now() - (daysAgo + 1) * 24 * hourMs);
  return { cert: certificatePem(der), key: privateKey.export({ type: 'sec1', format: 'pem' }).toString() };
}

async function newRequest(subject: string): Promise<{ csr: Uint8Array; key: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: subject,
    keys,
    signingAlgorithm: algorithm,
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`;
  return { csr: new Uint8Array(csr.rawData), key };
}

async function bearer(): Promise<string> {
  const token = await tokens.issue(authority.certificateHash, 24 * hourMs);
  return `Bearer ${token.slice(token.indexOf('.') + 1)}`;
}

async function joinNode(machine?: string): Promise<{ cert: string; key: string; reply: Reply }> {
  const { csr, key } = await newRequest('O=system:nodes, CN=system:node:edge-1');
  const headers = {
    Authorization: await bearer(),
    NodeName: 'edge-1',
    ...(machine === undefined ? {} : { 'Hawser-Machine': machine }),
  };
  const reply = await ask('/edge.crt', { headers, body: csr });
  return { cert: reply.status === 200 ? certificatePem(reply.body) : '', key, reply };
}

async function createNode(machine?: string): Promise<void> {
  const annotations = machine === undefined ? {} : { [machineAnnotation]: machine };
  await api.create({ apiVersion: 'v1', plural: 'nodes' }, { metadata: { name: 'edge-1', annotations } });
}

/** Resolves when the server has closed the socket. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('error', () => {});
    socket.on('close', () => resolve());
    socket.resume();
  });
}

describe('bootstrap server', () => {
  it('gives the CA as DER to anybody', async () => {
    const reply = await ask('/ca.crt');
    expect(reply.status).toBe(200);
    expect(reply.body).toEqual(Buffer.from(authority.certificate));
    expect(reply.headers.connection).toBe('close');
  });

  it('signs a request that came with a token, for the node named and nothing else', async () => {
    const { csr } = await newRequest('O=system:masters, CN=kubernetes-admin');
    const headers = { Authorization: await bearer(), NodeName: 'edge-1', ExtKeyUsages: '[1]' };
    const { status, body } = await ask('/edge.crt', { headers, body: csr });
    expect(status).toBe(200);
    const certificate = new X509Certificate(body);
    expect(certificate.subject).toBe('O=system:nodes\nCN=system:node:edge-1');
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
  });

  it('renews for the present certificate without a token, keeping the machine', async () => {
    const { cert, key } = await joinNode('machine-a');
    const { csr } = await newRequest('CN=whatever');
    const { status, body } = await ask('/edge.crt', {
      headers: { NodeName: 'edge-1' },
      body: csr,
      cert,
      key,
    });
    expect(status).toBe(200);
    expect(new X509Certificate(body).subject).toContain('serialNumber=machine-a');
    const other = await ask('/edge.crt', { headers: { NodeName: 'edge-2' }, body: csr, cert, key });
    expect([other.status, other.body.toString()]).toEqual([
      403,
      expect.stringContaining('node edge-1 cannot'),
    ]);
  });

  it('renews for an expired certificate while its Node exists and is that machine, within the grace', async () => {
    const { csr } = await newRequest('CN=whatever');
    const renewal = async (daysAgo: number) =>
      await ask('/edge.crt', {
        headers: { NodeName: 'edge-1' },
        body: csr,
        ...(await expiredCertificate(daysAgo, 'machine-a')),
      });
    const nodes = { apiVersion: 'v1', plural: 'nodes' };
    const gone = await renewal(1);
    expect([gone.status, gone.body.toString()]).toEqual([401, expect.stringContaining('no such Node')]);
    const annotations = { [machineAnnotation]: 'machine-a' };
    await api.create(nodes, { metadata: { name: 'edge-1', annotations } });
    const renewed = await renewal(1);
    expect(renewed.status).toBe(200);
    expect(Date.parse(new X509Certificate(renewed.body).validTo)).toBeGreaterThan(Date.now());
    const late = await renewal(91);
    expect([late.status, late.body.toString()]).toEqual([401, expect.stringContaining('no token was sent')]);
    const other = { metadata: { annotations: { [machineAnnotation]: 'machine-b' } } };
    await api.patch({ ...nodes, name: 'edge-1' }, 'merge', other);
    expect((await renewal(1)).status).toBe(401);
  });

  it('takes no certificate of another CA for a proof, but then the token', async () => {
    const foreign = await createCa(Date.now());
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const der = await issueNode(
      foreign,
      {
        subject: { node: 'edge-1', machine: undefined },
        publicKey: publicKey.export({ type: 'spki', format: 'der' }),
        days: 1,
      },
      Date.now(),
    );
    const cert = certificatePem(der);
    const key = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
    const { csr } = await newRequest('CN=x');
    const without = await ask('/edge.crt', { headers: { NodeName: 'edge-1' }, body: csr, cert, key });
    expect(without.status).toBe(401);
    const headers = { NodeName: 'edge-1', Authorization: await bearer() };
    expect((await ask('/edge.crt', { headers, body: csr, cert, key })).status).toBe(200);
  });

  it('says what is wrong with a token', async () => {
    const { csr } = await newRequest('CN=x');
    const refused = async (authorization?: string) => {
      const headers = {
        NodeName: 'edge-1',
        ...(authorization === undefined ? {} : { Authorization: authorization }),
      };
      const { status, body } = await ask('/edge.crt', { headers, body: csr });
      return [status, body.toString()];
    };
    const old = await bearer();
    expect(await refused()).toEqual([401, expect.stringContaining('no token was sent')]);
    expect(await refused('Bearer nonsense')).toEqual([401, expect.stringContaining('token is malformed')]);
    expect(await refused(`${old.slice(0, -4)}AAAA`)).toEqual([
      401,
      expect.stringContaining('not signed by this cloud'),
    ]);
    await clock.advance(26 * hourMs);
    expect(await refused(old)).toEqual([
      401,
      'token expired 2 h ago; make a new one on the cloud with `keadm gettoken`\n',
    ]);
  });

  it('refuses what is no request, no node name, no method and no path', async () => {
    const headers = { Authorization: await bearer(), NodeName: 'edge-1' };
    const status = async (path: string, options: Ask) => (await ask(path, options)).status;
    expect(await status('/edge.crt', { headers, body: Buffer.from('null') })).toBe(400);
    expect(await status('/edge.crt', { headers })).toBe(400);
    expect(
      await status('/edge.crt', { headers: { ...headers, NodeName: '../x' }, body: Buffer.from('x') }),
    ).toBe(400);
    expect(await status('/edge.crt', { headers: { ...headers, 'Hawser-Machine': 'a b' } })).toBe(400);
    expect(await status('/edge.crt', { method: 'POST', headers })).toBe(405);
    expect(await status('/task/x', {})).toBe(404);
    expect(await status('/node/%2e%2e', {})).toBe(400);
    expect(await status('/readyz', {})).toBe(200);
  });

  it('refuses a body over the limit, declared or not', async () => {
    const headers = { Authorization: await bearer(), NodeName: 'edge-1' };
    const declared = await ask('/edge.crt', {
      headers: { ...headers, 'Content-Length': '10000000000' },
    }).catch((error: Error) => error);
    expect(declared).toMatchObject({ status: 413 });
    const socket = connect({ host: '127.0.0.1', port: server.port, ca: authority.tls.ca });
    socket.write(
      `GET /edge.crt HTTP/1.1\r\nHost: x\r\nNodeName: edge-1\r\nAuthorization: ${headers.Authorization}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const first = new Promise<string>((resolve) =>
      socket.once('data', (data: Buffer) => resolve(data.toString())),
    );
    for (let sent = 0; sent < 8; sent += 1) socket.write(`4000\r\n${'x'.repeat(0x4000)}\r\n`);
    expect(await first).toContain('413');
    await closed(socket);
  });

  it('closes who is slow with headers or with the body', async () => {
    await server.close();
    const short = { requestTimeoutMs: 300, handshakeTimeoutMs: 300, checkIntervalMs: 50 };
    server = await startServer({ ...bootstrapLimits, ...short });
    const open = () => connect({ host: '127.0.0.1', port: server.port, ca: authority.tls.ca });
    const [headers, body] = [open(), open()];
    const ended = Promise.all([closed(headers), closed(body)]);
    headers.write('GET /ca.crt HTTP/1.1\r\nHost: x\r\nX-Slow: ');
    body.write(
      `GET /edge.crt HTTP/1.1\r\nHost: x\r\nNodeName: edge-1\r\nAuthorization: ${await bearer()}\r\nContent-Length: 100\r\n\r\nx`,
    );
    await ended;
  });

  it('closes who is slow with the handshake', async () => {
    await server.close();
    server = await startServer({ ...bootstrapLimits, handshakeTimeoutMs: 200 });
    await closed(connectPlain({ host: '127.0.0.1', port: server.port }));
  });

  it('tells whether a name is free, for anybody and for the machine that has it', async () => {
    const status = async (machine?: string) =>
      (await ask('/node/edge-1', machine === undefined ? {} : { headers: { 'Hawser-Machine': machine } }))
        .status;
    expect(await status()).toBe(404);
    await createNode('machine-a');
    expect(await status()).toBe(200);
    expect(await status('machine-b')).toBe(200);
    expect(await status('machine-a')).toBe(404);
  });

  it('gives no second machine a certificate for a node of the first', async () => {
    await createNode('machine-a');
    expect((await joinNode('machine-a')).reply.status).toBe(200);
    const { reply } = await joinNode('machine-b');
    const inUse = /the name edge-1 is in use by machine machine-a; choose another with --edgenode-name/;
    expect([reply.status, reply.body.toString()]).toEqual([403, expect.stringMatching(inUse)]);
    // Nor one that does not say which it is, as a KubeEdge edge does not.
    expect((await joinNode()).reply.status).toBe(403);
  });

  it('refuses the default token at once when it is revoked, and takes the next', async () => {
    const rolling = new RollingToken({ issuer: tokens, api, clock });
    await rolling.publish(authority.certificateHash, 24 * hourMs);
    const join = async () => {
      const text = (await rolling.read()) ?? '';
      const headers = { Authorization: `Bearer ${text.slice(text.indexOf('.') + 1)}`, NodeName: 'edge-1' };
      return ask('/edge.crt', { headers, body: (await newRequest('CN=whatever')).csr });
    };
    expect((await join()).status).toBe(200);
    const before = await bearer();
    await rolling.revoke();
    const body = (await newRequest('CN=whatever')).csr;
    const refused = await ask('/edge.crt', { headers: { Authorization: before, NodeName: 'edge-1' }, body });
    expect([refused.status, refused.body.toString()]).toEqual([401, expect.stringContaining('revoked')]);
    expect((await join()).status).toBe(200);
  });

  describe('with a named token', () => {
    let named: NamedTokens;
    const terms = { expiresMs: undefined, usesMax: undefined, node: undefined };

    beforeEach(async () => {
      named = new NamedTokens({ api, clock });
      // Many ask at once here, and are not to be hurried.
      await server.close();
      server = await startServer(bootstrapLimits);
    });

    async function join(token: NamedToken, node = 'edge-1', body?: Uint8Array): Promise<[number, string]> {
      const text = await tokens.issueNamed(authority.certificateHash, token);
      const reply = await ask('/edge.crt', {
        headers: { Authorization: `Bearer ${text.slice(text.indexOf('.') + 1)}`, NodeName: node },
        body: body ?? (await newRequest('CN=whatever')).csr,
      });
      return [reply.status, reply.status === 200 ? '' : reply.body.toString()];
    }

    it('signs as often as it may be used, also when many ask at once', async () => {
      const token = await named.create({ ...terms, usesMax: 3 });
      const answers = await Promise.all(Array.from({ length: 8 }, () => join(token)));
      expect(answers.map(([status]) => status).sort()).toEqual([200, 200, 200, 401, 401, 401, 401, 401]);
      expect((await join(token))[1]).toMatch(/used up \(3 of 3\).*keadm token create/);
      expect((await named.list())[0]).toMatchObject({ id: token.id, uses: 3 });
    });

    it('counts no use of a request that cannot be signed', async () => {
      const token = await named.create({ ...terms, usesMax: 1 });
      expect((await join(token, 'edge-1', Buffer.from('no request')))[0]).toBe(400);
      expect((await join(token))[0]).toBe(200);
    });

    it('signs for its node only', async () => {
      const token = await named.create({ ...terms, node: 'edge-1' });
      const [status, said] = await join(token, 'edge-2');
      expect([status, said]).toEqual([401, expect.stringMatching(/only for node edge-1, not for edge-2/)]);
      expect((await join(token, 'edge-1'))[0]).toBe(200);
    });

    it('is refused at once when deleted, and its nodes renew their certificates on', async () => {
      const token = await named.create(terms);
      const { csr, key } = await newRequest('CN=whatever');
      const text = await tokens.issueNamed(authority.certificateHash, token);
      const headers = { Authorization: `Bearer ${text.slice(text.indexOf('.') + 1)}`, NodeName: 'edge-1' };
      const joined = await ask('/edge.crt', { headers, body: csr });
      expect(joined.status).toBe(200);
      expect(await named.delete(token.id)).toBe(true);
      expect(await join(token)).toEqual([401, expect.stringContaining('revoked')]);
      const own = { cert: certificatePem(joined.body), key };
      const renewed = await ask('/edge.crt', { headers: { NodeName: 'edge-1' }, body: csr, ...own });
      expect(renewed.status).toBe(200);
    });

    it('is refused with how long ago it expired; one for ever is not', async () => {
      const token = await named.create({ ...terms, expiresMs: clock.now() + 3_000 });
      const forEver = await named.create(terms);
      expect((await join(token))[0]).toBe(200);
      await clock.advance(4_000);
      expect(await join(token)).toEqual([
        401,
        'token expired less than a minute ago; make a new one on the cloud with `keadm gettoken`\n',
      ]);
      expect((await join(forEver))[0]).toBe(200);
    });
  });

  it('names the port that is taken', async () => {
    const options = { host: '127.0.0.1', port: server.port };
    const components = {
      authority,
      tokens,
      api,
      clock,
      log: silentLog,
      metrics: createCloudHubMetrics(createMetrics()),
    };
    await expect(BootstrapServer.start(options, components)).rejects.toMatchObject({ code: 'port-taken' });
  });
});
