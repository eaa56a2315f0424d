/**
 * Rules between a whole cloudcore and a whole edge of ours, over a WebSocket with TLS that tests cut: the four ways, each
 * with what happens when something is away, refuses, or is too large.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { client, type TestClient } from '#edgecore/eventbus/test-bus.ts';
import { OutboxStore } from '#edgecore/store/outbox-store.ts';
import { loadTopics, loadUrls } from '#edgecore/store/topic-store.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { type Edge, givenCertificates, startEdge } from '#test/fixtures/edge.ts';
import { type Answer, type Asking, askHttp, HttpTarget } from '#test/fixtures/http-target.ts';
import { freePort } from '#test/free-port.ts';
import { TcpPath } from '#test/tcp-path.ts';

const node = 'edge-1';
const transport = createWebSocketTransport({ clock: systemClock });
const rulesApi = (plural: string) => ({ apiVersion: 'rules.kubeedge.io/v1', plural, namespace: 'default' });
const megabyte = 1024 * 1024;

let cloud: Cloud;
let edge: Edge;
let path: TcpPath;
let target: HttpTarget;
let mqttPort: number;
let clients: TestClient[];

async function start(dir?: string): Promise<Edge> {
  return await startEdge({
    nodeName: node,
    transport,
    server: `127.0.0.1:${await path.to(cloud.port)}`,
    certificates: givenCertificates(await cloud.identity(node)),
    mqtt: { mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${mqttPort}` },
    ...(dir === undefined ? {} : { dir }),
  });
}

beforeEach(async () => {
  mqttPort = await freePort();
  clients = [];
  path = new TcpPath();
  target = await new HttpTarget().listen();
  cloud = await startCloud({ transport });
  await cloud.addNode(node);
  edge = await start();
  await edge.connected();
});
afterEach(async () => {
  for (const { mqtt } of clients) await mqtt.endAsync(true);
  await path.close();
  await edge.close();
  await cloud.close();
  await target.close();
});

async function mqtt(): Promise<TestClient> {
  const made = await client(mqttPort);
  clients.push(made);
  return made;
}

async function addEndpoint(name: string, ruleEndpointType: string, properties: object = {}): Promise<void> {
  await cloud.api.create(rulesApi('ruleendpoints'), {
    metadata: { name },
    spec: { ruleEndpointType, properties },
  });
}

async function addRule(name: string, from: [string, object], to: [string, object]): Promise<void> {
  const spec = { source: from[0], sourceResource: from[1], target: to[0], targetResource: to[1] };
  await cloud.api.create(rulesApi('rules'), { metadata: { name }, spec });
}

async function statusOf(name: string): Promise<unknown> {
  return (await cloud.api.get({ ...rulesApi('rules'), name })).status;
}

/** At the router's port. */
function ask(method: string, url: string, asking: Asking = {}): Promise<Answer> {
  return askHttp(cloud.routerPort(), method, url, asking);
}

/** Asks until the rule is known. */
async function askKnown(method: string, url: string, options: Asking = {}): Promise<Answer> {
  let answer: Answer | undefined;
  await expect
    .poll(async () => {
      if (cloud.routerPort() === 0) return 404;
      answer = await ask(method, url, options);
      return answer.status === 404 && answer.body.includes('no rule') ? 404 : 0;
    })
    .toBe(0);
  return answer ?? expect.fail('no answer');
}

const toCloud = () => addEndpoint('cloud', 'rest');

