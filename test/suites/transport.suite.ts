/** What the header of transport.ts promises, asked of every implementation. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CancelledError, ProtocolError } from '#protocol/errors.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import type {
  Connection,
  DialOptions,
  Listener,
  ListenOptions,
  TlsIdentity,
  Transport,
} from '#protocol/transport/transport.ts';

/** A transport under test, with a path to the listener that the test can spoil. */
export interface TransportHarness {
  readonly transport: Transport;
  readonly host: string;
  /** The scheme and the identities when the implementation has TLS. */
  readonly scheme: 'ws' | 'wss';
  readonly serverTls?: TlsIdentity;
  readonly clientTls?: TlsIdentity;
  /** Gives an address that leads to the listener over the path that can be spoilt. */
  through(port: number): Promise<number>;
  /** The path breaks: both ends learn of it. */
  cut(): void;
  /** The path swallows everything: no end learns of it. */
  silence(): void;
  dispose(): Promise<void>;
}

const frameBytesMax = 64 * 1024;

export function transportSuite(name: string, open: () => Promise<TransportHarness>): void {
  describe(`transport ${name}`, () => {
    let harness: TransportHarness;
    let opened: { close(): Promise<unknown> }[];

    beforeEach(async () => {
      harness = await open();
      opened = [];
    });
    afterEach(async () => {
      await Promise.all(opened.map((each) => each.close()));
      await harness.dispose();
    });

    async function listen(options: Partial<ListenOptions> = {}): Promise<Listener> {
      const listener = await harness.transport.listen({
        host: harness.host,
        port: 0,
        ...(harness.serverTls === undefined ? {} : { tls: harness.serverTls }),
        admit: () => ({ accept: true }),
        connectionsMax: 10,
        frameBytesMax,
        ...options,
      });
      opened.push(listener);
      return listener;
    }

    async function dial(port: number, options: Partial<DialOptions> = {}): Promise<Connection> {
      const connection = await harness.transport.dial({
        url: `${harness.scheme}://${harness.host}:${port}/project/edge-1/events`,
        headers: { node_id: 'edge-1' },
        ...(harness.clientTls === undefined ? {} : { tls: harness.clientTls }),
        handshakeTimeoutMs: 60_000,
        frameBytesMax,
        signal: new AbortController().signal,
        ...options,
      });
      opened.push(connection);
      return connection;
    }

    async function pair(
      options: Partial<ListenOptions> = {},
    ): Promise<{ edge: Connection; cloud: Connection }> {
      const listener = await listen(options);
      const port = await harness.through(listener.port);
      const [edge, cloud] = await Promise.all([dial(port), first(listener.connections)]);
      opened.push(cloud);
      return { edge, cloud };
    }

    describe('upgrade', () => {
      test('shows path, headers and certificate to who admits, and headers back', async () => {
        let seen: Parameters<ListenOptions['admit']>[0] | undefined;
        const listener = await listen({
          admit: async (request) => {
            seen = request;
            return { accept: true, headers: { 'Hawser-Session': '1' } };
          },
        });
        const [edge, cloud] = await Promise.all([dial(listener.port), first(listener.connections)]);
        expect(seen?.path).toBe('/project/edge-1/events');
        expect(seen?.headers).toMatchObject({ node_id: 'edge-1' });
        expect(edge.headers).toMatchObject({ 'hawser-session': '1' });
        expect(cloud.headers).toMatchObject({ node_id: 'edge-1' });
        expect(cloud.remote).toMatch(/:\d+$/);
        if (harness.clientTls !== undefined && harness.serverTls !== undefined) {
          expect(pemBody(cloud.peerCertificate)).toBe(pemBody(harness.clientTls.cert));
          expect(pemBody(seen?.peerCertificate)).toBe(pemBody(harness.clientTls.cert));
          expect(pemBody(edge.peerCertificate)).toBe(pemBody(harness.serverTls.cert));
        }
      });

      test('a refusal carries status and text', async () => {
        const listener = await listen({
          admit: () => ({ accept: false, status: 403, reason: 'the certificate is of another node' }),
        });
        await expect(dial(listener.port)).rejects.toMatchObject({
          detail: { code: 'refused', status: 403, body: 'the certificate is of another node' },
        });
      });

      test('an admit that fails refuses this one and goes on', async () => {
        let calls = 0;
        const listener = await listen({
          admit: () => {
            calls += 1;
            if (calls === 1) throw new Error('the key is gone');
            return { accept: true };
          },
        });
        await expect(dial(listener.port)).rejects.toMatchObject({ detail: { code: 'refused', status: 500 } });
        await expect(dial(listener.port)).resolves.toBeDefined();
      });

      test('beyond the limit of connections it refuses, and takes again when one has gone', async () => {
        const listener = await listen({ connectionsMax: 1 });
        const edge = await dial(listener.port);
        const cloud = await first(listener.connections);
        await expect(dial(listener.port)).rejects.toMatchObject({ detail: { code: 'refused', status: 503 } });
        await edge.close();
        await cloud.closed;
        await expect(dial(listener.port)).resolves.toBeDefined();
      });

      test('a port can be listened on once', async () => {
        const { port } = await listen();
        await expect(listen({ port })).rejects.toMatchObject({ detail: { code: 'port-taken', port } });
      });

      test('nobody listens', async () => {
        const listener = await listen();
        await listener.close();
        await expect(dial(listener.port)).rejects.toMatchObject({ code: 'unreachable', retry: 'backoff' });
      });

      test('a handshake that nobody answers ends in time, or when given up', async () => {
        const listener = await listen();
        const port = await harness.through(listener.port);
        harness.silence();
        await expect(dial(port, { handshakeTimeoutMs: 30 })).rejects.toMatchObject({ code: 'timeout' });
        const given = new AbortController();
        const dialled = dial(port, { signal: given.signal });
        given.abort();
        await expect(dialled).rejects.toBeInstanceOf(CancelledError);
        await expect(dial(port, { signal: given.signal })).rejects.toBeInstanceOf(CancelledError);
      });

      test('after close nobody is let in, and the connections end', async () => {
        const listener = await listen();
        const edge = await dial(listener.port);
        await first(listener.connections);
        await listener.close();
        await edge.closed;
        await expect(dial(listener.port)).rejects.toMatchObject({ code: 'unreachable' });
      });

      test('iteration of the connections ends at close', async () => {
        const listener = await listen();
        const all = collect(listener.connections);
        await dial(listener.port);
        await listener.close();
        expect(await all).toHaveLength(1);
      });
    });

    describe('frames', () => {
      test('arrive whole and in the order they were sent, both ways', async () => {
        const { edge, cloud } = await pair();
        const up = take(cloud.frames, 200);
        const down = take(edge.frames, 200);
        await Promise.all([
          ...Array.from({ length: 200 }, (_, at) => edge.send(numbered(at, 'up'))),
          ...Array.from({ length: 200 }, (_, at) => cloud.send(numbered(at, 'down'))),
        ]);
        expect((await up).map(numberOf)).toEqual(Array.from({ length: 200 }, (_, at) => at));
        expect((await down).map(numberOf)).toEqual(Array.from({ length: 200 }, (_, at) => at));
      });

      test('are equal to what was sent, whatever is in them', async () => {
        const { edge, cloud } = await pair();
        const sent = newEnvelope(
          { source: 'edged', group: 'meta', operation: 'patch', resource: 'default/podpatch/ä' },
          { text: '\u2028 € 🚢 "\n', nested: [{ a: null }, 1.5, true], large: 'x'.repeat(40_000) },
          { parentId: 'p', resourceVersion: '18446744073709551615' },
        );
        const arrived = take(cloud.frames, 1);
        await edge.send(sent);
        expect(await arrived).toStrictEqual([sent]);
      });

      test('share nothing between the ends', async () => {
        const { edge, cloud } = await pair();
        const sent = newEnvelope(anyRoute, { list: [1] });
        const arrived = take(cloud.frames, 1);
        await edge.send(sent);
        const [frame] = await arrived;
        expect(frame?.content).not.toBe(sent.content);
      });

      test('that are larger than allowed are refused by the sender, and the link stays', async () => {
        const { edge, cloud } = await pair();
        const large = newEnvelope(anyRoute, 'x'.repeat(frameBytesMax));
        await expect(edge.send(large)).rejects.toMatchObject({ code: 'frame-too-large' });
        const arrived = take(cloud.frames, 1);
        await edge.send(numbered(1));
        expect((await arrived).map(numberOf)).toEqual([1]);
      });

      test('that are larger than the receiver allows end the link there with a reason', async () => {
        const { edge, cloud } = await pair({ frameBytesMax: 2_000 });
        const read = collect(cloud.frames);
        const sent = edge.send(newEnvelope(anyRoute, 'x'.repeat(10_000)));
        await expect(read).rejects.toMatchObject({ code: 'frame-too-large' });
        await expect(read).rejects.toBeInstanceOf(ProtocolError);
        await Promise.allSettled([sent, edge.closed]);
      });
    });

    describe('who does not read', () => {
      test('stops the peer, loses nothing, and starts it again', async () => {
        const { edge, cloud } = await pair();
        const count = 2_000;
        let sent = 0;
        const payload = 'x'.repeat(20_000);
        const sending = (async () => {
          for (let at = 0; at < count; at += 1) {
            await edge.send(numbered(at, payload));
            sent += 1;
          }
        })();
        const stalledAt = await settled(() => sent);
        expect(stalledAt).toBeLessThan(count);
        const frames = await take(cloud.frames, count);
        await sending;
        expect(frames.map(numberOf)).toEqual(Array.from({ length: count }, (_, at) => at));
        await untilTrue(() => edge.bufferedBytes === 0);
      });

      test('has what was not taken yet counted', async () => {
        const { edge, cloud } = await pair();
        const pending: Promise<unknown>[] = [];
        for (let at = 0; at < 1_500; at += 1) {
          pending.push(edge.send(numbered(at, 'x'.repeat(20_000))).catch((error: unknown) => error));
        }
        expect(edge.bufferedBytes).toBeGreaterThan(0);
        await cloud.close();
        await edge.close();
        await Promise.all(pending);
      });
    });

    describe('the end', () => {
      test('in order: frames end without an error, after the last frame', async () => {
        const { edge, cloud } = await pair();
        await edge.send(numbered(1));
        await edge.send(numbered(2));
        const closing = edge.close('done');
        expect((await collect(cloud.frames)).map(numberOf)).toEqual([1, 2]);
        await closing;
        expect(await cloud.closed).toBe('done');
      });

      test('of one’s own: frames end without an error, too', async () => {
        const { edge, cloud } = await pair();
        const mine = collect(edge.frames);
        const theirs = collect(cloud.frames);
        await edge.close();
        await edge.close();
        await expect(mine).resolves.toEqual([]);
        await expect(theirs).resolves.toEqual([]);
      });

      test('by a broken link: frames throw at both ends, closed resolves with a reason', async () => {
        const { edge, cloud } = await pair();
        const both = Promise.allSettled([collect(edge.frames), collect(cloud.frames)]);
        harness.cut();
        const broken = expect.objectContaining({ code: 'closed', retry: 'backoff' });
        expect(await both).toEqual([
          { status: 'rejected', reason: broken },
          { status: 'rejected', reason: broken },
        ]);
        expect(await edge.closed).not.toBe('');
        expect(await cloud.closed).not.toBe('');
      });

      test('makes send and ping reject', async () => {
        const { edge, cloud } = await pair();
        await cloud.close();
        await edge.closed;
        await expect(edge.send(numbered(1))).rejects.toMatchObject({ code: 'closed' });
        await expect(edge.ping()).rejects.toMatchObject({ code: 'closed' });
      });

      test('close while the peer does not read comes to an end', async () => {
        const { edge, cloud } = await pair();
        const sends = Array.from({ length: 1_500 }, (_, at) =>
          edge.send(numbered(at, 'x'.repeat(20_000))).catch((error: unknown) => error),
        );
        await edge.close();
        await Promise.all(sends);
        await cloud.close();
      });
    });

    describe('ping', () => {
      test('measures the round trip', async () => {
        const { edge, cloud } = await pair();
        const reading = collect(cloud.frames);
        const pings = await Promise.all([edge.ping(), edge.ping(), cloud.ping()]);
        for (const { rttMs } of pings) expect(rttMs).toBeGreaterThanOrEqual(0);
        await edge.close();
        await reading;
      });

      test('is told to the peer, each time', async () => {
        const { edge, cloud } = await pair();
        let pinged = 0;
        cloud.onPing(() => {
          pinged += 1;
        });
        await edge.ping();
        await edge.ping();
        await cloud.ping();
        expect(pinged).toBe(2);
      });

      test('is how a half-open link shows: it does not resolve, and can be given up', async () => {
        const { edge, cloud } = await pair();
        await edge.ping();
        harness.silence();
        const patience = new AbortController();
        const ping = edge.ping(patience.signal);
        const outcome = await Promise.race([ping.then(() => 'pong'), afterSomeTurns('silence')]);
        expect(outcome).toBe('silence');
        patience.abort();
        await expect(ping).rejects.toBeInstanceOf(CancelledError);
        harness.cut();
        await Promise.all([edge.closed, cloud.closed]);
      });

      test('that waits is rejected when the link ends', async () => {
        const { edge } = await pair();
        harness.silence();
        const ping = edge.ping();
        harness.cut();
        await expect(ping).rejects.toMatchObject({ code: 'closed' });
      });
    });
  });
}

