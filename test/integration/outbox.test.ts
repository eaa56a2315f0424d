/** What an edge logs while it is alone reaches the cloud when it is back: all of it, in order, over a restart. */

import { afterEach, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { OutboxStore } from '#edgecore/store/outbox-store.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import type { Connection } from '#protocol/transport/transport.ts';
import { startCloud } from '#test/fixtures/cloud.ts';
import { type Edge, givenCertificates, startEdge } from '#test/fixtures/edge.ts';

const events = { apiVersion: 'v1', plural: 'events', namespace: 'default' };
const identity = { ca: '', cert: 'c', key: '' };

let closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
});

const event = (name: string, count = 1) => ({
  metadata: { name, namespace: 'default' },
  involvedObject: { kind: 'Pod', namespace: 'default', name: 'web' },
  source: { component: 'kubelet', host: 'edge-1' },
  reason: 'Started',
  count,
});

async function say(edge: Edge, operation: string, name: string, count = 1): Promise<Envelope> {
  const route = { source: 'edged', group: 'meta', operation, resource: `default/event/${name}` };
  return edge.bus.request('metamanager', newEnvelope(route, event(name, count)), { timeoutMs: 60_000 });
}

const waiting = ({ store }: Edge) => new OutboxStore(store, { log: silentLog }).first(1_000);

test('to a cloud of ours: kept over a restart, written once each and in order, gone only then', async () => {
  const network = new MemoryNetwork({ clock: systemClock, random: seededRandom(1) });
  const cloud = await startCloud({ transport: network });
  closing.push(() => cloud.close());
  network.cut();
  const options = {
    nodeName: 'edge-1',
    transport: network,
    server: `127.0.0.1:${cloud.port}`,
    certificates: givenCertificates(await cloud.identity('edge-1')),
  };
  const first = await startEdge(options);
  const names = Array.from({ length: 100 }, (_, at) => `event-${String(at).padStart(3, '0')}`);
  for (const name of names) expect((await say(first, 'insert', name)).content).toBe('OK');
  await say(first, 'update', 'event-000', 2);
  const dir = await first.stop();

  // The API cannot be written for a moment, just when it all arrives.
  cloud.api.failNext((verb, { plural }) => verb === 'create' && plural === 'events');
  network.heal();
  const edge = await startEdge({ ...options, dir });
  closing.push(() => edge.close());
  await expect.poll(async () => (await waiting(edge)).length).toBe(0);
  const { items } = await cloud.api.list(events);
  const ours = items.filter(({ metadata }) => metadata.name.startsWith('event-'));
  expect(ours.map(({ metadata }) => metadata.name).sort()).toEqual(names);
  expect(ours.find(({ metadata }) => metadata.name === 'event-000')).toMatchObject({ count: 2 });
  const written = ours
    .filter(({ metadata }) => metadata.name > 'event-031')
    .sort((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion));
  expect(written.map(({ metadata }) => metadata.name)).toEqual(names.slice(32));
});

test('at a KubeEdge cloud, which answers nothing: gone when the pong of a ping behind it has come', async () => {
  const network = new MemoryNetwork({ clock: systemClock, random: seededRandom(2) });
  const heard: Envelope[] = [];
  const connections: Connection[] = [];
  const listener = await network.listen({
    host: 'cloud',
    port: 10000,
    connectionsMax: 4,
    frameBytesMax: 1e6,
    admit: () => ({ accept: true }),
  });
  closing.push(() => listener.close());
  void (async () => {
    for await (const connection of listener.connections) {
      connections.push(connection);
      void (async () => {
        try {
          for await (const frame of connection.frames) heard.push(frame);
        } catch {
          // Cut: that is the test.
        }
      })();
    }
  })();
  const certificates = givenCertificates(identity);
  const edge = await startEdge({
    nodeName: 'edge-1',
    transport: network,
    server: 'cloud:10000',
    certificates,
  });
  closing.push(() => edge.close());
  await edge.connected();
  const names = () =>
    heard.filter(({ route }) => route.resource.includes('/event/')).map(({ route }) => route.resource);

  // It takes nothing and the link looks alive: nothing is forgotten.
  network.silence();
  await say(edge, 'insert', 'a');
  await say(edge, 'insert', 'b');
  await systemClock.sleep(300);
  expect(names()).toEqual([]);
  expect(await waiting(edge)).toHaveLength(2);
  network.cut();
  network.heal();
  await edge.connected(2);
  await expect.poll(async () => (await waiting(edge)).length).toBe(0);
  expect(names()).toEqual(['default/event/a', 'default/event/b']);
  expect(heard.some(({ header }) => 'hawserAck' in header)).toBe(false);
});

