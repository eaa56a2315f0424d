import { beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { seededRandom } from '#beehive/random.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { MemoryLedger } from '#test/fixtures/memory-ledger.ts';
import { MemoryKubeApi } from '../kube/memory-kube-api.ts';
import { createCloudHubMetrics } from './cloudhub-metrics.ts';
import { leaseLimits, NodeLeases } from './node-leases.ts';
import { NodeSession } from './node-session.ts';

const leases = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases', namespace: 'kube-node-lease' };
const nodes = { apiVersion: 'v1', plural: 'nodes' };
const leaseSchema = z.looseObject({ renewTime: z.string(), holderIdentity: z.string() });

describe('leases of nodes whose edge is ours', () => {
  const clock = new ManualClock();
  let api: MemoryKubeApi;
  let keeper: NodeLeases;

  beforeEach(() => {
    api = new MemoryKubeApi({ clock });
    keeper = new NodeLeases({
      api,
      reader: { read: async ({ name = '' }) => await api.get({ ...nodes, name }).catch(() => undefined) },
      clock,
      log: silentLog,
      metrics: createCloudHubMetrics(createMetrics()),
    });
  });

  const addNode = async (name: string) =>
    await api.create(nodes, { apiVersion: 'v1', kind: 'Node', metadata: { name } });
  const lease = async (name: string) => await api.get({ ...leases, name });
  const renewTime = async (name: string) => leaseSchema.parse((await lease(name)).spec).renewTime;
  const writes = () => api.calls.filter((call) => /^(create|patch) leases$/.test(call)).length;
  const now = () => new Date(clock.now()).toISOString().replace('Z', '000Z');

  async function beat(heard: () => void): Promise<void> {
    heard();
    await clock.advance(0);
  }

  it('makes a missing one with its Node as owner, once there is a Node', async () => {
    const heard = keeper.open('edge-1', new AbortController().signal);
    await beat(heard);
    expect(writes()).toBe(0);
    const { uid } = (await addNode('edge-1')).metadata;
    await beat(heard);
    expect(await lease('edge-1')).toMatchObject({
      metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'edge-1', uid }] },
      spec: { holderIdentity: 'edge-1', leaseDurationSeconds: 40, renewTime: now() },
    });
  });

  it('renews at each beat, with the time of the beat, and not in between', async () => {
    await addNode('edge-1');
    const heard = keeper.open('edge-1', new AbortController().signal);
    await beat(heard);
    for (let beats = 1; beats <= 3; beats += 1) {
      await clock.advance(2_000);
      await beat(heard);
      expect(await renewTime('edge-1')).not.toBe(now());
      await clock.advance(3_000);
      await beat(heard);
      expect(await renewTime('edge-1')).toBe(now());
    }
  });

  it('takes over one that a KubeEdge cloud’s edge has left', async () => {
    const { uid } = (await addNode('edge-1')).metadata;
    await api.create(leases, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'edge-1', labels: { kept: 'yes' } },
      spec: { holderIdentity: 'somebody', renewTime: '2020-01-01T00:00:00.000000Z' },
    });
    await beat(keeper.open('edge-1', new AbortController().signal));
    expect(await lease('edge-1')).toMatchObject({
      metadata: { labels: { kept: 'yes' }, ownerReferences: [{ uid }] },
      spec: { holderIdentity: 'edge-1', renewTime: now() },
    });
  });

  it('writes nothing without a sign of life, and nothing once the session is over', async () => {
    await addNode('edge-1');
    const session = new AbortController();
    const heard = keeper.open('edge-1', session.signal);
    await beat(heard);
    await clock.advance(60_000);
    expect(writes()).toBe(2);
    session.abort();
    await beat(heard);
    expect(writes()).toBe(2);
  });

  it('drops what waits for its turn when its session ends', async () => {
    const sessions = Array.from({ length: leaseLimits.atOnceMax + 2 }, () => new AbortController());
    const names = sessions.map((_, at) => `edge-${at}`);
    for (const name of names) await addNode(name);
    const beats = sessions.map(({ signal }, at) => keeper.open(names[at] ?? '', signal));
    for (const heard of beats) heard();
    sessions.at(-1)?.abort();
    await clock.advance(0);
    const made = (await api.list(leases)).items.map(({ metadata }) => metadata.name);
    expect(made.sort()).toEqual(names.slice(0, -1).sort());
  });

  it('writes less often for many nodes, and never less often than Kubernetes does', async () => {
    await addNode('edge-1');
    const heard = keeper.open('edge-1', new AbortController().signal);
    for (let others = 1; others < 5_000; others += 1) keeper.open('other', new AbortController().signal);
    await beat(heard);
    const first = await renewTime('edge-1');
    await clock.advance(5_000);
    await beat(heard);
    expect(await renewTime('edge-1')).toBe(first);
    await clock.advance(5_000);
    await beat(heard);
    expect(await renewTime('edge-1')).toBe(now());
  });

  it('takes each ping of an edge of ours for a beat, until the link is dead', async () => {
    await addNode('edge-1');
    const network = new MemoryNetwork({ clock, random: seededRandom(1) });
    const listener = await network.listen({
      host: 'cloud',
      port: 1,
      admit: () => ({ accept: true }),
      connectionsMax: 1,
      frameBytesMax: 1_000,
    });
    const signal = new AbortController().signal;
    const options = { headers: {}, handshakeTimeoutMs: 1_000, frameBytesMax: 1_000, signal };
    const edge = await network.dial({ ...options, url: 'wss://cloud:1/' });
    const { value: connection } = await listener.connections[Symbol.asyncIterator]().next();
    if (connection === undefined) throw new Error('nobody connected');
    const session = new NodeSession(
      { node: 'edge-1', kind: 'hawser', connection },
      { silenceMaxMs: 30_000, writeTimeoutMs: 30_000 },
      {
        clock,
        log: silentLog,
        metrics: createCloudHubMetrics(createMetrics()),
        reader: { read: async () => undefined },
        ledger: new MemoryLedger(),
        leases: keeper,
        forward: async () => {},
        handed: () => {},
      },
    );
    void session.run();
    await clock.advance(0);
    const made = writes();
    for (let beats = 1; beats <= 3; beats += 1) {
      await clock.advance(5_000);
      await edge.ping();
      await clock.advance(0);
      expect(writes()).toBe(made + beats);
    }
    network.silence();
    await clock.advance(60_000);
    expect(session.over.aborted).toBe(true);
    expect(writes()).toBe(made + 3);
  });

  it('goes on with the next beat after the API has failed', async () => {
    await addNode('edge-1');
    api.failNext((verb) => verb === 'patch');
    const heard = keeper.open('edge-1', new AbortController().signal);
    await beat(heard);
    await expect(lease('edge-1')).rejects.toMatchObject({ code: 'notFound' });
    await clock.advance(5_000);
    await beat(heard);
    expect(await renewTime('edge-1')).toBe(now());
  });
});
