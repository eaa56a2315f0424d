import { describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { type Delta, Informer } from './informer.ts';
import { MemoryKubeApi } from './memory-kube-api.ts';

const maps = { apiVersion: 'v1', plural: 'configmaps' };
const inDefault = { ...maps, namespace: 'default' };
const tick = () => new Promise((resolve) => setImmediate(resolve));

async function setUp() {
  const clock = new ManualClock();
  const api = new MemoryKubeApi({ clock });
  const informer = new Informer({ ref: maps }, { api, clock, random: seededRandom(1), log: silentLog });
  const deltas: string[] = [];
  informer.onDelta(({ type, object }: Delta) => deltas.push(`${type} ${object.metadata.name}`));
  const stop = new AbortController();
  const make = (name: string, data = {}) => api.create(inDefault, { metadata: { name }, data });
  return { clock, api, informer, deltas, stop, make, run: () => informer.run(stop.signal) };
}

describe('Informer', () => {
  it('lists, is synced, and follows changes', async () => {
    const { api, informer, deltas, stop, make, run } = await setUp();
    await make('a');
    expect(informer.synced).toBe(false);
    const running = run();
    await informer.whenSynced();
    await make('b');
    await api.patch({ ...inDefault, name: 'a' }, 'merge', { data: { x: '1' } });
    await api.delete({ ...inDefault, name: 'b' });
    await tick();
    expect(deltas).toEqual(['added a', 'added b', 'updated a', 'deleted b']);
    expect(informer.get('default', 'a')?.data).toEqual({ x: '1' });
    expect(informer.get('default', 'b')).toBeUndefined();
    stop.abort();
    await running;
  });

  it('relists after 410 and tells only what differs', async () => {
    const { api, informer, deltas, stop, make, run, clock } = await setUp();
    await make('kept');
    await make('gone');
    const running = run();
    await informer.whenSynced();
    await tick();
    api.failNext((verb) => verb === 'watch');
    api.breakWatches();
    await clock.advance(0);
    await api.delete({ ...inDefault, name: 'gone' });
    await make('new');
    api.compact();
    for (let n = 0; n < 5; n += 1) await clock.advance(1_000);
    expect(deltas.slice(2)).toEqual(['deleted gone', 'added new']);
    stop.abort();
    await running;
  });

  it('keeps its cache while the API is away, and backs off', async () => {
    const { api, informer, deltas, stop, make, run, clock } = await setUp();
    await make('a');
    const running = run();
    await informer.whenSynced();
    await tick();
    for (let n = 0; n < 5; n += 1) api.failNext((verb) => verb !== 'create');
    api.breakWatches();
    await clock.advance(500);
    const calls = api.calls.length;
    await clock.advance(100);
    expect(api.calls.length - calls).toBeLessThan(3);
    expect(informer.synced).toBe(true);
    expect(informer.get('default', 'a')).toBeDefined();
    await clock.advance(60_000);
    await make('b');
    await clock.advance(60_000);
    expect(deltas).toEqual(['added a', 'added b']);
    stop.abort();
    await running;
  });

  it('sees an object that took the name of another as a deletion and an addition', async () => {
    const { api, informer, deltas, stop, make, run, clock } = await setUp();
    await make('a');
    const running = run();
    await informer.whenSynced();
    await tick();
    api.failNext((verb) => verb === 'watch');
    api.breakWatches();
    await clock.advance(0);
    await api.delete({ ...inDefault, name: 'a' });
    await make('a', { second: 'yes' });
    api.compact();
    for (let n = 0; n < 5; n += 1) await clock.advance(1_000);
    expect(deltas).toEqual(['added a', 'deleted a', 'added a']);
    expect(informer.get('default', 'a')?.data).toEqual({ second: 'yes' });
    stop.abort();
    await running;
  });
});