describe('rest to servicebus', () => {
  beforeEach(async () => {
    await toCloud();
    await addEndpoint('app', 'servicebus', { service_port: String(target.port) });
    await addRule('call', ['cloud', { path: '/shop/{id}' }], ['app', { path: '/api' }]);
  });

  test('an app gets body, query and headers, and its answer is the answer', async () => {
    target.answer = () => ({
      status: 201,
      body: 'made',
      headers: { 'X-Own': 'yes', Connection: 'X-Own-Hop', 'X-Own-Hop': '1' },
    });
    const headers = { 'X-Mine': 'a', Connection: 'close, X-Hop', 'X-Hop': 'b', 'Content-Type': 'text/x' };
    const answer = await askKnown('POST', `/${node}/default/shop/7/items/a:b?x=1&y=2`, {
      body: 'two',
      headers,
    });
    expect(answer).toMatchObject({ status: 201, body: 'made', headers: { 'x-own': 'yes' } });
    expect(answer.headers['x-own-hop']).toBeUndefined();
    expect(target.heard).toMatchObject([
      {
        method: 'POST',
        url: '/api/items/a%3Ab?x=1&y=2',
        body: 'two',
        headers: { 'x-mine': 'a', 'content-type': 'text/x' },
      },
    ]);
    expect(target.heard[0]?.headers['x-hop']).toBeUndefined();
    await expect.poll(() => statusOf('call')).toEqual({ successMessages: 1, failMessages: 0, errors: [] });
  });

  test('statuses of the app pass, and what is no path of a rule does not reach it', async () => {
    target.answer = ({ url }) => ({ status: Number(url.split('/').at(-1)), body: 'said' });
    for (const status of [204, 302, 404, 409, 500, 503])
      expect((await askKnown('GET', `/${node}/default/shop/7/${status}`)).status).toBe(status);
    expect(target.heard).toHaveLength(6);
    for (const [url, status] of [
      [`/${node}/default/other`, 404],
      [`/${node}/elsewhere/shop/7`, 404],
      [`/${node}/default/x/shop/7`, 404],
      [`/${node}/default/shop/7/../../admin`, 400],
      [`/${node}/default/shop/7/%2e%2E/admin`, 400],
      [`/${node}/default/shop/7/a%2f..%2fb`, 400],
      ['/nowhere/default/shop/7', 404],
      [`/${node}`, 404],
    ] as const)
      expect([url, (await ask('GET', url)).status]).toEqual([url, status]);
    expect(target.heard).toHaveLength(6);
  });

  test('a megabyte passes, and one byte more is refused before the app hears of it (SC-61)', async () => {
    const full = await askKnown('POST', `/${node}/default/shop/7`, { body: 'x'.repeat(megabyte) });
    expect(full.status).toBe(200);
    expect(target.heard[0]?.body.length).toBe(megabyte);
    expect((await ask('POST', `/${node}/default/shop/7`, { body: 'x'.repeat(megabyte + 1) })).status).toBe(
      413,
    );
    expect(target.heard).toHaveLength(1);
  });

  test('an answer without end is cut, an app that is away is said, each as the edge’s fault', async () => {
    target.answer = () => ({ status: 200, body: 'x'.repeat(6 * megabyte) });
    const cut = await askKnown('GET', `/${node}/default/shop/7`);
    expect(cut).toMatchObject({ status: 502, headers: { server: 'hawser-edgecore' } });
    expect(cut.body).toContain('larger than');
    await addEndpoint('gone', 'servicebus', { service_port: String(await freePort()) });
    await addRule('dead', ['cloud', { path: '/dead' }], ['gone', { path: '/' }]);
    const dead = await askKnown('POST', `/${node}/default/dead`, { body: 'x' });
    expect(dead).toMatchObject({ status: 502 });
    expect(dead.body).toContain('cannot reach');
    await expect.poll(() => statusOf('dead')).toMatchObject({ successMessages: 0, failMessages: 1 });
  });

  test('a link that goes while the app works ends the call, and nothing is done twice', async () => {
    target.answer = () => 'never';
    const calling = askKnown('POST', `/${node}/default/shop/7`, { body: 'once' });
    await target.until(() => target.heard.length === 1);
    path.cut();
    const answer = await calling;
    expect(answer.status).toBe(502);
    expect(answer.body).toContain('may have acted');
    await edge.connected(2);
    target.answer = () => ({ status: 200, body: 'again' });
    await expect.poll(async () => (await ask('GET', `/${node}/default/shop/8`)).status).toBe(200);
    expect(target.heard.filter(({ body }) => body === 'once')).toHaveLength(1);
  });

  test('a node that is away is said at once', async () => {
    await askKnown('GET', `/${node}/default/shop/7`);
    const dir = await edge.stop();
    await expect.poll(async () => (await ask('GET', `/${node}/default/shop/7`)).status).toBe(503);
    const answer = await ask('POST', `/${node}/default/shop/7`, { body: 'x' });
    expect(answer.body).toContain('is not connected');
    edge = await start(dir);
    await expect.poll(async () => (await ask('GET', `/${node}/default/shop/7`)).status).toBe(200);
  });
});

