import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestAuthority } from '#test/certificates.ts';
import { freePort } from '#test/free-port.ts';
import { covers } from './broker-access.ts';
import { client, closed, TestBus } from './test-bus.ts';

let edge: TestBus;
let port: number;
let dir: string;

beforeEach(async () => {
  port = await freePort();
  edge = new TestBus();
  dir = mkdtempSync(join(tmpdir(), 'hawser-access-'));
});
afterEach(async () => {
  await edge.end();
  rmSync(dir, { recursive: true, force: true });
});

const mine = '$hw/events/device/default/hall';
const users = [
  { name: 'hall', password: 's3cret', publish: [`${mine}/+/update`], subscribe: [`${mine}/#`] },
  { name: 'all', password: 'other' },
];

function start(internalBroker: object): Promise<TestBus> {
  const parsed = { users: [], ...internalBroker };
  return edge.start({ mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${port}`, internalBroker: parsed });
}

describe('with users', () => {
  test.each([
    ['nobody', {}],
    ['a user that is not', { username: 'x', password: 's3cret' }],
    ['a wrong password', { username: 'hall', password: 'other' }],
    ['no password', { username: 'hall' }],
  ])('refuses %s', async (_, credentials) => {
    await start({ users });
    await expect(client(port, credentials)).rejects.toThrow(/[Nn]ot authorized|Bad username/);
    expect(await edge.count('reason="user"')).toBe(1);
  });

  test('lets each publish and subscribe to its topics only', async () => {
    await start({ users });
    const all = await client(port, { username: 'all', password: 'other' });
    await all.mqtt.subscribeAsync(['$hw/#', '#']);
    const hall = await client(port, { username: 'hall', password: 's3cret' });
    await hall.mqtt.publishAsync(`${mine}/twin/update`, '{}', { qos: 1 });
    await all.until(1);
    for (const filter of ['#', '$hw/#', `${mine}x/#`, '$hw/events/device/+/+/twin/update/delta']) {
      await expect(hall.mqtt.subscribeAsync(filter)).rejects.toThrow();
    }
    await hall.mqtt.subscribeAsync(`${mine}/twin/+/delta`);
    edge.say('twin', 'publish', `${mine}/twin/update/delta`, 'wish');
    await hall.until(1);
    hall.mqtt.publish('$hw/events/device/default/other/twin/update', '{}');
    await closed(hall.mqtt);
    await all.mqtt.publishAsync('end', 'end', { qos: 1 });
    await all.until(3);
    expect(all.messages.map(({ topic }) => topic)).toEqual([
      `${mine}/twin/update`,
      `${mine}/twin/update/delta`,
      'end',
    ]);
    expect(edge.got.twin).toHaveLength(1);
    all.mqtt.end(true);
    hall.mqtt.end(true);
  });

  test('lets clients without a name do what is said for them', async () => {
    await start({ users, anonymous: { publish: ['open/#'], subscribe: [] } });
    const other = await client(port);
    await other.mqtt.publishAsync('open/x', 'x', { qos: 1 });
    await expect(other.mqtt.subscribeAsync('open/x')).rejects.toThrow();
    other.mqtt.publish('closed/x', 'x');
    await closed(other.mqtt);
    other.mqtt.end(true);
  });

  test('keeps a client’s id, and its session, from other users; the same user may come again', async () => {
    await start({ users });
    const options = { clientId: 'hall-1', clean: false, username: 'hall', password: 's3cret' };
    const first = await client(port, options);
    await first.mqtt.subscribeAsync(`${mine}/#`, { qos: 1 });
    const thief = { clientId: 'hall-1', username: 'all', password: 'other' };
    await expect(client(port, thief)).rejects.toThrow();
    expect(first.mqtt.connected).toBe(true);
    const second = await client(port, options);
    await closed(first.mqtt);
    await second.mqtt.endAsync();
    await expect(client(port, { ...thief, clean: false })).rejects.toThrow();
    edge.say('twin', 'publish', `${mine}/twin/update/delta`, 'kept');
    const third = await client(port, options);
    edge.say('twin', 'publish', `${mine}/twin/update/delta`, 'live');
    await third.until(1);
    third.mqtt.end(true);
    first.mqtt.end(true);
  });

  test('hears what a dead client left to be said only if that client might have said it', async () => {
    await start({ users });
    const all = await client(port, { username: 'all', password: 'other' });
    await all.mqtt.subscribeAsync('#');
    const will = { topic: 'forbidden', payload: Buffer.from('x'), qos: 0 as const, retain: false };
    const hall = await client(port, { username: 'hall', password: 's3cret', will });
    hall.mqtt.stream.destroy();
    await closed(hall.mqtt);
    await all.mqtt.publishAsync('end', 'end', { qos: 1 });
    await all.until(1);
    expect(all.messages.map(({ topic }) => topic)).toEqual(['end']);
    all.mqtt.end(true);
  });
});

