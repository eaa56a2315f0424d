/** What the embedded broker keeps for clients: all that they may expect, and no more than its limits. */

import { connect as connectSocket, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { brokerLimits } from '#protocol/limits.ts';
import { freePort } from '#test/free-port.ts';
import { client, closed, TestBus, type TestClient } from './test-bus.ts';

const clock = new ManualClock();
let edge: TestBus;
let port: number;
const open: TestClient[] = [];

async function enter(options: object = {}): Promise<TestClient> {
  const entered = await client(port, options);
  open.push(entered);
  return entered;
}
const session = (clientId: string) => ({ clientId, clean: false });

/** Leaves a session behind that listens to `filter`. */
async function leaves(clientId: string, filter: string, qos: 1 | 2 = 1): Promise<void> {
  const { mqtt } = await client(port, session(clientId));
  await mqtt.subscribeAsync(filter, { qos });
  await mqtt.endAsync();
}

beforeEach(async () => {
  port = await freePort();
  edge = new TestBus({ clock });
  await edge.start({ mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${port}` });
});
afterEach(async () => {
  for (const { mqtt } of open.splice(0)) mqtt.end(true);
  await edge.end();
});

describe('sessions', () => {
  test.each([
    [1, 1],
    [2, 1],
    [1, 2],
    [2, 2],
  ] as const)('published with QoS %i and wished with QoS %i: once each, in order', async (said, wished) => {
    const writer = await enter();
    const listener = await enter(session('comes-and-goes'));
    await listener.mqtt.subscribeAsync('q/+', { qos: wished });
    await writer.mqtt.publishAsync('q/live', '0', { qos: said });
    await listener.until(1);
    await listener.mqtt.endAsync();
    for (let at = 1; at <= 50; at += 1) await writer.mqtt.publishAsync('q/away', `${at}`, { qos: said });
    const again = await enter(session('comes-and-goes'));
    await again.until(50);
    await writer.mqtt.publishAsync('q/live', '51', { qos: said });
    await again.until(51);
    const heard = [...listener.messages, ...again.messages].map(({ payload }) => Number(payload));
    expect(heard).toEqual(Array.from({ length: 52 }, (_, at) => at));
    await again.mqtt.endAsync();
    const third = await enter(session('comes-and-goes'));
    await writer.mqtt.publishAsync('q/live', 'last', { qos: said });
    await third.until(1);
    expect(third.messages.map(({ payload }) => payload)).toEqual(['last']);
  });

  test('end with a clean connect: neither subscriptions nor messages are left', async () => {
    await leaves('c', 'q/#');
    const writer = await enter();
    await writer.mqtt.publishAsync('q/x', 'kept', { qos: 1 });
    const clean = await enter({ clientId: 'c', clean: true });
    await clean.mqtt.endAsync();
    const again = await enter(session('c'));
    await again.mqtt.subscribeAsync('fence', { qos: 1 });
    await writer.mqtt.publishAsync('q/x', 'not kept', { qos: 1 });
    await writer.mqtt.publishAsync('fence', 'x', { qos: 1 });
    await again.until(1);
    expect(again.messages).toEqual([{ topic: 'fence', payload: 'x' }]);
  });

  test('of clients that do not come back make room, the one first gone first, but not before an hour', async () => {
    for (let at = 0; at < brokerLimits.sessionsMax; at += 1) {
      await leaves(`away-${at}`, 'q/#');
      await clock.advance(1_000);
    }
    await expect(client(port, session('one-more'))).rejects.toThrow(/unavailable/i);
    expect(await edge.count('reason="connect"')).toBe(1);
    const fleeting = await enter();
    await clock.advance(brokerLimits.sessionAwayMinMs - 100_000);
    await leaves('one-more', 'q/#');
    await fleeting.mqtt.publishAsync('q/x', 'kept', { qos: 1 });
    const second = await enter(session('away-1'));
    await second.until(1);
    const first = await enter({ ...session('away-0') });
    await first.mqtt.subscribeAsync('fence', { qos: 1 });
    await fleeting.mqtt.publishAsync('fence', 'x', { qos: 1 });
    await first.until(1);
    expect(first.messages.map(({ topic }) => topic)).toEqual(['fence']);
  });

  test.each([
    ['without a client id: nobody could come back to them', 0, ''],
    ['with one that is too long', 2, 'i'.repeat(brokerLimits.clientIdBytesMax + 1)],
  ])('%s, are refused and the connection ended', async (_, flags, id) => {
    const socket = connectSocket(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(connectPacket(id, flags));
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
    expect(await edge.count('reason="connect"')).toBe(1);
  });

  test('hold no more bytes than their limit, however many clients are away', async () => {
    const away = 24;
    for (let at = 0; at < away; at += 1) await leaves(`away-${at}`, 'big/#');
    const writer = await enter();
    const body = 'x'.repeat(900_000);
    for (let at = 0; at < 4; at += 1) await writer.mqtt.publishAsync('big/x', body, { qos: 1 });
    const kept = Math.floor(brokerLimits.sessionBytesMax / body.length);
    expect(await edge.count('reason="session"')).toBe(4 * away - kept);
    const again = await enter(session('away-0'));
    await again.until(1);
    // What is taken makes room.
    await again.mqtt.publishAsync('taken', 'x', { qos: 1 });
    await writer.mqtt.publishAsync('big/x', body, { qos: 1 });
    await again.until(2);
  });
});

describe('subscriptions', () => {
  test('that are given back make room for others', async () => {
    const { mqtt } = await enter();
    for (let at = 0; at < brokerLimits.subscriptionsPerClientMax + 50; at += 1) {
      await mqtt.subscribeAsync(`s/${at}`);
      await mqtt.unsubscribeAsync(`s/${at}`);
    }
    const filters = Array.from({ length: brokerLimits.subscriptionsPerClientMax }, (_, at) => `t/${at}`);
    for (let at = 0; at < filters.length; at += 64) await mqtt.subscribeAsync(filters.slice(at, at + 64));
    await expect(mqtt.subscribeAsync('one/more')).rejects.toThrow();
  });

  test('that were refused are not kept for a session, though asked for beside others', async () => {
    await edge.stop();
    const users = [
      { name: 'hall', password: 's', subscribe: ['hall/#'] },
      { name: 'all', password: 's' },
    ];
    await edge.start({
      mqttMode: 0,
      mqttServerInternal: `tcp://127.0.0.1:${port}`,
      internalBroker: { users },
    });
    const login = { username: 'hall', password: 's', ...session('spy') };
    const spy = await enter(login);
    const asked = { '#': { qos: 1 }, 'hall/#': { qos: 1 }, 'other/#': { qos: 1 } } as const;
    await spy.mqtt.subscribeAsync(asked).catch(() => {});
    await spy.mqtt.endAsync();
    const writer = await enter({ username: 'all', password: 's' });
    await writer.mqtt.publishAsync('other/x', 'secret', { qos: 1 });
    await writer.mqtt.publishAsync('hall/x', 'own', { qos: 1 });
    const again = await enter(login);
    await again.until(1);
    await writer.mqtt.publishAsync('hall/x', 'last', { qos: 1 });
    await again.until(2);
    expect(again.messages.map(({ payload }) => payload)).toEqual(['own', 'last']);
  });
});

