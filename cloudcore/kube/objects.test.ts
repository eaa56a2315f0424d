import { describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { MemoryKubeApi } from './memory-kube-api.ts';
import { ObjectCache } from './objects.ts';

const pods = { apiVersion: 'v1', plural: 'pods', namespace: 'default' };
const secrets = { apiVersion: 'v1', plural: 'secrets', namespace: 'default' };
const devices = { apiVersion: 'devices.kubeedge.io/v1beta1', plural: 'devices', namespace: 'default' };
const tick = () => new Promise((resolve) => setImmediate(resolve));

async function setUp() {
  const clock = new ManualClock();
  const api = new MemoryKubeApi({ clock });
  const cache = new ObjectCache({ api, clock, random: seededRandom(1), log: silentLog });
  const stop = new AbortController();
  const running = cache.run(stop.signal);
  await cache.whenSynced(stop.signal);
  const close = async () => {
    stop.abort();
    await running;
  };
  return { clock, api, cache, close };
}

const podOf = (name: string, node: string | undefined, secret: string) => ({
  metadata: { name },
  spec: {
    ...(node === undefined ? {} : { nodeName: node }),
    containers: [{ name: 'c', envFrom: [{ secretRef: { name: secret } }] }],
  },
});

describe('ObjectCache', () => {
  it('knows which pods and references belong to a node, also after they go', async () => {
    const { api, cache, close } = await setUp();
    await api.create(pods, podOf('a', 'edge-1', 's'));
    await api.create(pods, podOf('b', 'edge-1', 's'));
    await api.create(pods, podOf('waiting', undefined, 's'));
    await tick();
    expect([...cache.podsOf('edge-1')].map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
    expect(cache.references('edge-1', 'default/secret/s')).toBe(true);
    expect(cache.references('edge-2', 'default/secret/s')).toBe(false);
    await api.delete({ ...pods, name: 'a' }, { gracePeriodSeconds: 0 });
    await tick();
    expect(cache.references('edge-1', 'default/secret/s')).toBe(true);
    await api.delete({ ...pods, name: 'b' }, { gracePeriodSeconds: 0 });
    await tick();
    expect(cache.references('edge-1', 'default/secret/s')).toBe(false);
    expect([...cache.podsOf('edge-1')]).toEqual([]);
    await close();
  });

  it('tells an answer of the API that is news to an edge from one that is not', async () => {
    const { api, cache, close } = await setUp();
    const pod = await api.create(pods, podOf('a', 'edge-1', 's'));
    await tick();
    const { metadata } = pod;
    const since = metadata.resourceVersion;
    const answered = (more: object) => ({ ...pod, ...more });
    const reported = answered({
      metadata: { ...metadata, resourceVersion: '999' },
      status: { phase: 'Running' },
    });
    expect(cache.sameSince('pod', reported)).toBe(since);
    expect(
      cache.sameSince('pod', answered({ metadata: { ...metadata, labels: { new: 'yes' } } })),
    ).toBeUndefined();
    expect(
      cache.sameSince(
        'pod',
        answered({ metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } }),
      ),
    ).toBeUndefined();
    expect(cache.sameSince('pod', answered({ metadata: { ...metadata, uid: 'another' } }))).toBeUndefined();
    expect(cache.sameSince('pod', answered({ metadata: { ...metadata, name: 'unknown' } }))).toBeUndefined();
    await close();
  });

  it('keeps no bodies of secrets and reads them from the API', async () => {
    const { api, cache, close } = await setUp();
    await api.create(secrets, { metadata: { name: 's', labels: { a: 'b' } }, data: { key: 'dmFsdWU=' } });
    await tick();
    const path = { namespace: 'default', type: 'secret', name: 's' };
    expect(JSON.stringify(cache.known(path))).not.toContain('dmFsdWU');
    expect(await cache.read(path)).toMatchObject({
      kind: 'Secret',
      apiVersion: 'v1',
      data: { key: 'dmFsdWU=' },
    });
    await api.delete({ ...secrets, name: 's' });
    expect(await cache.read(path)).toBeUndefined();
    await close();
  });

  it('tells changes that an edge has to hear of from echoes of its own reports', async () => {
    const { api, cache, close } = await setUp();
    const made = await api.create(pods, podOf('a', 'edge-1', 's'));
    await tick();
    const path = { namespace: 'default', type: 'pod', name: 'a' };
    const first = cache.known(path)?.changedVersion;
    expect(first).toBe(made.metadata.resourceVersion);
    const ref = { ...pods, name: 'a' };
    await api.patch(ref, 'strategic', { status: { phase: 'Running' } }, { subresource: 'status' });
    await tick();
    expect(cache.known(path)?.changedVersion).toBe(first);
    expect(cache.known(path)?.resourceVersion).not.toBe(first);
    await api.patch(ref, 'merge', { metadata: { labels: { a: 'b' } } });
    await tick();
    const second = cache.known(path)?.changedVersion;
    expect(second).not.toBe(first);
    await api.delete(ref);
    await tick();
    expect(cache.known(path)?.changedVersion).not.toBe(second);
    await close();
  });

  it('moves a device from node to node', async () => {
    const { api, cache, close } = await setUp();
    await api.create(devices, { metadata: { name: 'd' }, spec: { nodeName: 'edge-1' } });
    await tick();
    expect([...cache.devicesOf('edge-1')]).toHaveLength(1);
    await api.patch({ ...devices, name: 'd' }, 'merge', { spec: { nodeName: 'edge-2' } });
    await tick();
    expect([...cache.devicesOf('edge-1')]).toHaveLength(0);
    expect([...cache.devicesOf('edge-2')]).toHaveLength(1);
    await close();
  });

  it('does not take another, empty cluster for a deletion of everything', async () => {
    const { api, cache, clock, close } = await setUp();
    await api.create(pods, podOf('a', 'edge-1', 's'));
    await tick();
    for (let n = 0; n < 6; n += 1) api.failNext((verb) => verb === 'watch');
    api.breakWatches();
    await tick();
    const namespaces = { apiVersion: 'v1', plural: 'namespaces' };
    await api.delete({ ...namespaces, name: 'kube-system' });
    await api.create(namespaces, { metadata: { name: 'kube-system' } });
    await api.delete({ ...pods, name: 'a' }, { gracePeriodSeconds: 0 });
    await api.create(pods, podOf('foreign', 'edge-1', 's'));
    api.compact();
    for (let n = 0; n < 10; n += 1) await clock.advance(10_000);
    const known = (name: string) => cache.known({ namespace: 'default', type: 'pod', name });
    expect(known('a')).toBeDefined();
    expect(known('foreign')).toBeUndefined();
    await close();
  });
});
