import { describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import type { CloudAnswer } from '../cloud-requests.ts';
import { LeaseKeeper } from './lease.ts';

describe('lease of the node', () => {
  const resource = 'kube-node-lease/lease/edge-1';

  function setUp() {
    const clock = new ManualClock();
    const asked: string[] = [];
    const ask = async (operation: string, about: string, content: unknown): Promise<CloudAnswer> => {
      asked.push(`${operation} ${about}`);
      return operation === 'query'
        ? { kind: 'refused', reason: 'NotFound', message: 'none' }
        : { kind: 'object', object: content };
    };
    const keeper = new LeaseKeeper(
      { nodeName: 'edge-1', durationSeconds: 40 },
      { cloud: { ask }, clock, log: silentLog, nodeUid: () => 'uid' },
    );
    const stop = new AbortController();
    const running = keeper.run(stop.signal);
    const end = async () => {
      stop.abort();
      await running;
    };
    return { clock, asked, keeper, end };
  }

  it('is written by the edge at a KubeEdge cloud, every quarter of its time', async () => {
    const { clock, asked, keeper, end } = setUp();
    keeper.connected(false);
    await clock.advance(0);
    await clock.advance(20_000);
    expect(asked).toEqual([
      `query ${resource}`,
      `insert ${resource}`,
      `update ${resource}`,
      `update ${resource}`,
      `update ${resource}`,
    ]);
    await end();
  });

  it('is left to a cloud of ours, and taken up again at a KubeEdge cloud', async () => {
    const { clock, asked, keeper, end } = setUp();
    await clock.advance(0);
    asked.length = 0;
    keeper.connected(true);
    await clock.advance(60_000);
    expect(asked).toEqual([]);
    keeper.connected(false);
    await clock.advance(0);
    expect(asked).toEqual([`update ${resource}`]);
    await end();
  });
});
