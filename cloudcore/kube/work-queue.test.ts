import { describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { WorkQueue } from './work-queue.ts';

const tick = () => new Promise((resolve) => setImmediate(resolve));

function setUp(workersMax = 4) {
  const clock = new ManualClock();
  const queue = new WorkQueue(
    { name: 'test', workersMax, retry: { firstMs: 100, maxMs: 1_000 } },
    { clock, random: seededRandom(1), log: silentLog },
  );
  return { clock, queue, stop: new AbortController() };
}

describe('WorkQueue', () => {
  it('runs a key once for many additions, and again for one made while it runs', async () => {
    const { queue, stop } = setUp();
    const runs: string[] = [];
    let release = () => {};
    queue.add('a');
    queue.add('a');
    const running = queue.run(async (key) => {
      runs.push(key);
      if (runs.length === 1)
        await new Promise<void>((resolve) => {
          release = resolve;
        });
    }, stop.signal);
    await tick();
    expect(runs).toEqual(['a']);
    queue.add('a');
    queue.add('a');
    await tick();
    expect(runs).toEqual(['a']);
    release();
    await tick();
    expect(runs).toEqual(['a', 'a']);
    stop.abort();
    await running;
  });

  it('runs keys side by side up to its limit', async () => {
    const { queue, stop } = setUp(2);
    let active = 0;
    let most = 0;
    for (const key of ['a', 'b', 'c', 'd', 'e']) queue.add(key);
    const running = queue.run(async () => {
      active += 1;
      most = Math.max(most, active);
      await tick();
      active -= 1;
    }, stop.signal);
    for (let n = 0; n < 10; n += 1) await tick();
    expect(most).toBe(2);
    expect(queue.size).toBe(0);
    stop.abort();
    await running;
  });

  it('tries a failed key again after growing pauses, and others meanwhile', async () => {
    const { queue, stop, clock } = setUp();
    const runs: string[] = [];
    const running = queue.run(async (key) => {
      runs.push(key);
      if (key === 'bad' && runs.filter((run) => run === 'bad').length < 3) throw new Error('no');
    }, stop.signal);
    queue.add('bad');
    await tick();
    queue.add('good');
    queue.add('bad');
    await tick();
    expect(runs).toEqual(['bad', 'good']);
    await clock.advance(100);
    expect(runs.filter((run) => run === 'bad')).toHaveLength(2);
    await clock.advance(200);
    expect(runs.filter((run) => run === 'bad')).toHaveLength(3);
    await clock.advance(10_000);
    expect(runs.filter((run) => run === 'bad')).toHaveLength(3);
    stop.abort();
    await running;
  });
});
