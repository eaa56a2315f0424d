/**
 * Our clients at a hostile server: EdgeHub's dial, the edge's request for a certificate, cloudcore's Kubernetes client.
 * One of another authority hears nothing from them; one that answers without end is cut off.
 */

import type { AddressInfo } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { callHttp } from '#beehive/http-call.ts';
import { HttpConnection } from '#cloudcore/kube/http.ts';
import { httpsGet } from '#edgecore/edgehub/https-get.ts';
import { HawserError } from '#protocol/errors.ts';
import type { TlsIdentity } from '#protocol/transport/transport.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { beatsOf } from '#test/beats.ts';
import { createTestAuthority } from '#test/certificates.ts';

/** Of the requests that an attack is to hold up, and of those that are answered. */
const hastyMs = 1_500;
const patientMs = 60_000;
const secret = 'Bearer top-secret';
const megabyte = 1 << 20;

let own: TlsIdentity;
let ownServer: TlsIdentity;
let foreignServer: TlsIdentity;
beforeAll(async () => {
  const [authority, other] = [await createTestAuthority(), await createTestAuthority()];
  own = await authority.issue('CN=system:node:edge-1,O=system:nodes');
  ownServer = await authority.issue('CN=cloud');
  foreignServer = await other.issue('CN=cloud');
});

const clients: Readonly<Record<string, (port: number, timeoutMs: number) => Promise<unknown>>> = {
  'EdgeHub’s link': (port, timeoutMs) =>
    createWebSocketTransport({ clock: systemClock }).dial({
      url: `wss://127.0.0.1:${port}/p/edge-1/events`,
      headers: { node_id: 'edge-1', authorization: secret },
      tls: own,
      handshakeTimeoutMs: timeoutMs,
      frameBytesMax: megabyte,
      signal: new AbortController().signal,
    }),
  'the request for a certificate': (port, timeoutMs) =>
    httpsGet(
      {
        url: new URL(`https://127.0.0.1:${port}/edge.crt`),
        headers: { Authorization: secret },
        trust: { ca: own.ca },
        bytesMax: 64 * 1024,
        timeoutMs,
      },
      systemClock,
      new AbortController().signal,
    ),
  'the call of a rule': (port, timeoutMs) =>
    callHttp(
      {
        url: new URL(`https://127.0.0.1:${port}/in`),
        method: 'POST',
        headers: [['Authorization', secret]],
        body: Buffer.from('x'),
        timeoutMs,
        answerBytesMax: megabyte,
        ca: own.ca,
      },
      systemClock,
    ),
  'the Kubernetes client': async (port, timeoutMs) => {
    const connection = new HttpConnection(
      {
        server: `https://127.0.0.1:${port}`,
        tls: { ca: own.ca },
        credential: { kind: 'header', value: secret },
      },
      { clock: systemClock },
      { connectionsMax: 2, answerBytesMax: megabyte, requestTimeoutMs: timeoutMs, credentialTtlMs: 1_000 },
    );
    try {
      return await connection.call({ method: 'GET', path: '/api/v1/pods', accept: 'application/json' });
    } finally {
      connection.close();
    }
  },
};

let server: Server | undefined;
afterEach(() => {
  server?.close();
  server = undefined;
});

/** Answers each connection, once something was said on it, by what is given. */
async function serve(
  tls: TlsIdentity,
  answer: (socket: TLSSocket) => void,
): Promise<{ port: number; heard: () => string }> {
  let heard = '';
  const listening = createServer({ cert: tls.cert, key: tls.key }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      heard += String(chunk);
    });
    socket.once('data', () => answer(socket));
  });
  server = listening;
  listening.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  // Listening on TCP, so the address is no text.
  return { port: (listening.address() as AddressInfo).port, heard: () => heard };
}

/** Writes as fast as it is taken, or a piece now and then, until the client has gone. */
function endless(start: string, piece: string, pauseMs?: number): (socket: TLSSocket) => void {
  return (socket) => {
    socket.write(start);
    const write = () => {
      if (socket.destroyed || !socket.writable) return;
      if (pauseMs !== undefined) {
        socket.write(piece);
        setTimeout(write, pauseMs);
      } else if (socket.write(piece)) setImmediate(write);
      else socket.once('drain', write);
    };
    write();
  };
}

const long = 'x'.repeat(16 * 1024);
const attacks: Readonly<Record<string, (socket: TLSSocket) => void>> = {
  'headers without end': endless('HTTP/1.1 200 OK\r\n', `X-More: ${'x'.repeat(512)}\r\n`),
  'one header without end': endless('HTTP/1.1 200 OK\r\nX: ', long),
  'a body without end': endless(
    'HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n',
    `4000\r\n${long}\r\n`,
  ),
  'a good body without end': endless('HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n', long),
  'interim answers without end': endless('', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(64), 5),
  'an upgrade with headers without end': endless(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n',
    `X-More: ${'x'.repeat(512)}\r\n`,
  ),
  'a byte now and then': endless('HTTP/1.1 200 OK\r\nX: ', 'x', 20),
  'a body of a byte now and then': endless(
    'HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n',
    'x',
    20,
  ),
};

describe.each(Object.entries(clients))('%s', (_name, ask) => {
  test('says nothing to a server of another authority', async () => {
    const { port, heard } = await serve(foreignServer, (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'));
    await expect(ask(port, patientMs)).rejects.toBeInstanceOf(HawserError);
    expect(heard()).toBe('');
  });

  test('speaks to one of its own (or the row above shows nothing)', async () => {
    const { port, heard } = await serve(ownServer, (socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'));
    await ask(port, patientMs).catch(() => {});
    expect(heard()).toContain(secret);
  });

  test.each(Object.entries(attacks))('gives up at %s', async (_attack, answer) => {
    const { port } = await serve(ownServer, answer);
    const before = process.memoryUsage().rss;
    const refused = expect(ask(port, hastyMs)).rejects.toBeInstanceOf(HawserError);
    expect(await beatsOf(refused)).toBeLessThan(hastyMs + 3_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * megabyte);
  });
});
