/** The link between a whole edge and a whole cloud when it fails: silent, cut, or with somebody in between. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Bus } from '#beehive/bus.ts';
import { ManualClock, systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { seededRandom } from '#beehive/random.ts';
import { createKubeApi } from '#cloudcore/kube/client.ts';
import { createEdgeHub, edgeHubInbox } from '#edgecore/edgehub/edgehub.ts';
import { renew } from '#edgecore/edgehub/renewal.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { beatsOf } from '#test/beats.ts';
import { createTestAuthority } from '#test/certificates.ts';
import { startCloud } from '#test/fixtures/cloud.ts';
import { givenCertificates, startEdge } from '#test/fixtures/edge.ts';
import { TcpPath } from '#test/tcp-path.ts';

const transport = createWebSocketTransport({ clock: systemClock });

test('a path that swallows everything is found within two beats at both ends, and joined again when it heals', async () => {
  const beatMs = 400;
  const cloud = await startCloud({
    transport,
    hub: { silenceMaxMs: 2 * beatMs, writeTimeoutMs: 2 * beatMs },
  });
  const path = new TcpPath();
  const port = await path.to(cloud.port);
  const edge = await startEdge({
    nodeName: 'edge-1',
    transport,
    server: `127.0.0.1:${port}`,
    certificates: givenCertificates(await cloud.identity('edge-1')),
    hub: {
      heartbeatMs: beatMs,
      sessionBeatMs: beatMs,
      pongTimeoutMs: beatMs,
      writeTimeoutMs: beatMs,
      handshakeTimeoutMs: 60_000,
    },
  });
  let lostAtCloud = () => {};
  const cloudLost = new Promise<void>((resolve) => {
    lostAtCloud = resolve;
  });
  cloud.bus.taps.subscribe(({ to, envelope: { route } }) => {
    if (to === 'edgecontroller' && route.source === 'cloudhub' && route.operation === 'disconnected')
      lostAtCloud();
  });
  try {
    await edge.connected();
    await expect.poll(() => cloud.cache.get('node', undefined, 'edge-1')).toBeDefined();
    path.silence();
    const edgeLost = edge.until(() => edge.news.includes('cloud_disconnected'));
    const [edgeMs, cloudMs] = await Promise.all([beatsOf(edgeLost), beatsOf(cloudLost)]);
    expect(edgeMs).toBeLessThan(2.5 * beatMs);
    expect(cloudMs).toBeLessThan(2.5 * beatMs);
    path.heal();
    await edge.connected(2);
  } finally {
    await edge.close();
    await cloud.close();
    await path.close();
  }
});

test('a fleet that lost its cloud in one moment does not come back in one', async () => {
  const clock = new ManualClock();
  const network = new MemoryNetwork({ clock, random: seededRandom(1) });
  const edges = 200;
  const cameMs: number[] = [];
  const listener = await network.listen({
    host: 'cloud',
    port: 10000,
    connectionsMax: 10 * edges,
    frameBytesMax: 1e6,
    admit: () => {
      cameMs.push(clock.monotonicMs());
      return { accept: true };
    },
  });
  void (async () => {
    for await (const connection of listener.connections) {
      void (async () => {
        try {
          for await (const _ of connection.frames);
        } catch {
          // Cut: that is the test.
        }
      })();
    }
  })();
  const stop = new AbortController();
  const running = Array.from({ length: edges }, (_, at) => {
    const bus = new Bus({ clock, log: silentLog });
    bus.open('edgehub', edgeHubInbox);
    const options = {
      nodeName: `edge-${at}`,
      projectId: 'p',
      server: 'cloud:10000',
      machine: 'm',
      heartbeatMs: 15_000,
      sessionBeatMs: 5_000,
      pongTimeoutMs: 15_000,
      writeTimeoutMs: 15_000,
      handshakeTimeoutMs: 5_000,
      upstream: { perSecond: 30, burst: 60 },
      modules: [],
    };
    const certificates = givenCertificates({ ca: '', cert: `${at}`, key: '' });
    const parts = { bus, clock, log: silentLog, metrics: createMetrics(), random: seededRandom(at) };
    return createEdgeHub(options, { ...parts, transport: network, certificates }).run(stop.signal, () => {});
  });
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 50) await clock.advance(50);
  };
  await expect.poll(() => cameMs.length).toBe(edges);
  await pass(1_000);
  network.cut();
  await pass(40_000);
  network.heal();
  const healedMs = clock.monotonicMs();
  cameMs.length = 0;
  await pass(31_000);
  expect(cameMs).toHaveLength(edges);
  // Each second of the half minute over which they spread gets its share and not much more.
  const perSecond = new Map<number, number>();
  for (const ms of cameMs) {
    const second = Math.floor((ms - healedMs) / 1_000);
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
  }
  expect(Math.max(...perSecond.values())).toBeLessThan(edges / 5);
  stop.abort();
  await pass(5_000);
  await Promise.all(running);
  await listener.close();
});

test('whoever stands between with a certificate of another CA learns nothing: at every client', async () => {
  const right = await createTestAuthority('CN=KubeEdge');
  const wrong = await createTestAuthority('CN=KubeEdge');
  const serving = await wrong.issue('CN=KubeEdge,O=KubeEdge');
  const heard: string[] = [];
  const server = createServer({ cert: serving.cert, key: serving.key }, (request, response) => {
    heard.push(`${request.method} ${request.url}`);
    response.end();
  });
  server.on('upgrade', (request, socket) => {
    heard.push(`upgrade ${request.url}`);
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A TCP server's address is never a pipe's.
  const { port } = server.address() as AddressInfo;
  const own = await right.issue('CN=system:node:edge-1,O=system:nodes');
  const signal = new AbortController().signal;
  const dir = await mkdtemp(join(tmpdir(), 'hawser-between-'));
  try {
    const dial = transport.dial({
      url: `wss://127.0.0.1:${port}/p/edge-1/events`,
      headers: { node_id: 'edge-1' },
      tls: own,
      handshakeTimeoutMs: 60_000,
      frameBytesMax: 1e6,
      signal,
    });
    await expect(dial).rejects.toMatchObject({ code: 'unreachable' });

    const asking = {
      nodeName: 'edge-1',
      machine: 'm',
      httpServer: `https://127.0.0.1:${port}`,
      timeoutMs: 60_000,
    };
    await expect(renew(own, asking, systemClock, signal)).rejects.toMatchObject({ code: 'untrusted' });

    const base64 = (text: string) => Buffer.from(text).toString('base64');
    const cluster = { server: `https://127.0.0.1:${port}`, 'certificate-authority-data': base64(right.ca) };
    const config = join(dir, 'kubeconfig');
    const kubeconfig = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'c',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: { token: 'a-secret' } }],
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    };
    await writeFile(config, JSON.stringify(kubeconfig));
    const api = await createKubeApi(config, { clock: systemClock });
    await expect(api.list({ apiVersion: 'v1', plural: 'secrets' })).rejects.toMatchObject({
      code: 'unreachable',
    });
    api.close();
    expect(heard).toEqual([]);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(dir, { recursive: true, force: true });
  }
});
