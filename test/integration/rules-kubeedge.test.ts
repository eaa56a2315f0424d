/**
 * Rules at a whole cloudcore with edges of KubeEdge, played frame by frame: what they are told and when, that nothing of
 * ours is said to them, that their answers reach who asked, and that one node cannot answer for another.
 */

import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { askedAnnotation } from '#cloudcore/router/subscriptions.ts';
import type { Envelope } from '#protocol/message.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { type Answer, askHttp, HttpTarget } from '#test/fixtures/http-target.ts';
import { ScriptedEdge } from '#test/fixtures/scripted-edge.ts';

const rulesApi = (plural: string) => ({ apiVersion: 'rules.kubeedge.io/v1', plural, namespace: 'default' });

let network: MemoryNetwork;
let cloud: Cloud;
let target: HttpTarget;
let edges: ScriptedEdge[];

beforeEach(async () => {
  edges = [];
  network = new MemoryNetwork({ clock: systemClock, random: seededRandom(1) });
  target = await new HttpTarget().listen();
  cloud = await startCloud({ transport: network, router: { restTimeout: 1 } });
  for (const [name, ruleEndpointType, properties] of [
    ['cloud', 'rest', {}],
    ['mqtt', 'eventbus', {}],
    ['app', 'servicebus', { service_port: '8080' }],
  ])
    await cloud.api.create(rulesApi('ruleendpoints'), {
      metadata: { name },
      spec: { ruleEndpointType, properties },
    });
  for (const node of ['edge-1', 'edge-2']) await cloud.addNode(node);
});
afterEach(async () => {
  for (const edge of edges) await edge.connection.close();
  await cloud.close();
  await target.close();
});

async function connect(node: string): Promise<ScriptedEdge> {
  const identity = await cloud.identity(node);
  const edge = await ScriptedEdge.connect({
    transport: network,
    port: cloud.port,
    node,
    identity,
    session: 'kubeedge',
  });
  edges.push(edge);
  return edge;
}

async function addRule(name: string, from: [string, object], to: [string, object]): Promise<void> {
  const spec = { source: from[0], sourceResource: from[1], target: to[0], targetResource: to[1] };
  await cloud.api.create(rulesApi('rules'), { metadata: { name }, spec });
}

const collect = (topic: string): Parameters<typeof addRule> => [
  'collect',
  ['mqtt', { topic, node_name: 'edge-1' }],
  ['cloud', { resource: `http://127.0.0.1:${target.port}/in` }],
];
const statusOf = async (name: string) => (await cloud.api.get({ ...rulesApi('rules'), name })).status;
const said = (edge: ScriptedEdge) =>
  edge.down
    .filter(({ route }) => route.group === 'user')
    .map(({ route: { source, operation, resource } }) => `${source} ${operation} ${resource}`);
const frame = async (edge: ScriptedEdge, operation: string): Promise<Envelope> => {
  const find = () => edge.down.find(({ route }) => route.group === 'user' && route.operation === operation);
  await edge.until(() => find() !== undefined);
  return find() ?? expect.fail(operation);
};

/** Once rules are known and the node is connected. */
async function ask(method: string, url: string, body = ''): Promise<Answer> {
  let answer: Answer | undefined;
  await expect
    .poll(async () => {
      if (cloud.routerPort() === 0) return 'not open';
      answer = await askHttp(cloud.routerPort(), method, url, { body });
      return /no rule|not connected/.test(answer.body) ? answer.body : 'asked';
    })
    .toBe('asked');
  return answer ?? expect.fail('no answer');
}

const answerOf = (call: Envelope, text: string, status = 200) => ({
  header: { msg_id: `answer-${call.header.msg_id}`, parent_msg_id: call.header.msg_id, timestamp: 1 },
  // Go leaves out what is empty.
  route: { source: 'servicebus', group: 'user' },
  content: {
    header: { Server: ['kubeedge-edgecore'] },
    status_code: status,
    body: Buffer.from(text).toString('base64'),
  },
});

test('topics and URLs are asked for at each connect, and taken back also from an edge that was away', async () => {
  await addRule(...collect('sensors/+/temp'));
  await addRule(
    'ask',
    ['app', { target_url: 'http://a/b', node_name: 'edge-1' }],
    ['cloud', { resource: 'http://x/' }],
  );
  const wanted = ['router_eventbus subscribe default/sensors/+/temp', 'router_servicebus start http://a/b'];
  const first = await connect('edge-1');
  await first.until(() => said(first).length === 2);
  expect(said(first)).toEqual(wanted);
  await first.connection.close();
  const second = await connect('edge-1');
  await second.until(() => said(second).length === 2);
  expect(said(second)).toEqual(wanted);
  const note = async () =>
    (await cloud.api.get({ apiVersion: 'v1', plural: 'nodes', name: 'edge-1' })).metadata.annotations?.[
      askedAnnotation
    ];
  expect(JSON.parse((await note()) ?? '')).toEqual({
    topics: ['default/sensors/+/temp'],
    urls: ['http://a/b'],
  });
  await second.connection.close();

  // Neither this cloudcore nor the next one remembers, but the Node does.
  const before = await cloud.stop();
  for (const name of ['collect', 'ask']) await before.api.delete({ ...rulesApi('rules'), name });
  cloud = await startCloud({ transport: network, before });
  const third = await connect('edge-1');
  await third.until(() => said(third).length === 2);
  expect(said(third)).toEqual([
    'router_eventbus unsubscribe default/sensors/+/temp',
    'router_servicebus stop http://a/b',
  ]);
});

