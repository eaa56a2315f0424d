/** Attacks on what is served: tokens, patches, names, patterns, MQTT clients, descriptors. docs/threats.md has the list. */

import { createHmac, createPublicKey, createSign, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RunningServer } from '#apiserver/testing/running-server.ts';
import { client, closed, TestBus } from '#edgecore/eventbus/test-bus.ts';
import { brokerLimits } from '#protocol/limits.ts';
import { beatsOf } from '#test/beats.ts';
import { freePort } from '#test/free-port.ts';
import { readSources } from '#test/tidy/sources.ts';
import { enter, openDoors, patientMs, rest } from './doors.ts';

describe('the embedded API', () => {
  let server: RunningServer;
  let good: string;
  beforeAll(async () => {
    server = await RunningServer.start();
    const { body } = await server.post('/api/v1/namespaces/default/serviceaccounts/default/token', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 3_600 },
    });
    const status = body.status;
    good = typeof status === 'object' && status !== null && 'token' in status ? String(status.token) : '';
  });
  afterAll(() => server.close());

  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = () => good.split('.')[1] ?? '';
  /** The public key, as an attacker knows it, taken for a secret. */
  const confused = () => {
    const pem = createPublicKey(readFileSync(join(server.dataDir, 'pki', 'sa.key'), 'utf8'))
      .export({ type: 'spki', format: 'pem' })
      .toString();
    const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${claims()}`;
    return `${signed}.${createHmac('sha256', pem).update(signed).digest('base64url')}`;
  };
  const stranger = () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const signed = `${encode({ alg: 'RS256' })}.${claims()}`;
    return `${signed}.${createSign('sha256').update(signed).sign(privateKey, 'base64url')}`;
  };
  const forgeries: [string, () => string][] = [
    ['no algorithm', () => `${encode({ alg: 'none' })}.${claims()}.`],
    ['no algorithm, with a signature', () => `${encode({ alg: 'none' })}.${claims()}.${good.split('.')[2]}`],
    ['another key', stranger],
    ['its public key for a secret', confused],
    ['other claims', () => good.replace(claims(), encode({ sub: 'system:admin', exp: 4e9 }))],
    ['a million dots', () => '.'.repeat(1_000_000)],
    ['three parts of nothing', () => '..'],
  ];

  test.each(forgeries)('takes no token with %s', async (_, forge) => {
    const before = process.cpuUsage();
    const review = await server.post('/apis/authentication.k8s.io/v1/tokenreviews', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token: forge() },
    });
    expect(review.body.status).not.toMatchObject({ authenticated: true });
    expect(processorMsSince(before)).toBeLessThan(1_000);
    const text = forge();
    if (text.length > 10_000) return;
    const headers = { authorization: `Bearer ${text}` };
    expect((await server.get('/api/v1/namespaces', { as: 'nobody', headers })).status).toBe(401);
  });

  test('takes the token that those were made of (or they show nothing)', async () => {
    const headers = { authorization: `Bearer ${good}` };
    expect((await server.get('/api/v1/namespaces', { as: 'nobody', headers })).status).toBe(403);
  });

  test('writes to no prototype, whatever a patch is called', async () => {
    const map = '/api/v1/namespaces/default/configmaps';
    await server.post(map, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'p' }, data: {} });
    for (const type of ['merge', 'strategic', 'apply'] as const) {
      for (const path of ['__proto__', 'constructor']) {
        const inner = `{"${path}":{"polluted":"yes","prototype":{"polluted":"yes"}}}`;
        const whole = `{"apiVersion":"v1","kind":"ConfigMap",${inner.slice(1)}`;
        for (const body of [
          whole,
          whole.replace(inner.slice(1), `"metadata":${inner}}`),
          whole.replace(inner.slice(1), `"data":${inner}}`),
        ]) {
          const { status } = await server.patch(`${map}/p?fieldManager=f`, type, body);
          expect(status).toBeLessThan(500);
        }
      }
    }
    for (const path of [
      '/__proto__/polluted',
      '/constructor/prototype/polluted',
      '/metadata/__proto__/polluted',
    ]) {
      const { status } = await server.patch(`${map}/p`, 'json', [{ op: 'add', path, value: 'yes' }]);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    }
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
    expect((await server.get(`${map}/p`)).body.data).toEqual({});
  });

  test('tells versions apart that are one number to JavaScript', async () => {
    const map = '/api/v1/namespaces/default/configmaps';
    const { body } = await server.post(map, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'v' } });
    for (const resourceVersion of ['9007199254740993', '9007199254740992', '99999999999999999999']) {
      const metadata = { name: 'v', resourceVersion };
      const answer = await server.put(`${map}/v`, { ...body, metadata });
      expect(answer.status).toBe(409);
    }
  });

  test('has no object called by a path or a pattern', async () => {
    for (const name of ['a/b', '+', '#', '..', '%2e%2e', 'a\0b', 'x'.repeat(300)]) {
      const device = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } };
      const { status } = await server.post('/api/v1/namespaces/default/configmaps', device);
      expect(status, name).toBe(422);
    }
  });

  test('is not slowed down by a path of many slashes', async () => {
    const before = process.cpuUsage();
    await server.get(`/${'/'.repeat(60_000)}x`, { as: 'nobody' });
    expect(processorMsSince(before)).toBeLessThan(1_000);
  });
});

describe('every pattern of ours', () => {
  const patterns = readSources()
    .filter(({ isTest, path }) => !isTest && !path.startsWith('build/'))
    .flatMap(({ path, code }) =>
      code.flatMap((line, at) => literalsIn(line).map((text) => ({ text, at: `${path}:${at + 1}` }))),
    );

  test('is found', () => {
    expect(patterns.length).toBeGreaterThan(60);
  });

  /** What the pattern sees was bounded before, or is not from outside. */
  const bounded: Readonly<Record<string, string>> = {
    'cloudcore/cloudhub/pki.ts': 'a node name of at most 253 characters',
    'apiserver/strategies/metadata.ts': 'names and labels of at most 253 characters',
    'apiserver/kubectl/openapi-v3.ts': 'kinds and groups of definitions',
    'edgecore/edged/container/container-config.ts': 'a host name of at most 63 characters',
    'edgecore/edged/duration.ts': 'a text that the pattern before it took whole',
    'edgecore/edged/images/pull-secrets.ts': 'keys of a pull secret, which its own cloud sends',
    'keadm/preflight/': 'what tools of this machine print',
  };
  const boundedChars = 1_000;

  test('is done with 100,000 characters within 50 ms', () => {
    const slow: string[] = [];
    for (const { text, at } of patterns) {
      const isBounded = Object.keys(bounded).some((path) => at.startsWith(path));
      const length = isBounded ? boundedChars : 100_000;
      const [, source = '', flags = ''] = /^\/(.*)\/([a-z]*)$/s.exec(text) ?? [];
      const pattern = new RegExp(source, flags.replace('g', ''));
      // Step by step, so that one that goes wrong takes its time once, and not for ever.
      const found = [100, 1_000, 10_000, length].find(
        (step) => step <= length && isSlow(pattern, source, step),
      );
      if (found !== undefined) slow.push(`${at}: ${text} is slow with ${found} characters`);
    }
    expect(slow).toEqual([]);
  });
});

/** Literals that stand where a value may stand; a division does not. */
function literalsIn(line: string): string[] {
  const found = line.matchAll(
    /(?<=^|[=(,:!&|?[{;]\s*|return )\/(?![*/ ])((?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\[])+)\/[dgimsuvy]*/g,
  );
  return [...found].map(([text]) => text).filter(isPattern);
}

function isPattern(text: string): boolean {
  const [, source = '', flags = ''] = /^\/(.*)\/([a-z]*)$/s.exec(text) ?? [];
  try {
    return new RegExp(source, flags) !== undefined;
  } catch {
    return false;
  }
}

function isSlow(pattern: RegExp, source: string, length: number): boolean {
  return attacksOn(source, length).some((attack) => {
    const before = process.cpuUsage();
    pattern.exec(attack);
    if (processorMsSince(before) <= 50) return false;
    // Once more: memory that is freed meanwhile is not the pattern's fault.
    const again = process.cpuUsage();
    pattern.exec(attack);
    return processorMsSince(again) > 50;
  });
}

/** Of this process alone: what else the machine does is no matter. */
function processorMsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

/** Long runs of what the pattern's own parts may match, each followed by what it may not. */
function attacksOn(source: string, length: number): string[] {
  const units = [
    'a',
    '0',
    '-',
    '.',
    '/',
    ' ',
    '\t',
    ':',
    '=',
    '\\',
    '$(',
    '(',
    '"',
    'a.',
    'a-',
    '0.',
    'a,',
    'a/',
    '0h',
    'A',
    '\n',
    '{',
    '[',
    '%',
    '+',
  ];
  const literal = /^\^?((?:[A-Za-z0-9/._-]|\\[./$-])+)/.exec(source)?.[1]?.replaceAll('\\', '') ?? '';
  return units.flatMap((unit) => {
    const run = unit.repeat(Math.ceil(length / unit.length)).slice(0, length);
    return [run, `${run}!`, `${literal}${run}`, `${literal}${run}\u0000`];
  });
}

describe('the MQTT broker', () => {
  let edge: TestBus;
  let port: number;
  beforeAll(async () => {
    port = await freePort();
    edge = new TestBus();
    await edge.start({ mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${port}` });
  });
  afterAll(() => edge.end());

  async function isAlive(): Promise<void> {
    const { mqtt } = await client(port);
    const before = edge.got.edgehub.length;
    await mqtt.publishAsync('default/user/alive', 'yes', { qos: 1 });
    await edge.until(() => edge.got.edgehub.length > before);
    mqtt.end(true);
  }

  test.each([
    ['a topic of 65,535 bytes', 't'.repeat(65_535)],
    ['a topic of the broker’s own', '$SYS/broker/load'],
    ['a topic of a thousand levels', 'a/'.repeat(1_000)],
  ])('is not published to at %s', async (_, topic) => {
    const listener = await client(port);
    await listener.mqtt.subscribeAsync('#');
    const { mqtt } = await client(port);
    mqtt.publish(topic, 'x', { qos: 0 });
    await closed(mqtt);
    await isAlive();
    expect(listener.messages.filter((message) => message.topic === topic)).toEqual([]);
    listener.mqtt.end(true);
  });

  test('gives a client’s name to who comes last, and lives through a hundred who fight for it', async () => {
    const clients = [];
    for (let at = 0; at < 100; at += 1) clients.push(await client(port, { clientId: 'contested' }));
    const last = clients.pop() ?? expect.fail();
    await Promise.all(clients.map(({ mqtt }) => closed(mqtt)));
    expect(last.mqtt.connected).toBe(true);
    last.mqtt.end(true);
    await isAlive();
  });

  test('lives through wills that set off wills', async () => {
    const mourners = [];
    for (let at = 0; at < 20; at += 1) {
      const will = {
        topic: `will/${(at + 1) % 20}`,
        payload: Buffer.from('x'),
        qos: 0 as const,
        retain: false,
      };
      const mourner = await client(port, { clientId: `mourner-${at}`, will });
      await mourner.mqtt.subscribeAsync(`will/${at}`);
      mourner.mqtt.on('message', () => mourner.mqtt.stream.destroy());
      mourners.push(mourner);
    }
    mourners[0]?.mqtt.stream.destroy();
    await Promise.all(mourners.map(({ mqtt }) => closed(mqtt)));
    await isAlive();
  });

  test('ends who connects and does not say who it is', async () => {
    const silent = connectSocket({ host: '127.0.0.1', port });
    silent.on('error', () => {});
    await once(silent, 'connect');
    expect(await beatsOf(once(silent, 'close'))).toBeLessThan(brokerLimits.connectTimeoutMs + 3_000);
  });

  test('lives through bytes that are no MQTT', async () => {
    for (const bytes of [
      [0xff, 0xff, 0xff, 0xff, 0xff],
      [0x10, 0x00],
      [0x30, 0x05, 0xff, 0xff, 1, 2, 3],
      [0x00],
      [0x10, 0xff, 0xff, 0xff, 0x7f],
    ]) {
      const socket = connectSocket({ host: '127.0.0.1', port });
      socket.on('error', () => {});
      await once(socket, 'connect');
      socket.end(Buffer.from(bytes));
      await once(socket, 'close');
    }
    await isAlive();
  });
});

test('no port keeps a descriptor of a peer that left rudely', async () => {
  const doors = await openDoors(patientMs);
  const rude = async (open: () => Promise<Socket>, say: string) => {
    const socket = await open();
    socket.write(say);
    socket.destroy();
  };
  const all = async (times: number) => {
    for (const door of doors) {
      for (let at = 0; at < times; at += 1) {
        const plain = connectSocket({ host: '127.0.0.1', port: door.port });
        plain.on('error', () => {});
        await once(plain, 'connect');
        plain.write(at % 2 === 0 ? '\u0016\u0003\u0001' : 'GET / HTTP/1.1\r\n');
        plain.destroy();
        await rude(() => enter(door), door.request.slice(0, at % 3 === 0 ? -4 : undefined));
      }
      const socket = await enter(door);
      socket.write(door.request);
      await rest(socket);
    }
  };
  await all(2);
  await delay(200);
  const before = descriptors();
  await all(30);
  await expect.poll(descriptors).toBeLessThanOrEqual(before);
  for (const door of doors) await door.close();
});

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
