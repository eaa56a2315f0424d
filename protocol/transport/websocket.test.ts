import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { createTestAuthority, type TestAuthority } from '#test/certificates.ts';
import { transportSuite } from '#test/suites/transport.suite.ts';
import { TcpPath } from '#test/tcp-path.ts';
import { connectionLimits, listenerLimits } from '../limits.ts';
import type { Connection, DialOptions, Listener, ListenOptions, TlsIdentity } from './transport.ts';
import { createWebSocketTransport } from './websocket.ts';

const transport = createWebSocketTransport({ clock: { monotonicMs: () => performance.now() } });

let authority: TestAuthority;
let serverTls: TlsIdentity;
let edgeTls: TlsIdentity;

beforeAll(async () => {
  authority = await createTestAuthority();
  serverTls = await authority.issue('CN=KubeEdge');
  edgeTls = await authority.issue('CN=system:node:edge-1,O=system:nodes');
});

async function harness(tls: { serverTls: TlsIdentity; clientTls: TlsIdentity } | undefined) {
  const path = new TcpPath();
  return {
    transport,
    host: '127.0.0.1',
    scheme: tls === undefined ? ('ws' as const) : ('wss' as const),
    ...tls,
    through: (port: number) => path.to(port),
    cut: () => path.cut(),
    silence: () => path.silence(),
    dispose: () => path.close(),
  };
}

transportSuite('websocket over mutual TLS', () => harness({ serverTls, clientTls: edgeTls }));
transportSuite('websocket without TLS', () => harness(undefined));

function listen(options: Partial<ListenOptions> = {}): Promise<Listener> {
  return transport.listen({
    host: '127.0.0.1',
    port: 0,
    tls: serverTls,
    admit: () => ({ accept: true }),
    connectionsMax: 10,
    frameBytesMax: 10_000,
    ...options,
  });
}

function dial(listener: Listener, options: Partial<DialOptions> = {}): Promise<Connection> {
  return transport.dial({
    url: `wss://127.0.0.1:${listener.port}/p/edge-1/events`,
    headers: { node_id: 'edge-1', project_id: 'p', ConnectionUse: 'msg' },
    tls: edgeTls,
    handshakeTimeoutMs: 60_000,
    frameBytesMax: 10_000,
    signal: new AbortController().signal,
    ...options,
  });
}

async function accepted(listener: Listener): Promise<Connection> {
  const result = await listener.connections[Symbol.asyncIterator]().next();
  if (result.done) throw new Error('no connection');
  return result.value;
}

/** A peer that speaks WebSocket by itself, as KubeEdge's would. */
async function rawPeer(listener: Listener): Promise<{ peer: WebSocket; cloud: Connection }> {
  const peer = new WebSocket(`wss://127.0.0.1:${listener.port}/`, {
    ca: edgeTls.ca,
    cert: edgeTls.cert,
    key: edgeTls.key,
  });
  peer.on('error', () => {});
  const [cloud] = await Promise.all([accepted(listener), once(peer, 'open')]);
  return { peer, cloud };
}

const frame = JSON.stringify({
  header: { msg_id: 'a', timestamp: 1 },
  route: { source: 'websocket', group: 'resource', operation: 'keepalive', resource: 'node' },
  content: 'ping',
});

describe('TLS', () => {
  test.each([
    ['no certificate', async () => ({ ...edgeTls, cert: '', key: '' })],
    [
      'a certificate of another authority',
      async () => {
        const stranger = await (await createTestAuthority('CN=Stranger')).issue('CN=system:node:edge-1');
        return { ...stranger, ca: edgeTls.ca };
      },
    ],
  ])('a peer with %s never reaches admit', async (_what, identity) => {
    let asked = 0;
    const listener = await listen({
      admit: () => {
        asked += 1;
        return { accept: true };
      },
    });
    const tls = await identity();
    await expect(dial(listener, { tls })).rejects.toMatchObject({ code: 'unreachable' });
    expect(asked).toBe(0);
    await listener.close();
  });

  test('a server of another authority is not believed', async () => {
    const stranger = await createTestAuthority('CN=Stranger');
    const listener = await listen({ tls: { ...serverTls, ...(await stranger.issue('CN=KubeEdge')) } });
    await expect(dial(listener)).rejects.toMatchObject({ code: 'unreachable' });
    await listener.close();
  });

  test('TLS 1.1 is refused', async () => {
    const listener = await listen();
    const socket = connectTls({
      ...edgeTls,
      host: '127.0.0.1',
      port: listener.port,
      maxVersion: 'TLSv1.1',
      minVersion: 'TLSv1.1',
    });
    await expect(once(socket, 'secureConnect')).rejects.toThrow();
    await listener.close();
  });
});

