import { connect as connectSocket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { brokerLimits } from '#protocol/limits.ts';
import { freePort } from '#test/free-port.ts';
import { client, closed, TestBus } from './test-bus.ts';

let edge: TestBus;
let port: number;

beforeEach(async () => {
  port = await freePort();
  edge = new TestBus();
  await edge.start({ mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${port}` });
});
afterEach(() => edge.end());

describe('the embedded broker', () => {
  test('hands device and node topics to DeviceTwin, others up, and the rest to nobody', async () => {
    const { mqtt } = await client(port);
    const sent: [string, string][] = [
      ['$hw/events/device/default/t/twin/update', '{"event_id":"1"}'],
      ['$hw/events/device/default/t/twin/cloud_updated', '{}'],
      ['$hw/events/device/default/t/state/update', 'ünïcode'],
      ['$hw/events/node/other/membership/get', '{}'],
      ['$hw/events/device/default/t/twin/update/result', 'not a request'],
      ['sensors/1', 'only between clients'],
      ['SYS/dis/upload_records', '{"a":1}'],
      ['$hw/events/upload/x/y', '{"b":2}'],
      ['default/user/x', 'hello'],
    ];
    for (const [topic, payload] of sent) await mqtt.publishAsync(topic, payload, { qos: 1 });
    await edge.until(() => edge.got.twin.length === 4 && edge.got.edgehub.length === 3);
    const seen = (name: 'twin' | 'edgehub') =>
      edge.got[name].map(({ route, content }) => [
        route.source,
        route.group,
        route.operation,
        route.resource,
        content,
      ]);
    expect(seen('twin')).toEqual([
      ['bus', 'twin', 'publish', ...(sent[0] ?? [])],
      ['bus', 'twin', 'publish', ...(sent[1] ?? [])],
      ['bus', 'twin', 'publish', ...(sent[2] ?? [])],
      ['bus', 'twin', 'publish', ...(sent[3] ?? [])],
    ]);
    expect(seen('edgehub')).toEqual([
      ['bus', 'user', 'upload', ...(sent[6] ?? [])],
      ['bus', 'user', 'upload', ...(sent[7] ?? [])],
      ['bus', 'user', 'upload', ...(sent[8] ?? [])],
    ]);
    mqtt.end(true);
  });

  test('publishes what the edge says, in order, and does not hear itself', async () => {
    const listener = await client(port);
    await listener.mqtt.subscribeAsync(['$hw/events/device/#', 'default/#']);
    for (let at = 0; at < 300; at += 1) {
      edge.say('twin', 'publish', '$hw/events/device/default/t/twin/update/result', `${at}`);
    }
    edge.say('router_eventbus', 'publish', 'default/user/x', { an: 'object' });
    await listener.until(301);
    expect(listener.messages.slice(0, 300).map(({ payload }) => payload)).toEqual(
      Array.from({ length: 300 }, (_, at) => `${at}`),
    );
    expect(listener.messages[300]).toEqual({ topic: 'default/user/x', payload: '{"an":"object"}' });
    expect([...edge.got.twin, ...edge.got.edgehub]).toEqual([]);
    listener.mqtt.end(true);
  });

  test('listens to the topics of rules, also after a restart, until it is told otherwise', async () => {
    const rounds = async (text: string) => {
      const { mqtt } = await client(port);
      await mqtt.publishAsync('shop/orders/1', text, { qos: 1 });
      await mqtt.publishAsync('default/user/mark', text, { qos: 1 });
      await edge.until(() =>
        edge.got.edgehub.some(({ route, content }) => route.resource.endsWith('mark') && content === text),
      );
      mqtt.end(true);
    };
    edge.say('router_eventbus', 'subscribe', 'shop/orders/+');
    edge.say('router_eventbus', 'subscribe', 'no/#/filter');
    await edge.idle();
    await rounds('first');
    await edge.stop();
    await edge.start({ mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${port}` });
    await rounds('second');
    edge.say('router_eventbus', 'unsubscribe', 'shop/orders/+');
    await edge.idle();
    await rounds('third');
    const orders = edge.got.edgehub.filter(({ route }) => route.resource === 'shop/orders/1');
    expect(orders.map(({ content }) => content)).toEqual(['first', 'second']);
  });

  test.each([
    ['at once', false],
    ['when they are let in', true],
  ])('hears clients that say all they have to say %s and leave', async (_, waits) => {
    const good = await client(port);
    await good.mqtt.subscribeAsync('#');
    const brief = async (at: number) => {
      const socket = connectSocket(port, '127.0.0.1');
      const connect = connectPacket(`brief-${at}`);
      // PUBLISH, QoS 0, topic `a`, payload `x`; DISCONNECT
      const rest = Buffer.from([0x30, 4, 0, 1, 0x61, 0x78, 0xe0, 0]);
      if (waits) {
        socket.write(connect);
        await new Promise((resolve) => socket.once('data', resolve));
        socket.end(rest);
      } else socket.resume().end(Buffer.concat([connect, rest]));
      await new Promise((resolve) => socket.once('close', resolve));
    };
    const clients = Array.from({ length: 100 }, (_it, at) => brief(at));
    await Promise.all(clients);
    await good.mqtt.publishAsync('fence', 'x', { qos: 1 });
    await good.until(101);
    good.mqtt.end(true);
  });

  test('drops a payload that is not text', async () => {
    const { mqtt } = await client(port);
    await mqtt.publishAsync('default/user/x', Buffer.from([0xff, 0xfe]), { qos: 1 });
    await mqtt.publishAsync('default/user/x', 'text', { qos: 1 });
    await edge.until(() => edge.got.edgehub.length === 1);
    expect(edge.got.edgehub[0]?.content).toBe('text');
    mqtt.end(true);
  });

  test('says which port is taken', async () => {
    const second = new TestBus();
    const failure = second.start({ mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${port}` });
    await expect(failure).rejects.toMatchObject({ code: 'port-taken', detail: { host: '127.0.0.1', port } });
    await second.end();
  });
});

describe('a client that asks too much', () => {
  const floods: [string, string, string | Buffer][] = [
    ['$SYS', '$SYS/broker', 'x'],
    ['a long topic', 'x'.repeat(brokerLimits.topicBytesMax + 1), 'x'],
    ['a topic of 65,535 bytes', 'x'.repeat(65_535), 'x'],
    ['many levels', 'a/'.repeat(brokerLimits.topicLevelsMax), 'x'],
    ['a large packet', 'a', Buffer.alloc(brokerLimits.packetBytesMax)],
  ];
  test.each(floods)('is disconnected for %s, and others are not', async (_, topic, payload) => {
    const good = await client(port);
    await good.mqtt.subscribeAsync('#');
    const bad = await client(port);
    bad.mqtt.publish(topic, payload);
    await closed(bad.mqtt);
    await good.mqtt.publishAsync('still/here', 'yes', { qos: 1 });
    await good.until(1);
    expect(good.messages).toEqual([{ topic: 'still/here', payload: 'yes' }]);
    good.mqtt.end(true);
    bad.mqtt.end(true);
  });

  test('opens too many connections: the next is refused, and one that closes makes room', async () => {
    const good = await client(port);
    const sockets = Array.from({ length: brokerLimits.clientsMax - 1 }, () =>
      connectSocket(port, '127.0.0.1'),
    );
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    await expect(client(port)).rejects.toThrow();
    const [first] = sockets;
    const left = new Promise((resolve) => first?.once('close', resolve));
    first?.resume().end(connectPacket('short').subarray(0, 3));
    await left;
    const next = await client(port);
    await next.mqtt.subscribeAsync('a');
    await good.mqtt.publishAsync('a', 'x', { qos: 1 });
    await next.until(1);
    for (const socket of sockets) socket.destroy();
    good.mqtt.end(true);
    next.mqtt.end(true);
  });

  test('is disconnected for a wildcard in a topic', async () => {
    const socket = connectSocket(port, '127.0.0.1');
    socket.write(connectPacket('raw'));
    // PUBLISH, QoS 0, topic `a/+`, payload `x`
    socket.write(Buffer.from([0x30, 6, 0, 3, 0x61, 0x2f, 0x2b, 0x78]));
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
  });

  test('is refused a filter that is too long or none, and keeps the others', async () => {
    const { mqtt } = await client(port);
    const long = 'y/'.repeat(brokerLimits.topicLevelsMax - 1);
    await expect(mqtt.subscribeAsync('z'.repeat(brokerLimits.topicBytesMax + 1))).rejects.toThrow();
    await expect(mqtt.subscribeAsync(long)).resolves.toBeDefined();
    mqtt.end(true);
  });

  test('and reads nothing is disconnected; one that reads gets everything', async () => {
    const reader = await client(port);
    await reader.mqtt.subscribeAsync('flood/#');
    const socket = connectSocket(port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(connectPacket('deaf'));
    // SUBSCRIBE, id 1, filter `flood/#`, QoS 0
    socket.write(Buffer.from([0x82, 12, 0, 1, 0, 7, ...Buffer.from('flood/#'), 0]));
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    const gone = new Promise((resolve) => {
      socket.once('close', resolve);
      socket.once('error', resolve);
    });
    const writer = await client(port);
    const body = 'z'.repeat(64 * 1024);
    const total = (2 * brokerLimits.unreadBytesMax + 8 * 1024 * 1024) / body.length;
    for (let at = 0; at < total; at += 1) await writer.mqtt.publishAsync('flood/x', body, { qos: 1 });
    await reader.until(total);
    expect(await edge.count('reason="does-not-read"')).toBe(1);
    socket.resume();
    await gone;
    reader.mqtt.end(true);
    writer.mqtt.end(true);
  });

  test('has its retained messages counted: beyond the limit they go out and are not kept', async () => {
    const { mqtt } = await client(port);
    for (let at = 0; at < brokerLimits.retainedMax + 5; at += 1)
      mqtt.publish(`r/${at}`, 'x', { retain: true });
    await mqtt.publishAsync('r/0', '', { retain: true, qos: 1 });
    await mqtt.publishAsync('r/again', 'x', { retain: true, qos: 1 });
    const late = await client(port);
    await late.mqtt.subscribeAsync('r/#');
    await late.until(brokerLimits.retainedMax);
    await mqtt.publishAsync('r/end', 'end', { qos: 1 });
    await late.until(brokerLimits.retainedMax + 1);
    expect(late.messages).toHaveLength(brokerLimits.retainedMax + 1);
    expect(late.messages.map(({ topic }) => topic)).toContain('r/again');
    expect(await edge.count('reason="retain"')).toBe(5);
    mqtt.end(true);
    late.mqtt.end(true);
  });

  test('and is away keeps at most its queue', async () => {
    const session = { clientId: 'comes-and-goes', clean: false };
    const first = await client(port, session);
    await first.mqtt.subscribeAsync('q/#', { qos: 1 });
    await first.mqtt.endAsync();
    const writer = await client(port);
    for (let at = 0; at < 150; at += 1) await writer.mqtt.publishAsync('q/x', `${at}`, { qos: 1 });
    const again = await client(port, session);
    await again.until(100);
    await writer.mqtt.publishAsync('q/x', 'live', { qos: 1 });
    await again.until(101);
    expect(again.messages.map(({ payload }) => payload)).toEqual([
      ...Array.from({ length: 100 }, (_, at) => `${at}`),
      'live',
    ]);
    again.mqtt.end(true);
    writer.mqtt.end(true);
  });

  test('floods DeviceTwin: it waits, and nothing is lost', async () => {
    const { mqtt } = await client(port);
    const sent = Array.from({ length: 2_000 }, (_, at) =>
      mqtt.publishAsync('$hw/events/device/default/t/twin/update', `${at}`, { qos: 1 }),
    );
    await Promise.all(sent);
    await edge.until(() => edge.got.twin.length === 2_000);
    expect(edge.got.twin.map(({ content }) => Number(content))).toEqual(sent.map((_, at) => at));
    mqtt.end(true);
  });
});

function connectPacket(id: string): Buffer {
  const body = [0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 60, 0, id.length, ...Buffer.from(id)];
  return Buffer.from([0x10, body.length, ...body]);
}