describe('rest to eventbus', () => {
  beforeEach(async () => {
    await toCloud();
    await addEndpoint('mqtt', 'eventbus');
    await addRule('say', ['cloud', { path: '/cmd' }], ['mqtt', { topic: 'commands' }]);
  });

  test('is published at the edge, and only then said to be delivered', async () => {
    const hall = await mqtt();
    await hall.mqtt.subscribeAsync('commands/#');
    const answer = await askKnown('POST', `/${node}/default/cmd`, { body: 'hello edge' });
    expect(answer).toMatchObject({ status: 200, body: 'message delivered' });
    await ask('POST', `/${node}/default/cmd/hall/lamp`, { body: 'on' });
    await hall.until(2);
    expect(hall.messages).toEqual([
      { topic: 'commands', payload: 'hello edge' },
      { topic: 'commands/hall/lamp', payload: 'on' },
    ]);
    await expect.poll(() => statusOf('say')).toEqual({ successMessages: 2, failMessages: 0, errors: [] });
  });

  test('refuses what no topic, no text or too large is, and other methods', async () => {
    await askKnown('POST', `/${node}/default/cmd`, { body: 'x' });
    expect((await ask('POST', `/${node}/default/cmd/a+b`, { body: 'x' })).status).toBe(400);
    expect((await ask('GET', `/${node}/default/cmd`)).status).toBe(405);
    expect((await ask('POST', `/${node}/default/cmd`, { body: 'x'.repeat(megabyte + 1) })).status).toBe(413);
    const body = Buffer.from([0xff, 0xfe]);
    expect((await ask('POST', `/${node}/default/cmd`, { body })).status).toBe(415);
  });
});

describe('eventbus to rest', () => {
  beforeEach(async () => {
    await addEndpoint('mqtt', 'eventbus');
    await addEndpoint('store', 'rest');
    await addRule(
      'collect',
      ['mqtt', { topic: 'sensors/+/temp', node_name: node }],
      ['store', { resource: `http://127.0.0.1:${target.port}/in` }],
    );
    await expect.poll(() => edge.store.read(loadTopics)).toEqual(['default/sensors/+/temp']);
  });

  const waiting = () => new OutboxStore(edge.store, { log: silentLog }).first(1_000, 'uploads');

  test('a wildcard topic reaches the target, with the number that makes it the same when it comes twice', async () => {
    const hall = await mqtt();
    await hall.mqtt.publishAsync('default/sensors/7/temp', '{"t":21}', { qos: 1 });
    await hall.mqtt.publishAsync('default/sensors/7/other', 'no', { qos: 1 });
    await hall.mqtt.publishAsync('default/user/other', 'no', { qos: 1 });
    await target.until(() => target.heard.length > 0);
    expect(target.heard).toMatchObject([
      {
        method: 'POST',
        url: '/in',
        body: '{"t":21}',
        headers: {
          nodename: node,
          'hawser-topic': 'default/sensors/7/temp',
          'content-type': 'application/json',
          'idempotency-key': expect.stringMatching(/^[0-9a-f-]{36}$/),
        },
      },
    ]);
    await expect.poll(() => statusOf('collect')).toEqual({ successMessages: 1, failMessages: 0, errors: [] });
    // What no rule wants is not kept for ever.
    await expect.poll(async () => (await waiting()).length).toBe(0);
  });

  test('what is said offline arrives after the reconnect: all, in order, once, also over a restart', async () => {
    const hall = await mqtt();
    path.cut();
    path.silence();
    const numbers = Array.from({ length: 120 }, (_, at) => String(at));
    for (const number of numbers.slice(0, 60))
      await hall.mqtt.publishAsync('default/sensors/1/temp', number, { qos: 1 });
    await hall.mqtt.endAsync(true);
    clients = [];
    const dir = await edge.stop();
    path.heal();
    edge = await start(dir);
    const again = await mqtt();
    for (const number of numbers.slice(60)) {
      await again.mqtt.publishAsync('default/sensors/1/temp', number, { qos: 1 });
      if (Number(number) % 20 === 0) path.cut();
    }
    await expect.poll(() => target.heard.length).toBe(numbers.length);
    await expect.poll(async () => (await waiting()).length).toBe(0);
    expect(target.bodies()).toEqual(numbers);
  });

  test('a target that is away or refuses: what it may take later is kept and comes in order, the rest is counted', async () => {
    const hall = await mqtt();
    let tries = 0;
    target.answer = ({ body }) => {
      if (body === 'b' && tries < 2) {
        tries += 1;
        return { status: 503 };
      }
      return { status: body === 'c' ? 400 : 200 };
    };
    for (const text of ['a', 'b', 'c', 'd'])
      await hall.mqtt.publishAsync('default/sensors/1/temp', text, { qos: 1 });
    await target.until(() => target.bodies().includes('d'));
    expect(target.bodies()).toEqual(['a', 'b', 'b', 'b', 'c', 'd']);
    const keys = target.heard
      .filter(({ body }) => body === 'b')
      .map(({ headers }) => headers['idempotency-key']);
    expect(new Set(keys).size).toBe(1);
    await expect
      .poll(() => statusOf('collect'))
      .toEqual({ successMessages: 3, failMessages: 1, errors: [expect.stringContaining('400')] });
  });

  test('a rule that goes while the edge is away is taken back at the reconnect, and one that came is there', async () => {
    const dir = await edge.stop();
    await cloud.api.delete({ ...rulesApi('rules'), name: 'collect' });
    await addRule(
      'other',
      ['mqtt', { topic: '/doors', node_name: node }],
      ['store', { resource: `http://127.0.0.1:${target.port}/doors` }],
    );
    edge = await start(dir);
    expect(edge.store.read(loadTopics)).toEqual(['default/sensors/+/temp']);
    await expect.poll(() => edge.store.read(loadTopics)).toEqual(['default/doors']);
    const hall = await mqtt();
    await hall.mqtt.publishAsync('default/sensors/7/temp', 'no', { qos: 1 });
    await hall.mqtt.publishAsync('default/doors', 'open', { qos: 1 });
    await target.until(() => target.heard.length > 0);
    expect(target.bodies()).toEqual(['open']);
  });
});