describe('places at the listener', () => {
  test('a certificate alone holds none: who asks for nothing makes room, who was let in stays', async () => {
    const turnedAway: string[] = [];
    const listener = await listen({
      limits: { ...listenerLimits, handshakesPerAddressMax: 2 },
      turnedAway: (why) => turnedAway.push(why),
    });
    const edge = await dial(listener);
    const { ca, cert, key } = edgeTls;
    const idle = [];
    for (let at = 0; at < 3; at += 1) {
      const socket = connectTls({ host: '127.0.0.1', port: listener.port, ca, cert, key });
      socket.on('error', () => {});
      await once(socket, 'secureConnect');
      idle.push({ socket, closed: once(socket, 'close') });
    }
    await idle[0]?.closed;
    expect(idle.map(({ socket }) => socket.destroyed)).toEqual([true, false, false]);
    expect(turnedAway).toEqual(['address-full']);
    await edge.ping();
    for (const { socket } of idle) socket.destroy();
    await edge.close();
    await listener.close();
  });

  test.each([
    [403, ['fails-too-often']],
    [503, []],
  ])('an address that was refused with %d three times is turned away for %j', async (status, reasons) => {
    const turnedAway: string[] = [];
    const listener = await listen({
      limits: { ...listenerLimits, failuresBurst: 3, failuresPerSecond: 0 },
      admit: () => ({ accept: false, status, reason: 'no' }),
      turnedAway: (why) => turnedAway.push(why),
    });
    for (let at = 0; at < 3; at += 1)
      await expect(dial(listener)).rejects.toMatchObject({ detail: { status } });
    // Whatever the answer is: it says whether the address was heard.
    await dial(listener).catch(() => {});
    expect(turnedAway).toEqual(reasons);
    await listener.close();
  });
});

describe('on the wire', () => {
  test('frames are text, one JSON line each, uncompressed; KubeEdge’s header names are sent as they are', async () => {
    const listener = await listen();
    const { peer, cloud } = await rawPeer(listener);
    expect(peer.extensions).toBe('');
    const arrived = once(peer, 'message');
    await cloud.send({ ...JSON.parse(frame), content: 'pong' });
    const [data, isBinary] = await arrived;
    expect(isBinary).toBe(false);
    expect(String(data)).toMatch(/^\{.*\}\n$/);
    await listener.close();
  });

  test('a binary frame with the same JSON is taken, too', async () => {
    const listener = await listen();
    const { peer, cloud } = await rawPeer(listener);
    peer.send(Buffer.from(frame));
    const { value } = await cloud.frames[Symbol.asyncIterator]().next();
    expect(value.content).toBe('ping');
    await listener.close();
  });

  test.each([
    ['as many pieces as it may have', 0, { done: false, value: { content: 'ping' } }],
    ['one piece more', 1, 'malformed-frame'],
  ])('a frame of %s', async (_, more, outcome) => {
    const listener = await listen();
    const { peer, cloud } = await rawPeer(listener);
    const count = connectionLimits.fragmentsMax + more;
    for (let at = 1; at < count; at += 1) peer.send(at === 1 ? frame : ' ', { fin: false });
    peer.send(' ', { fin: true });
    const read = cloud.frames[Symbol.asyncIterator]().next();
    if (typeof outcome === 'string') await expect(read).rejects.toMatchObject({ code: outcome });
    else expect(await read).toMatchObject(outcome);
    peer.terminate();
    await cloud.closed;
    await listener.close();
  });

  test('an empty frame is the farewell of a KubeEdge edge: what came before is read, then it is over in order', async () => {
    const listener = await listen();
    const { peer, cloud } = await rawPeer(listener);
    peer.send(frame);
    peer.send('');
    const read = [];
    for await (const envelope of cloud.frames) read.push(envelope.content);
    expect(read).toEqual(['ping']);
    peer.terminate();
    await cloud.closed;
    await listener.close();
  });

  test('what is no envelope throws ProtocolError where it is read', async () => {
    const listener = await listen();
    const { peer, cloud } = await rawPeer(listener);
    peer.send('hello');
    await expect(cloud.frames[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'malformed-frame',
    });
    await listener.close();
  });

  test('a peer’s ping is answered, by one that is busy sending, too', async () => {
    const listener = await listen();
    const { peer } = await rawPeer(listener);
    const pong = once(peer, 'pong');
    peer.ping('x');
    expect(String((await pong)[0])).toBe('x');
    await listener.close();
  });

  test('a peer that leaves without a close frame, as KubeEdge does, is a broken link', async () => {
    const listener = await listen();
    const { peer, cloud } = await rawPeer(listener);
    peer.terminate();
    await expect(cloud.frames[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'closed' });
    await listener.close();
  });
});

describe('what is no WebSocket', () => {
  test('a plain request is told so', async () => {
    const listener = await transport.listen({
      host: '127.0.0.1',
      port: 0,
      admit: () => ({ accept: true }),
      connectionsMax: 1,
      frameBytesMax: 1_000,
    });
    const answer = await fetch(`http://127.0.0.1:${listener.port}/`);
    expect(answer.status).toBe(426);
    expect(await answer.text()).toContain('WebSocket');
    await listener.close();
  });

  test('garbage does not hold or end the listener', async () => {
    const listener = await listen();
    const socket = connectTcp(listener.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('\0\0garbage\r\n\r\n');
    await once(socket, 'close');
    const [edge] = await Promise.all([dial(listener), accepted(listener)]);
    await edge.close();
    await listener.close();
  });

  test('a header that would split the answer is not written', async () => {
    const listener = await listen({
      admit: () => ({ accept: true, headers: { 'Hawser-Session': '1\r\nX-Evil: 1' } }),
    });
    await expect(dial(listener)).rejects.toMatchObject({ detail: { code: 'refused', status: 500 } });
    await listener.close();
  });

  test('a URL that is none', async () => {
    const listener = await listen();
    await expect(dial(listener, { url: 'not a url' })).rejects.toMatchObject({ code: 'unreachable' });
    await listener.close();
  });
});
