/** What a stranger can do to each port of ours: nothing that lasts. One row for each listener, one test for each attack. */

import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { beatsOf } from '#test/beats.ts';
import { type Door, enter, openDoors, patientMs, rest, slowMs } from './doors.ts';

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
/** Each twice: one leaves its peers time, one closes the slow. */
const doors = new Map<string, Door>();
const hastyDoors = new Map<string, Door>();
/** Beyond the stated time: the interval at which times are looked at. */
const lateMs = 3_000;
const megabyte = 1 << 20;

beforeAll(async () => {
  for (const door of await openDoors(patientMs)) doors.set(door.name, door);
  for (const door of await openDoors(slowMs)) hastyDoors.set(door.name, door);
});
afterAll(async () => {
  for (const door of [...doors.values(), ...hastyDoors.values()]) await door.close();
});

function doorOf(name: string, of = doors): Door {
  return of.get(name) ?? expect.fail(`no door called ${name}`);
}

async function isGood(door: Door): Promise<void> {
  expect(await answerOf(door)).toMatch(new RegExp(`^${door.answer}`));
}

async function answerOf(door: Door): Promise<string> {
  const socket = await enter(door);
  socket.write(door.request);
  return await rest(socket);
}

/** Undefined: closed before the handshake was over, as a door may that closes the slow when the machine is. */
async function enterUnlessClosed(door: Door): Promise<Socket | undefined> {
  return await enter(door).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ECONNRESET') throw error;
    return undefined;
  });
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
    const answered = rest(socket);
    socket.write(
      `GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(2 * door.headerBytesMax)}\r\n\r\n`,
    );
    expect(await answered).toMatch(/^(HTTP\/1\.1 431 .*)?/);
    expect(await answered).not.toMatch(/^HTTP\/1\.1 2/);
    await isGood(door);
  });

  test('cuts a body of 10 GB at its limit, whether it is announced or not', async () => {
    const door = doorOf(name);
    for (const length of ['Content-Length: 10000000000', 'Transfer-Encoding: chunked']) {
      const before = process.memoryUsage().rss;
      const socket = await enter(door);
      const answered = rest(socket);
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
      const text = await answered;
      expect(text).toMatch(/^(HTTP\/1\.1 (4|200 )|$)/);
      // What the kernel's buffers take is not read by anybody.
      expect(socket.bytesWritten).toBeLessThan(door.bodyBytesMax + 16 * megabyte);
      expect(process.memoryUsage().rss - before).toBeLessThan(64 * megabyte);
    }
    await isGood(door);
  });

  test('closes a peer that connects and says nothing, and one that sends a byte now and then', async () => {
    const door = doorOf(name, hastyDoors);
    const silent = connect({ host: '127.0.0.1', port: door.port });
    silent.on('error', () => {});
    const closings = [beatsOf(rest(silent))];
    const slow = await enterUnlessClosed(door);
    if (slow !== undefined) {
      const closing = beatsOf(rest(slow));
      closings.push(closing);
      const head = 'GET /healthz HTTP/1.1\r\nHost: x\r\nX: ';
      for (let at = 0; !slow.destroyed && at < 200; at += 1) {
        slow.write(at < head.length ? (head[at] ?? '') : 'x');
        await Promise.race([delay(50), closing]);
      }
    }
    for (const closing of closings) expect(await closing).toBeLessThan(slowMs + lateMs);
  });

  test('closes a peer whose body comes a byte at a time', async () => {
    const door = doorOf(name, hastyDoors);
    const socket = await enterUnlessClosed(door);
    if (socket === undefined) return;
    const closing = beatsOf(rest(socket));
    const method = door.bodyMethod ?? 'GET';
    socket.write(
      `${method} ${door.bodyPath} HTTP/1.1\r\nHost: x\r\n${door.bodyHeaders}Content-Length: 1000\r\n\r\n`,
    );
    for (let at = 0; !socket.destroyed && at < 200; at += 1) {
      socket.write('x');
      await Promise.race([delay(50), closing]);
    }
    expect(await closing).toBeLessThan(2 * slowMs + lateMs);
  });

  test('serves a good client while 1,000 others hold a connection each', async () => {
    // Who has TLS makes room for the newest; others have few places, and give them back when the time is over.
    const hasTls = doorOf(name).tls !== undefined;
    const door = doorOf(name, hasTls ? doors : hastyDoors);
    const held = await Promise.all(Array.from({ length: 1_000 }, () => hold(door.port)));
    if (hasTls) await isGood(door);
    else await expect.poll(() => answerOf(door)).toMatch(new RegExp(`^${door.answer}`));
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