describe('with TLS', () => {
  const pem = async (subject: string, name: string) => {
    const authority = await createTestAuthority();
    const files = { certFile: join(dir, 'c'), privateKeyFile: join(dir, 'k'), clientCAFile: join(dir, 'ca') };
    const own = await authority.issue(subject);
    const theirs = await authority.issue(`CN=${name}`);
    writeFileSync(files.certFile, own.cert);
    writeFileSync(files.privateKeyFile, own.key);
    writeFileSync(files.clientCAFile, authority.ca);
    return { authority, files, theirs };
  };
  const tlsClient = (options: object) => client(port, { protocol: 'mqtts', ...options });

  test('speaks to who trusts it, and to nobody without TLS', async () => {
    const { authority, files } = await pem('CN=broker', 'x');
    await start({ tls: { ...files, clientCAFile: undefined } });
    const good = await tlsClient({ ca: authority.ca });
    await good.mqtt.publishAsync('default/user/x', 'up', { qos: 1 });
    await edge.until(() => edge.got.edgehub.length === 1);
    await expect(tlsClient({ ca: (await createTestAuthority()).ca })).rejects.toThrow();
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    await expect(tlsClient({ ca: authority.ca, ...old })).rejects.toThrow(
      /protocol|version|alert|ECONNRESET/i,
    );
    const plain = connectSocket(port, '127.0.0.1');
    plain.write('no TLS at all');
    plain.resume();
    await new Promise((resolve) => plain.once('close', resolve));
    good.mqtt.end(true);
  });

  test('knows users by their certificates', async () => {
    const { authority, files, theirs } = await pem('CN=broker', 'hall');
    await start({ tls: files, users: [{ name: 'hall', publish: ['a'] }] });
    await expect(tlsClient({ ca: authority.ca })).rejects.toThrow();
    const stranger = await authority.issue('CN=stranger');
    const keys = (of: { cert: string; key: string }) => ({ ca: authority.ca, cert: of.cert, key: of.key });
    await expect(tlsClient(keys(stranger))).rejects.toThrow(/[Nn]ot authorized|Bad username/);
    const hall = await tlsClient(keys(theirs));
    await hall.mqtt.publishAsync('a', 'x', { qos: 1 });
    hall.mqtt.publish('b', 'x');
    await closed(hall.mqtt);
    hall.mqtt.end(true);
  });
});

test.each([
  ['#', 'a/b', true],
  ['#', '$hw/a', false],
  ['+/a', '$hw/a', false],
  ['$hw/#', '$hw/+/x', true],
  ['a/#', 'a', true],
  ['a/+', 'a/b', true],
  ['a/+', 'a/+', true],
  ['a/+', 'a/#', false],
  ['a/b', 'a/+', false],
  ['a/b', 'a/b/c', false],
  ['a/b/c', 'a/b', false],
  ['a/+/c', 'a/+/+', false],
])('%s covers %s: %s', (filter, wanted, yes) => {
  expect(covers(filter, wanted)).toBe(yes);
});
