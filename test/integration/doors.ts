/** Every listener of ours with short times, as a stranger finds it: how to reach it, and what it must not allow. */

import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectPlain, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { startApiServer } from '#apiserver/apiserver.ts';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import { createMonitorServer } from '#beehive/monitor-server.ts';
import { seededRandom } from '#beehive/random.ts';
import { BootstrapServer } from '#cloudcore/cloudhub/bootstrap-server.ts';
import { openCertificateAuthority } from '#cloudcore/cloudhub/certificate-authority.ts';
import { createCloudHubMetrics } from '#cloudcore/cloudhub/cloudhub-metrics.ts';
import { openTokenIssuer } from '#cloudcore/cloudhub/token.ts';
import { MemoryKubeApi } from '#cloudcore/kube/memory-kube-api.ts';
import { createMemoryRuntime } from '#edgecore/edged/runtime/memory-runtime.ts';
import { createStatsServer } from '#edgecore/edged/stats/stats-server.ts';
import { bootstrapLimits, listenerLimits, monitorLimits } from '#protocol/limits.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { createTestAuthority } from '#test/certificates.ts';
import { freePort } from '#test/free-port.ts';
import { ruleDoors } from './rule-doors.ts';

export interface Door {
  readonly name: string;
  readonly port: number;
  /** Undefined: plain HTTP, on loopback. */
  readonly tls: ConnectionOptions | undefined;
  readonly headerBytesMax: number;
  /** The path that reads a body, with what it wants to see before it does. */
  readonly bodyPath: string;
  /** GET unless said. */
  readonly bodyMethod?: 'GET' | 'POST';
  readonly bodyHeaders: string;
  readonly bodyBytesMax: number;
  /** What a good client asks, and how the answer begins. */
  readonly request: string;
  readonly answer: string;
  close(): Promise<void>;
}

/** Within which a slow peer is closed, where that is what a test waits for; a good peer may be slow at others. */
export const slowMs = 600;
export const patientMs = 60_000;
const checkIntervalMs = 50;

/** No failures are counted, so that each test meets the door as it is. */
const openLimits = (slowMs: number) => ({
  ...listenerLimits,
  handshakeTimeoutMs: slowMs,
  checkIntervalMs,
  handshakesMax: 200,
  failuresBurst: 1e6,
});

/** @param slowMs within which a slow peer is closed. */
export async function openDoors(slowMs: number): Promise<Door[]> {
  const api = await apiDoor(slowMs);
  const health = {
    ...api,
    name: 'the embedded API’s health',
    bodyMethod: 'GET' as const,
    bodyPath: '/healthz',
    bodyHeaders: '',
    bodyBytesMax: 0,
  };
  const others = await Promise.all([
    webSocketDoor(slowMs),
    joiningDoor(slowMs),
    monitorDoor(slowMs),
    statsDoor(slowMs),
    ...ruleDoors({ slowMs, checkIntervalMs }),
  ]);
  return [...others, api, { ...health, close: async () => {} }];
}

async function webSocketDoor(slowMs: number): Promise<Door> {
  const authority = await createTestAuthority();
  const transport = createWebSocketTransport({ clock: systemClock });
  const listener = await transport.listen({
    host: '127.0.0.1',
    port: 0,
    tls: await authority.issue('CN=cloud'),
    admit: () => ({ accept: false, status: 401, reason: 'only a test' }),
    connectionsMax: 10,
    frameBytesMax: 1 << 20,
    limits: openLimits(slowMs),
  });
  const { ca, cert, key } = await authority.issue('CN=system:node:edge-1,O=system:nodes');
  return {
    name: 'CloudHub’s WebSocket',
    port: listener.port,
    tls: { ca, cert, key },
    headerBytesMax: listenerLimits.headerBytesMax,
    bodyPath: '/',
    bodyHeaders: '',
    bodyBytesMax: 0,
    request:
      'GET /p/edge-1/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    answer: 'HTTP/1.1 401 ',
    close: () => listener.close(),
  };
}

