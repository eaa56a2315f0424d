/** What a stranger can do to each port of ours: nothing that lasts. One row for each listener, one test for each attack. */

import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Door, enter, openDoors, rest, slowMs } from './doors.ts';

const names = [
  'CloudHub’s WebSocket',
  'the joining port',
  'the embedded API',
  'the embedded API’s health',
  'a monitor',
  'the stats of pods',
  'the router',
  'ServiceBus for apps',
];
const doors = new Map<string, Door>();
/** Beyond the stated time: the interval at which times are looked at, and a busy machine. */
const lateMs = 3_000;
const megabyte = 1 << 20;

beforeAll(async () => {
  for (const door of await openDoors()) doors.set(door.name, door);
});
afterAll(async () => {
  for (const door of doors.values()) await door.close();
});

function doorOf(name: string): Door {
  return doors.get(name) ?? expect.fail(`no door called ${name}`);
}

async function isGood(door: Door): Promise<void> {
  const socket = await enter(door);
  socket.write(door.request);
  expect(await rest(socket)).toMatch(new RegExp(`^${door.answer}`));
}

/** Resolves with what was answered and how long it took until the peer closed. */
async function untilClosed(socket: Awaited<ReturnType<typeof enter>>): Promise<{ text: string; ms: number }> {
  const startedMs = performance.now();
  const text = await rest(socket);
  return { text, ms: performance.now() - startedMs };
}

test('every listener has a row', () => {
  expect([...doors.keys()].sort()).toEqual([...names].sort());
});

describe.each(names)('%s', (name) => {
  test('serves a good client', async () => {
    await isGood(doorOf(name));
  });

  test('refuses headers larger than its limit', async () => {
    const door = doorOf(name);
    const socket = await enter(door);
    const answered = untilClosed(socket);
    socket.write(
      `GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(2 * door.headerBytesMax)}\r\n\r\n`,
    );
    expect((await answered).text).toMatch(/^(HTTP\/1\.1 431 .*)?/);
    expect((await answered).text).not.toMatch(/^HTTP\/1\.1 2/);
    await isGood(door);
  });

  test('cuts a body of 10 GB at its limit, whether it is announced or not', async () => {
    const door = doorOf(name);
    for (const length of ['Content-Length: 10000000000', 'Transfer-Encoding: chunked']) {
      const before = process.memoryUsage().rss;
      const socket = await enter(door);
      const answered = untilClosed(socket);
      const method = door.bodyMethod ?? 'GET';
      socket.write(`${method} ${door.bodyPath} HTTP/1.1\r\nHost: x\r\n${door.bodyHeaders}${length}\r\n\r\n`);
      const isChunked = length.startsWith('Transfer');
      let written = 0;
      const chunk = Buffer.alloc(64 * 1024, 0x20);
      if (isChunked) socket.write('2540BE400\r\n');
      while (!socket.destroyed && written < 1_000 * megabyte) {
        written += chunk.length;
        if (!socket.write(chunk)) await Promise.race([drained(socket), answered]);
        await new Promise((resolve) => setImmediate(resolve));
      }
      const { text } = await answered;
      expect(text).toMatch(/^(HTTP\/1\.1 (4|200 )|$)/);
      // What the kernel's buffers take is not read by anybody.
      expect(socket.bytesWritten).toBeLessThan(door.bodyBytesMax + 16 * megabyte);
      expect(process.memoryUsage().rss - before).toBeLessThan(64 * megabyte);
    }
    await isGood(door);
  });

  test('closes a peer that connects and says nothing, and one that sends a byte now and then', async () => {
    const door = doorOf(name);
    const silent = connect({ host: '127.0.0.1', port: door.port });
    silent.on('error', () => {});
    const slow = await enter(door);
    const closings = [untilClosed(silent), untilClosed(slow)];
    const head = 'GET /healthz HTTP/1.1\r\nHost: x\r\nX: ';
    for (let at = 0; !slow.destroyed && at < 200; at += 1) {
      slow.write(at < head.length ? (head[at] ?? '') : 'x');
      await Promise.race([delay(50), closings[1]]);
    }
    for (const closing of closings) expect((await closing).ms).toBeLessThan(slowMs + lateMs);
  });

  test('closes a peer whose body comes a byte at a time', async () => {
    const door = doorOf(name);
    const socket = await enter(door);
    const closing = untilClosed(socket);
    const method = door.bodyMethod ?? 'GET';
    socket.write(
      `${method} ${door.bodyPath} HTTP/1.1\r\nHost: x\r\n${door.bodyHeaders}Content-Length: 1000\r\n\r\n`,
    );
    for (let at = 0; !socket.destroyed && at < 200; at += 1) {
      socket.write('x');
      await Promise.race([delay(50), closing]);
    }
    expect((await closing).ms).toBeLessThan(2 * slowMs + lateMs);
  });

  test('serves a good client while 1,000 others hold a connection each', async () => {
    const door = doorOf(name);
    const held = await Promise.all(Array.from({ length: 1_000 }, () => hold(door.port)));
    // A monitor has few places, and gives them back when the time of who holds them is over.
    if (door.tls === undefined) await delay(slowMs + 500);
    await isGood(door);
    for (const socket of held) socket.destroy();
  });
});

describe.each(names.slice(0, 3))('TLS of %s', (name) => {
  test('is 1.2 or newer', async () => {
    const door = doorOf(name);
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    await expect(enter(door, old)).rejects.toThrow(/protocol|version|alert|ECONNRESET/i);
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await enter(door, { minVersion: version, maxVersion: version });
      socket.destroy();
    }
  });
});

function drained(socket: { once(event: 'drain', listener: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => socket.once('drain', resolve));
}

/** Resolves also when it is closed at once: then it holds nothing. */
function hold(port: number): Promise<{ destroy(): void }> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => resolve(socket));
    socket.on('error', () => resolve(socket));
  });
}