describe('a client', () => {
  test('that acknowledges nothing is disconnected, and gets what was kept when it comes again', async () => {
    const good = await enter();
    await good.mqtt.subscribeAsync('flood/#', { qos: 1 });
    const deaf = await raw('deaf');
    // SUBSCRIBE, id 1, filter `flood/#`, QoS 1
    deaf.write(Buffer.from([0x82, 12, 0, 1, 0, 7, ...Buffer.from('flood/#'), 1]));
    await new Promise((resolve) => deaf.once('data', resolve));
    deaf.resume();
    const gone = new Promise((resolve) => deaf.once('close', resolve));
    const writer = await enter();
    const total = brokerLimits.unacknowledgedMax + 50;
    for (let at = 0; at < total; at += 1) await writer.mqtt.publishAsync('flood/x', `${at}`, { qos: 1 });
    await gone;
    await good.until(total);
    expect(await edge.count('reason="does-not-acknowledge"')).toBeGreaterThan(0);
    const again = await enter(session('deaf'));
    await again.until(brokerLimits.unacknowledgedMax);
    expect(again.messages.map(({ payload }) => Number(payload))).toEqual(
      Array.from({ length: brokerLimits.unacknowledgedMax }, (_, at) => at),
    );
  });

  test('that releases nothing (QoS 2) is disconnected', async () => {
    const good = await enter();
    await good.mqtt.subscribeAsync('two', { qos: 2 });
    const socket = await raw('never-releases');
    socket.resume();
    const gone = new Promise((resolve) => socket.once('close', resolve));
    for (let id = 1; id <= brokerLimits.unfinishedMax + 100; id += 1) {
      // PUBLISH, QoS 2, topic `two`, payload `x`
      socket.write(Buffer.from([0x34, 8, 0, 3, ...Buffer.from('two'), id >> 8, id & 0xff, 0x78]));
    }
    await gone;
    await good.until(brokerLimits.unfinishedMax);
    const writer = await enter();
    await writer.mqtt.publishAsync('two', 'good', { qos: 2 });
    await good.until(brokerLimits.unfinishedMax + 1);
    expect(good.messages.at(-1)).toEqual({ topic: 'two', payload: 'good' });
  });

  test('that floods DeviceTwin does not keep another waiting behind it', async () => {
    let open: () => void = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    edge.gate = () => opened;
    const topic = (name: string) => `$hw/events/device/default/${name}/twin/update`;
    const flood = await enter();
    const sent = Array.from({ length: 2_000 }, (_, at) =>
      flood.mqtt.publishAsync(topic('flood'), `${at}`, { qos: 1 }),
    );
    while (edge.bus.depths().get('twin') !== 64) await new Promise((resolve) => setImmediate(resolve));
    const other = await enter();
    await other.mqtt.publishAsync(topic('other'), 'x', { qos: 1 });
    open();
    await edge.until(() => edge.got.twin.some(({ content }) => content === 'x'));
    const place = edge.got.twin.findIndex(({ content }) => content === 'x');
    // What found room in the inbox before it, and its turn.
    expect(place).toBeLessThan(200);
    await Promise.all(sent);
    await edge.until(() => edge.got.twin.length === 2_001);
    const others = edge.got.twin.filter(({ content }) => content !== 'x');
    expect(others.map(({ content }) => Number(content))).toEqual(sent.map((_, at) => at));
  });
});

