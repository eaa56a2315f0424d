import { describe, expect, it } from 'vitest';
import { Backoff } from '#beehive/backoff.ts';
import { ManualClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { MemoryKubeApi } from '../kube/memory-kube-api.ts';
import { annotateNode, nodeRef } from './node-annotations.ts';

describe('what CloudHub writes on a Node', () => {
  const annotations = { cloudcore: '10.0.0.1' };

  function setUp() {
    const clock = new ManualClock();
    const api = new MemoryKubeApi({ clock });
    const seen: { node: KubeObject | undefined } = { node: undefined };
    const reader = { read: async () => seen.node };
    const backoff = new Backoff({ firstMs: 250, maxMs: 15_000, jitter: 0 }, seededRandom(1));
    const stop = new AbortController();
    const written = annotateNode('edge-1', annotations, { api, reader, clock, backoff }, stop.signal);
    const add = async () => {
      seen.node = await api.create({ apiVersion: 'v1', plural: 'nodes' }, { metadata: { name: 'edge-1' } });
    };
    return { clock, api, written, add, stop };
  }

  it('waits for the Node without asking the API for it', async () => {
    const { clock, api, written, add } = setUp();
    await clock.advance(2_000);
    expect(api.calls).toEqual([]);
    await add();
    await clock.advance(2_000);
    expect(await written).toBe(true);
    expect((await api.get(nodeRef('edge-1'))).metadata.annotations).toEqual(annotations);
  });

  it('tries again when the API fails, and gives up with the session', async () => {
    const { clock, api, written, add, stop } = setUp();
    await add();
    api.failNext((verb) => verb === 'patch');
    await clock.advance(0);
    stop.abort();
    expect(await written).toBe(false);
  });
});