test('when there is no room the newest is refused and told so, and what was kept stays', async () => {
  const network = new MemoryNetwork({ clock: systemClock, random: seededRandom(3) });
  const certificates = givenCertificates(identity);
  const edge = await startEdge({ nodeName: 'edge-1', transport: network, server: 'cloud:1', certificates });
  closing.push(() => edge.close());
  const outbox = new OutboxStore(edge.store, { log: silentLog }, 1_000);
  const envelope = (name: string) =>
    newEnvelope(
      { source: 'edged', group: 'meta', operation: 'insert', resource: `default/event/${name}` },
      event(name),
    );
  const outcomes: string[] = [];
  for (const name of ['a', 'b', 'c', 'd', 'e']) outcomes.push(await outbox.append(envelope(name)));
  expect(outcomes).toEqual(['kept', 'kept', 'full', 'full', 'full']);
  const [oldest] = await outbox.first(1);
  await outbox.remove([oldest?.id ?? 0]);
  expect(await outbox.append(envelope('f'))).toBe('kept');
  expect((await outbox.first(9)).map(({ envelope: { route } }) => route.resource)).toEqual([
    'default/event/b',
    'default/event/f',
  ]);
  // The numbers are of the store, not of this process.
  expect(await new OutboxStore(edge.store, { log: silentLog }, 1_000).append(envelope('g'))).toBe('full');
  // A row that cannot be read holds up nothing.
  await edge.store.write((sql) =>
    sql.run("UPDATE outbox SET envelope = '{' WHERE id = (SELECT min(id) FROM outbox)"),
  );
  expect(await outbox.first(9)).toHaveLength(1);
});

test('what one receiver does not take holds up no other, and leaves room for events', async () => {
  const network = new MemoryNetwork({ clock: systemClock, random: seededRandom(4) });
  const cloud = await startCloud({ transport: network });
  closing.push(() => cloud.close());
  const rules = (plural: string) => ({ apiVersion: 'rules.kubeedge.io/v1', plural, namespace: 'default' });
  for (const [name, ruleEndpointType] of [
    ['mqtt', 'eventbus'],
    ['nobody', 'rest'],
  ])
    await cloud.api.create(rules('ruleendpoints'), { metadata: { name }, spec: { ruleEndpointType } });
  const spec = {
    source: 'mqtt',
    sourceResource: { topic: 'up', node_name: 'edge-1' },
    target: 'nobody',
    targetResource: { resource: 'http://127.0.0.1:1/' },
  };
  await cloud.api.create(rules('rules'), { metadata: { name: 'up' }, spec });
  const certificates = givenCertificates(await cloud.identity('edge-1'));
  const server = `127.0.0.1:${cloud.port}`;
  const edge = await startEdge({ nodeName: 'edge-1', transport: network, server, certificates });
  closing.push(() => edge.close());
  await edge.connected();
  const route = { source: 'bus', group: 'user', operation: 'upload', resource: 'default/up' };
  for (let at = 0; at < 40; at += 1) {
    const kept = await edge.bus.request('metamanager', newEnvelope(route, `${at}`), { timeoutMs: 60_000 });
    expect(kept.content).toBe('OK');
  }
  await say(edge, 'insert', 'behind');
  await expect.poll(async () => (await waiting(edge)).length).toBe(0);
  const { items } = await cloud.api.list(events);
  expect(items.map(({ metadata }) => metadata.name)).toContain('behind');
  const store = new OutboxStore(edge.store, { log: silentLog });
  expect(await store.first(100, 'uploads')).toHaveLength(40);
  const status = async () => (await cloud.api.get({ ...rules('rules'), name: 'up' })).status;
  await expect
    .poll(status)
    .toMatchObject({ failMessages: 0, errors: [expect.stringContaining('cannot reach')] });
  // What MQTT clients say never takes the last room.
  const small = new OutboxStore(edge.store, { log: silentLog }, 16 * 1024 * 1024 + 1);
  expect(await small.append(newEnvelope(route, 'x'), 'uploads')).toBe('full');
  expect(await small.append(newEnvelope(route, 'x'), 'events')).toBe('kept');
});

test('what the cloud has no module for is not kept for ever', async () => {
  const network = new MemoryNetwork({ clock: systemClock, random: seededRandom(5) });
  const cloud = await startCloud({ transport: network, routerOff: true });
  closing.push(() => cloud.close());
  const certificates = givenCertificates(await cloud.identity('edge-1'));
  const server = `127.0.0.1:${cloud.port}`;
  const edge = await startEdge({ nodeName: 'edge-1', transport: network, server, certificates });
  closing.push(() => edge.close());
  const route = { source: 'bus', group: 'user', operation: 'upload', resource: 'default/up' };
  await edge.bus.request('metamanager', newEnvelope(route, 'x'), { timeoutMs: 60_000 });
  const left = () => new OutboxStore(edge.store, { log: silentLog }).first(10, 'uploads');
  await expect.poll(async () => (await left()).length).toBe(0);
});
