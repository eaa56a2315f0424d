/** What rules of the cloud ask of EventBus, at both brokers: topics to listen to, and messages to publish. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newEnvelope } from '#protocol/message.ts';
import { describeUnless } from '#test/describe-unless.ts';
import { MosquittoBroker, mosquittoMissing } from '#test/fixtures/mosquitto.ts';
import { freePort } from '#test/free-port.ts';
import { client, TestBus } from './test-bus.ts';

let edge: TestBus;
let port: number;
let dir: string;

beforeEach(async () => {
  port = await freePort();
  edge = new TestBus();
  dir = mkdtempSync(join(tmpdir(), 'hawser-rule-topics-'));
});
afterEach(async () => {
  await edge.end();
  rmSync(dir, { recursive: true, force: true });
});

/** With the header by which a cloud of ours asks to be told. */
function publish(topic: string, text: string): string {
  const route = { source: 'router_eventbus', group: 'user', operation: 'publish', resource: topic };
  const envelope = newEnvelope(route, text);
  envelope.header.hawserAck = true;
  edge.bus.send('eventbus', envelope);
  return envelope.header.msg_id;
}

const answerTo = async (id: string) => {
  const find = () => edge.got.edgehub.find(({ header }) => header.parent_msg_id === id);
  await edge.until(() => find() !== undefined);
  return find()?.route.operation;
};

async function overlapping(): Promise<void> {
  // One is within what every edge listens to; two overlap; the last covers one of them.
  for (const topic of ['default/user/own', 'default/a/+', 'default/a/b', 'default/#'])
    edge.say('router_eventbus', 'subscribe', topic);
  await edge.idle();
  const other = await client(port);
  const heard = () => edge.got.edgehub.map(({ route, content }) => `${route.resource} ${String(content)}`);
  // The broker knows of the last subscription once this comes.
  while (!heard().some((text) => text.startsWith('default/known')))
    await other.mqtt.publishAsync('default/known', '0', { qos: 1 });
  for (const topic of ['default/user/own', 'default/a/b', 'default/c'])
    await other.mqtt.publishAsync(topic, '1', { qos: 1 });
  await other.mqtt.publishAsync('default/end', '1', { qos: 1 });
  await edge.until(() => heard().includes('default/end 1'));
  expect(heard().filter((text) => text.endsWith(' 1'))).toEqual([
    'default/user/own 1',
    'default/a/b 1',
    'default/c 1',
    'default/end 1',
  ]);
  // Without the wide one the narrow ones count again.
  edge.say('router_eventbus', 'unsubscribe', 'default/#');
  await edge.idle();
  edge.got.edgehub.length = 0;
  while (!heard().some((text) => text.startsWith('default/a/b')))
    await other.mqtt.publishAsync('default/a/b', '2', { qos: 1 });
  await other.mqtt.endAsync(true);
}

describe('with the embedded broker', () => {
  beforeEach(() => edge.start({ mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${port}` }));

  test('a message that several topics take goes up once', overlapping);

  test('the cloud is told what became of what it publishes', async () => {
    const other = await client(port);
    await other.mqtt.subscribeAsync('commands');
    expect(await answerTo(publish('commands', 'on'))).toBe('response');
    await other.until(1);
    for (const topic of ['a/+', '', '$SYS/x']) expect(await answerTo(publish(topic, 'on'))).toBe('error');
    await other.mqtt.endAsync(true);
  });
});

describeUnless(mosquittoMissing, 'with mosquitto', () => {
  let broker: MosquittoBroker;
  beforeEach(async () => {
    broker = new MosquittoBroker(port, dir);
    await broker.start();
    await edge.start({ mqttMode: 2, mqttServerExternal: `tcp://127.0.0.1:${port}` });
  });
  afterEach(() => broker.stop());

  test('a message that several topics take goes up once', overlapping);

  test('a broker that is away is said', async () => {
    await expect.poll(async () => answerTo(publish('commands', 'on'))).toBe('response');
    await broker.stop();
    await expect.poll(async () => answerTo(publish('commands', 'on'))).toBe('error');
  });
});