async function joiningDoor(slowMs: number): Promise<Door> {
  const dir = mkdtempSync(join(tmpdir(), 'hawser-door-'));
  const api = new MemoryKubeApi({ clock: systemClock });
  const pair = (name: string) => ({ certFile: join(dir, `${name}.crt`), keyFile: join(dir, `${name}.key`) });
  const base = { api, clock: systemClock, log: silentLog };
  const authority = await openCertificateAuthority(
    {
      caFiles: pair('ca'),
      serverFiles: pair('server'),
      serverNames: ['127.0.0.1'],
      nodeCertificateDays: 1,
    },
    base,
  );
  const tokens = await openTokenIssuer(base);
  const server = await BootstrapServer.start(
    {
      host: '127.0.0.1',
      port: 0,
      limits: {
        ...bootstrapLimits,
        ...openLimits(slowMs),
        requestTimeoutMs: slowMs,
        bodyBytesMax: 16 * 1024,
      },
    },
    { ...base, authority, tokens, metrics: createCloudHubMetrics(createMetrics()) },
  );
  const token = (await tokens.issue(authority.certificateHash, 3_600_000)).split('.').slice(1).join('.');
  return {
    name: 'the joining port',
    port: server.port,
    tls: { ca: authority.tls.ca },
    headerBytesMax: listenerLimits.headerBytesMax,
    bodyPath: '/edge.crt',
    bodyHeaders: `Authorization: Bearer ${token}\r\nNodeName: edge-1\r\n`,
    bodyBytesMax: 16 * 1024,
    request: 'GET /ca.crt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    answer: 'HTTP/1.1 200 ',
    async close() {
      await server.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function apiDoor(slowMs: number): Promise<Door> {
  const dataDir = mkdtempSync(join(tmpdir(), 'hawser-door-'));
  const server = await startApiServer(
    {
      dataDir,
      bindAddress: '127.0.0.1',
      securePort: 0,
      advertiseAddresses: [],
      times: {
        handshakeMs: slowMs,
        headMs: slowMs,
        requestMs: slowMs,
        keepAliveMs: slowMs,
        checkEveryMs: checkIntervalMs,
      },
    },
    { clock: systemClock, random: seededRandom(1), log: silentLog },
  );
  const { readFile } = await import('node:fs/promises');
  const pem = (name: string) => readFile(join(dataDir, 'pki', name), 'utf8');
  return {
    name: 'the embedded API',
    port: Number(new URL(server.url).port),
    tls: { ca: await pem('ca.crt'), cert: await pem('admin.crt'), key: await pem('admin.key') },
    headerBytesMax: 64 * 1024,
    bodyMethod: 'POST',
    bodyPath: '/api/v1/namespaces/default/configmaps',
    bodyHeaders: 'Content-Type: application/json\r\n',
    bodyBytesMax: 3 * 1024 * 1024,
    request: 'GET /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    answer: 'HTTP/1.1 200 ',
    async close() {
      await server.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

const openMonitorLimits = (slowMs: number) => ({
  ...monitorLimits,
  requestTimeoutMs: slowMs,
  checkIntervalMs,
});

async function monitorDoor(slowMs: number): Promise<Door> {
  const port = await freePort();
  const monitor = createMonitorServer(
    {
      bindAddress: `127.0.0.1:${port}`,
      field: 'monitorServer.bindAddress',
      limits: openMonitorLimits(slowMs),
    },
    { metrics: createMetrics(), clock: systemClock, log: silentLog, waitsFor: () => undefined },
  );
  return readOnlyDoor('a monitor', port, '/metrics', monitor);
}

async function statsDoor(slowMs: number): Promise<Door> {
  const port = await freePort();
  const server = createStatsServer(
    {
      port,
      nodeName: 'edge-1',
      rootDirectory: tmpdir(),
      interfaceName: '',
      limits: openMonitorLimits(slowMs),
    },
    { runtime: createMemoryRuntime({ clock: systemClock }), clock: systemClock, log: silentLog },
  );
  return readOnlyDoor('the stats of pods', port, '/stats/summary', server);
}

async function readOnlyDoor(name: string, port: number, bodyPath: string, server: Module): Promise<Door> {
  const stop = new AbortController();
  let running: Promise<void> = Promise.resolve();
  await new Promise<void>((ready) => {
    running = server.run(stop.signal, ready);
  });
  return {
    name,
    port,
    tls: undefined,
    headerBytesMax: monitorLimits.headerBytesMax,
    bodyPath,
    bodyHeaders: '',
    bodyBytesMax: 0,
    request: 'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    answer: 'HTTP/1.1 200 ',
    async close() {
      stop.abort();
      await running;
    },
  };
}

/** Resolves when the peer may speak: for TLS, after the handshake. */
export function enter(door: Door, options: ConnectionOptions = {}): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { port, tls } = door;
    const socket =
      tls === undefined
        ? connectPlain({ host: '127.0.0.1', port }, () => resolve(socket))
        : connectTls({ host: '127.0.0.1', port, ...tls, ...options }, () => resolve(socket));
    socket.once('error', reject);
    // A peer that is closed while it writes is what these tests are about.
    socket.on('error', () => {});
  });
}

/** Everything that comes until the peer closes. */
export function rest(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    socket.on('close', () => resolve(text));
  });
}