const anyRoute = { source: 'edged', group: 'meta', operation: 'update', resource: 'default/pod/x' };

function numbered(at: number, payload = ''): Envelope {
  return newEnvelope(anyRoute, { at, payload });
}

function numberOf(envelope: Envelope): unknown {
  const { content } = envelope;
  return typeof content === 'object' && content !== null && 'at' in content ? content.at : undefined;
}

async function first<T>(values: AsyncIterable<T>): Promise<T> {
  const result = await values[Symbol.asyncIterator]().next();
  if (result.done) throw new Error('ended before the first value');
  return result.value;
}

async function take<T>(values: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  const iterator = values[Symbol.asyncIterator]();
  while (taken.length < count) {
    const result = await iterator.next();
    if (result.done) break;
    taken.push(result.value);
  }
  return taken;
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

/** The value once it has stopped changing over many turns of the event loop. */
async function settled(read: () => number): Promise<number> {
  let last = -1;
  while (last !== read()) {
    last = read();
    await afterSomeTurns('');
  }
  return last;
}

async function untilTrue(read: () => boolean): Promise<void> {
  while (!read()) await new Promise((resolve) => setImmediate(resolve));
}

async function afterSomeTurns<T>(value: T): Promise<T> {
  // Long enough that loopback would have answered; what is awaited here is that nothing happens.
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setTimeout(resolve, 0));
  return value;
}

function pemBody(certificate: Uint8Array | string | undefined): string | undefined {
  if (certificate === undefined) return undefined;
  if (typeof certificate !== 'string') return Buffer.from(certificate).toString('base64');
  return /-----BEGIN CERTIFICATE-----([^-]+)-----END/.exec(certificate)?.[1]?.replace(/\s/g, '');
}