/** Connected, with a session, and doing nothing by itself. */
async function raw(id: string): Promise<Socket> {
  const socket = connectSocket(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(connectPacket(id, 0));
  await new Promise((resolve) => socket.once('data', resolve));
  return socket;
}

function connectPacket(id: string, flags: number): Buffer {
  const body = [
    0,
    4,
    ...Buffer.from('MQTT'),
    4,
    flags,
    0,
    60,
    id.length >> 8,
    id.length & 0xff,
    ...Buffer.from(id),
  ];
  const length = body.length < 128 ? [body.length] : [(body.length & 0x7f) | 0x80, body.length >> 7];
  return Buffer.from([0x10, ...length, ...body]);
}

test('a will that sets off others ends with them', async () => {
  const will = (to: string) => ({ topic: to, payload: Buffer.from('x'), qos: 1 as const, retain: false });
  const a = await enter({ clientId: 'a', will: will('b') });
  const b = await enter({ clientId: 'b', will: will('a') });
  for (const [own, it] of [
    ['a', a],
    ['b', b],
  ] as const) {
    await it.mqtt.subscribeAsync(own, { qos: 1 });
    it.mqtt.on('message', () => it.mqtt.stream.destroy());
  }
  a.mqtt.stream.destroy();
  await Promise.all([closed(a.mqtt), closed(b.mqtt)]);
  const after = await enter();
  await after.mqtt.subscribeAsync('fence');
  await after.mqtt.publishAsync('fence', 'x');
  await after.until(1);
});