describe('servicebus to rest', () => {
  const url = 'http://stock.example/ask';
  beforeEach(async () => {
    await addEndpoint('app', 'servicebus', { service_port: '1' });
    await addEndpoint('store', 'rest');
    await addRule(
      'ask',
      ['app', { target_url: url, node_name: node }],
      ['store', { resource: `http://127.0.0.1:${target.port}/stock` }],
    );
    await expect.poll(() => edge.appPort()).not.toBe(0);
  });

  const fromApp = async (request: unknown) => {
    const text = typeof request === 'string' ? request : JSON.stringify(request);
    const answer = await askHttp(edge.appPort(), 'POST', '/', { body: text });
    return {
      status: answer.status,
      ...(JSON.parse(answer.body) as { code: number; msg: string; body: string }),
    };
  };

  test('an app asks and gets the answer with its status', async () => {
    target.answer = ({ body }) => ({ status: body === '{"item":7}' ? 200 : 404, body: `got ${body}` });
    expect(await fromApp({ method: 'PUT', targetURL: url, payload: { item: 7 } })).toEqual({
      status: 200,
      code: 200,
      msg: 'ok',
      body: 'got {"item":7}',
    });
    expect(target.heard[0]).toMatchObject({ method: 'PUT', url: '/stock', headers: { nodename: node } });
    expect(await fromApp({ targetURL: url, payload: 'x' })).toMatchObject({ code: 404, body: 'got x' });
    await expect.poll(() => statusOf('ask')).toMatchObject({ successMessages: 1, failMessages: 1 });
  });

  test('only what a rule allows, in its form and size; and nobody waits for a cloud that is away', async () => {
    expect(await fromApp({ method: 'POST', targetURL: 'http://other', payload: '' })).toMatchObject({
      status: 200,
      code: 400,
    });
    for (const text of ['', 'null', '[]', '{"targetURL":7}', '{'])
      expect(await fromApp(text)).toMatchObject({ status: 200, code: 400 });
    expect(await fromApp({ targetURL: url, payload: 'x'.repeat(megabyte) })).toMatchObject({
      status: 413,
      code: 413,
    });
    expect((await askHttp(edge.appPort(), 'GET', '/')).status).toBe(405);
    path.cut();
    path.silence();
    await edge.until(() => edge.news.at(-1) === 'cloud_disconnected');
    expect(await fromApp({ targetURL: url, payload: 'x' })).toMatchObject({ code: 503 });
    expect(target.heard).toEqual([]);
  });

  test('the port closes with the last rule, also for an edge that was away', async () => {
    const dir = await edge.stop();
    await cloud.api.delete({ ...rulesApi('rules'), name: 'ask' });
    edge = await start(dir);
    await expect.poll(() => edge.store.read(loadUrls)).toEqual([]);
    const port = edge.appPort();
    await expect
      .poll(() =>
        askHttp(port, 'POST', '/').then(
          () => 'open',
          () => 'closed',
        ),
      )
      .toBe('closed');
  });
});