test('a call goes down as KubeEdge’s cloud writes it, and even an answer without operation and resource comes back', async () => {
  await addRule('call', ['cloud', { path: '/shop/{id}' }], ['app', { path: '/api' }]);
  const edge = await connect('edge-1');
  const asking = ask('PUT', '/edge-1/default/shop/7/x', 'body');
  const call = await frame(edge, 'PUT');
  expect(call.route).toEqual({
    source: 'router_servicebus',
    group: 'user',
    operation: 'PUT',
    resource: '8080:/api/x',
  });
  expect(call.content).toMatchObject({
    body: Buffer.from('body').toString('base64'),
    method: 'PUT',
    url: '',
  });
  expect(Object.keys(call.header).sort()).toEqual(['msg_id', 'timestamp']);
  await edge.connection.send(answerOf(call, 'error to call service', 404) as unknown as Envelope);
  expect(await asking).toMatchObject({ status: 404, body: 'error to call service' });
});

test('no node answers for another, and an edge that says nothing is said', async () => {
  await addRule('call', ['cloud', { path: '/a' }], ['app', { path: '/' }]);
  const [edge, other] = [await connect('edge-1'), await connect('edge-2')];
  const asking = ask('POST', '/edge-1/default/a', 'secret');
  const call = await frame(edge, 'POST');
  await other.connection.send(answerOf(call, 'forged') as unknown as Envelope);
  await expect.poll(async () => (await cloud.metrics()).includes('outcome="not-asked"} 1')).toBe(true);
  const answer = await asking;
  expect(answer).toMatchObject({ status: 504, headers: { 'hawser-error': 'true' } });
  expect(answer.body).toContain('did not answer within 1 s');
  // Late is late.
  await edge.connection.send(answerOf(call, 'late') as unknown as Envelope);
  await expect.poll(async () => (await cloud.metrics()).includes('outcome="not-asked"} 2')).toBe(true);
  await expect.poll(() => statusOf('call')).toMatchObject({ successMessages: 0, failMessages: 1 });
});

test('a publication goes down once, as text, and is delivered when the link has it', async () => {
  await addRule('say', ['cloud', { path: '/cmd' }], ['mqtt', { topic: 'commands' }]);
  const edge = await connect('edge-1');
  const text = 'x'.repeat(2 * 1024 * 1024);
  expect(await ask('POST', '/edge-1/default/cmd/lamp', text)).toMatchObject({
    status: 200,
    body: 'message delivered',
  });
  const published = await frame(edge, 'publish');
  expect([published.route.resource, published.content === text]).toEqual(['commands/lamp', true]);
  expect(Object.keys(published.header).sort()).toEqual(['msg_id', 'timestamp']);
  expect((await ask('POST', '/edge-1/default/cmd', 'x'.repeat(12 * 1024 * 1024 + 1))).status).toBe(413);
});

test('an upload is tried three times, and of a topic that is another node’s not once', async () => {
  await addRule(...collect('up/#'));
  const [edge, other] = [await connect('edge-1'), await connect('edge-2')];
  await edge.until(() => said(edge).length === 1);
  const upload = { source: 'bus', group: 'user', operation: 'upload' };
  await other.say({ ...upload, resource: 'default/up/x' }, 'of another');
  target.answer = () => ({ status: 503 });
  await edge.say({ ...upload, resource: 'default/up/x' }, 'a');
  await target.until(() => target.heard.length === 3);
  target.answer = () => ({ status: 200 });
  await edge.say({ ...upload, resource: 'default/up/x' }, 'b');
  await target.until(() => target.heard.length === 4);
  expect(target.bodies()).toEqual(['a', 'a', 'a', 'b']);
  await expect.poll(() => statusOf('collect')).toMatchObject({ successMessages: 1, failMessages: 1 });
  // Nobody waits for it.
  expect(edge.down.filter(({ route }) => route.source === 'bus')).toEqual([]);
});

test('what an app asks is answered with text, and nothing of ours beside it', async () => {
  await addRule(
    'ask',
    ['app', { target_url: 'http://a/b', node_name: 'edge-1' }],
    ['cloud', { resource: `http://127.0.0.1:${target.port}/stock` }],
  );
  const edge = await connect('edge-1');
  await edge.until(() => said(edge).length === 1);
  const asked = JSON.stringify({ method: 'POST', targetURL: 'http://a/b', payload: 'how many' });
  const route = { source: 'servicebus', group: 'user', operation: 'upload', resource: 'http://a/b' };
  const id = await edge.say(route, Buffer.from(asked).toString('base64'));
  const answer = await edge.answerTo(id);
  expect(answer).toMatchObject({ route: { ...route, operation: 'response' }, content: 'done' });
  expect(Object.keys(answer.header).sort()).toEqual(['msg_id', 'parent_msg_id', 'timestamp']);
  expect(target.bodies()).toEqual(['how many']);
  for (const [resource, content] of [
    ['http://other', 'x'],
    ['http://a/b', 'not base64 of a request'],
  ] as const) {
    const refused = await edge.answerTo(await edge.say({ ...route, resource }, content));
    expect(refused.route.operation).toBe('error');
  }
});
