/** The external mode, against Debian's mosquitto. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { createTestAuthority } from '#test/certificates.ts';
import { describeUnless } from '#test/describe-unless.ts';
import { MosquittoBroker, mosquittoMissing } from '#test/fixtures/mosquitto.ts';
import { freePort } from '#test/free-port.ts';
import { brokerAnswers } from './client.ts';
import { client, TestBus } from './test-bus.ts';

const probeMaxMs = 2_000;
const login = { username: 'edge', password: 's3cret' };

let clock: ManualClock;
let edge: TestBus;
let port: number;
let dir: string;
let broker: MosquittoBroker;

beforeEach(async () => {
  port = await freePort();
  dir = mkdtempSync(join(tmpdir(), 'hawser-mosquitto-'));
  broker = new MosquittoBroker(port, dir);
  clock = new ManualClock(Date.now());
  edge = new TestBus({ clock });
});
afterEach(async () => {
  await edge.end();
  await broker.stop();
  rmSync(dir, { recursive: true, force: true });
});

describeUnless(mosquittoMissing, 'with mosquitto', () => {
  test('hears and speaks through it, and does not hear what it says itself on device topics', async () => {
    await broker.start();
    await start();
    const other = await client(port);
    await other.mqtt.subscribeAsync('$hw/events/device/default/t/twin/update/+', { qos: 1 });
    await other.mqtt.publishAsync('$hw/events/device/default/t/twin/update', '{"a":1}', { qos: 1 });
    await other.mqtt.publishAsync('default/user/x', 'up', { qos: 1 });
    await edge.until(() => edge.got.twin.length === 1 && edge.got.edgehub.length === 1);
    for (let at = 0; at < 200; at += 1) {
      edge.say('twin', 'publish', '$hw/events/device/default/t/twin/update/result', `${at}`);
    }
    await other.until(200);
    expect(other.messages.map(({ payload }) => Number(payload))).toEqual(other.messages.map((_, at) => at));
    expect(edge.got.twin.map(({ content }) => content)).toEqual(['{"a":1}']);
    other.mqtt.end(true);
  });

  test('comes back with all its subscriptions when the broker was killed and started again', async () => {
    await broker.start();
    await start();
    edge.say('router_eventbus', 'subscribe', 'shop/orders');
    await edge.idle();
    await broker.stop();
    for (let at = 0; at < 3_000; at += 1) {
      edge.say('twin', 'publish', '$hw/events/device/default/t/twin/update/delta', `${at}`);
      if (at % 500 === 0) await edge.idle();
    }
    await edge.idle();
    expect(await edge.count('direction="out",outcome="dropped"')).toBeGreaterThan(2_000);
    await broker.start();
    const other = await client(port);
    await settled(async () => {
      await other.mqtt.publishAsync('shop/orders', 'again', { qos: 1 });
      await other.mqtt.publishAsync('$hw/events/device/default/t/twin/get', '{}', { qos: 1 });
      return edge.got.twin.length > 0 && edge.got.edgehub.length > 0;
    });
    other.mqtt.end(true);
  });

  test('in mode both, what the edge says reaches the clients of both brokers', async () => {
    await broker.start();
    const inner = await freePort();
    await edge.start({
      mqttMode: 1,
      mqttServerExternal: `tcp://127.0.0.1:${port}`,
      mqttServerInternal: `tcp://127.0.0.1:${inner}`,
    });
    const [outside, inside] = await Promise.all([client(port), client(inner)]);
    await Promise.all([outside.mqtt.subscribeAsync('out/#'), inside.mqtt.subscribeAsync('out/#')]);
    await settled(async () => {
      edge.say('router_eventbus', 'publish', 'out/x', 'both');
      return outside.messages.length > 0 && inside.messages.length > 0;
    });
    outside.mqtt.end(true);
    inside.mqtt.end(true);
  });

  test('over TLS with certificates of both, and with a name and password', async () => {
    const authority = await createTestAuthority();
    const [own, theirs] = [await authority.issue('CN=broker'), await authority.issue('CN=edge')];
    const file = (name: string, text: string) => {
      writeFileSync(join(dir, name), text);
      return join(dir, name);
    };
    const passwords = file('passwords', 'edge:s3cret\n');
    spawnSync('mosquitto_passwd', ['-U', passwords]);
    await broker.start([
      `cafile ${file('ca.pem', authority.ca)}`,
      `certfile ${file('own.pem', own.cert)}`,
      `keyfile ${file('own.key', own.key)}`,
      'require_certificate true',
      'allow_anonymous false',
      `password_file ${passwords}`,
      'user root',
    ]);
    const config = {
      mqttMode: 2,
      mqttServerExternal: `ssl://127.0.0.1:${port}`,
      mqttUsername: 'edge',
      mqttPassword: 's3cret',
      eventBusTLS: {
        enable: true,
        tlsMqttCAFile: join(dir, 'ca.pem'),
        tlsMqttCertFile: file('theirs.pem', theirs.cert),
        tlsMqttPrivateKeyFile: file('theirs.key', theirs.key),
      },
    } as const;
    await edge.start(config);
    const options = { protocol: 'mqtts', ca: authority.ca, cert: theirs.cert, key: theirs.key, ...login };
    const other = await client(port, options);
    await settled(async () => {
      await other.mqtt.publishAsync('default/user/x', 'up', { qos: 1 });
      return edge.got.edgehub.length > 0;
    });
    other.mqtt.end(true);
    await edge.stop();
    edge.got.edgehub.length = 0;
    const wrong = {
      listenerId: 'l',
      publisherId: 'p',
      username: 'edge',
      password: 'wrong',
      url: config.mqttServerExternal,
    };
    const { tlsMqttCAFile: ca, tlsMqttCertFile: cert, tlsMqttPrivateKeyFile: key } = config.eventBusTLS;
    expect(await brokerAnswers({ ...wrong, tls: { ca, cert, key } }, clock)).toBe(false);
    expect(await brokerAnswers({ ...wrong, password: 's3cret', tls: { ca, cert, key } }, clock)).toBe(true);
    const another = file('another-ca.pem', (await createTestAuthority()).ca);
    const trusting = { ...wrong, password: 's3cret', tls: { ca: another, cert, key } };
    expect(await brokerAnswers(trusting, clock)).toBe(false);
  });

  test('is taken when no mode is set and it answers; else the embedded broker starts', async () => {
    const inner = await freePort();
    const config = {
      mqttServerExternal: `tcp://127.0.0.1:${port}`,
      mqttServerInternal: `tcp://127.0.0.1:${inner}`,
    };
    await edge.start(config);
    const inside = await client(inner);
    inside.mqtt.end(true);
    await edge.stop();
    await broker.start();
    await edge.start(config);
    await expect(client(inner)).rejects.toThrow();
    const outside = await client(port);
    await settled(async () => {
      await outside.mqtt.publishAsync('default/user/x', 'up', { qos: 1 });
      return edge.got.edgehub.length > 0;
    });
    outside.mqtt.end(true);
  });
});

describe('an external broker that is away or dumb', () => {
  test('holds nothing up: the module is ready and what it is told is dropped and counted', async () => {
    await edge.start({ mqttMode: 2, mqttServerExternal: `tcp://127.0.0.1:${port}` });
    for (let at = 0; at < 1_000; at += 1) edge.say('twin', 'publish', 'a/b', `${at}`);
    await edge.idle();
    expect(await edge.count('direction="out",outcome="dropped"')).toBe(1_000);
  });

  test('accepts a connection and never answers: no broker, and nothing waits for it', async () => {
    const sockets: Socket[] = [];
    const dumb: Server = createServer((socket) => sockets.push(socket));
    await new Promise<void>((resolve) => dumb.listen(port, '127.0.0.1', () => resolve()));
    const started = edge.start({
      mqttServerExternal: `tcp://127.0.0.1:${port}`,
      mqttServerInternal: `tcp://127.0.0.1:${await freePort()}`,
    });
    await settled(async () => sockets.length === 1);
    await clock.advance(probeMaxMs);
    await started;
    const options = { listenerId: 'l', publisherId: 'p', username: '', password: '', tls: undefined };
    const answers = brokerAnswers({ ...options, url: `tcp://127.0.0.1:${port}` }, clock);
    await settled(async () => sockets.length === 2);
    await clock.advance(probeMaxMs);
    expect(await answers).toBe(false);
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => dumb.close(resolve));
  });
});

async function start(): Promise<void> {
  await edge.start({ mqttMode: 2, mqttServerExternal: `tcp://127.0.0.1:${port}` });
  // Its clients connect in the background: heard once, it is there.
  const probe = await client(port);
  await settled(async () => {
    await probe.mqtt.publishAsync('default/user/probe', 'x', { qos: 1 });
    return edge.got.edgehub.length > 0;
  });
  await probe.mqtt.publishAsync('default/user/probe', 'last', { qos: 1 });
  await edge.until(() => edge.got.edgehub.at(-1)?.content === 'last');
  edge.got.edgehub.length = 0;
  await probe.mqtt.subscribeAsync('probe');
  await settled(async () => {
    edge.say('twin', 'publish', 'probe', 'x');
    return probe.messages.length > 0;
  });
  probe.mqtt.end(true);
}

/** What another process does cannot be awaited, only asked for again and again. */
async function settled(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await delay(20);
}
