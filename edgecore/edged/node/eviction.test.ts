import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import type { PodVerdict } from '../pod/plan.ts';
import { podSchema } from '../pod/pod.ts';
import { Eviction } from './eviction.ts';
import type { PodUse } from './eviction-order.ts';
import type { MachineUse } from './machine-use.ts';
import { Pressure } from './pressure.ts';
import { hardDefaults, type ThresholdConfig, thresholdsOf } from './thresholds.ts';

const megabyte = 1024 ** 2;

class FakePod {
  readonly pod;
  verdict: PodVerdict | undefined;

  constructor(name: string, spec: object = {}) {
    this.pod = podSchema.parse({
      metadata: { name, namespace: 'default', uid: name },
      spec: { containers: [{ name: 'main' }], ...spec },
    });
  }

  get isEnding(): boolean {
    return this.verdict !== undefined;
  }

  fail(verdict: PodVerdict): void {
    this.verdict = verdict;
  }

  use(megabytes: number): PodUse {
    const bytes = megabytes * megabyte;
    const { pod } = this;
    const containers = [{ name: 'main', memoryBytes: bytes, diskBytes: bytes }];
    return { pod, memoryBytes: bytes, diskBytes: bytes, inodes: 0, processes: 0, containers };
  }
}

describe('eviction', () => {
  let clock: ManualClock;
  let memoryMegabytes: number;
  let diskFree: number;
  let pods: FakePod[];
  let said: string[];
  let changes: number;
  let counts: string[];
  let reclaim: () => void;
  let running: Set<string>;
  let faults: Map<string, string>;

  beforeEach(() => {
    clock = new ManualClock();
    memoryMegabytes = 1000;
    diskFree = 500;
    pods = [];
    said = [];
    changes = 0;
    counts = [];
    reclaim = () => {};
    running = new Set();
    faults = new Map();
  });

  const machine = async (): Promise<MachineUse> => ({
    atMs: 0,
    bootedAtMs: 0,
    cpuNanoseconds: 0,
    memory: {
      capacityBytes: 2000 * megabyte,
      availableBytes: memoryMegabytes * megabyte,
      usageBytes: 0,
      workingSetBytes: 0,
      rssBytes: 0,
    },
    nodefs: { capacityBytes: 1000, availableBytes: diskFree, usedBytes: 0, inodes: 0, inodesFree: 0 },
    imagefs: undefined,
    processes: { max: 0, current: 0 },
    interfaces: [],
  });

  function setUp(thresholds: Partial<ThresholdConfig> = { hard: hardDefaults }) {
    const none = { hard: {}, soft: {}, softMs: {}, minReclaim: {} };
    const pressure = new Pressure(thresholdsOf({ ...none, ...thresholds }), 300_000);
    const eviction = new Eviction(
      { nodeName: 'edge-1', graceMaxMs: 5000 },
      {
        pressure,
        machine,
        pods: () => pods,
        uses: async () => new Map(pods.map((it, at) => [it.pod.metadata.uid, it.use(10 * (at + 1))])),
        storageFaults: async () => faults,
        runs: async ({ metadata: { uid } }) => running.has(uid),
        reclaimDisk: async () => reclaim(),
        events: {
          pod: ({ metadata }, _type, reason) => void said.push(`${metadata.name}: ${reason}`),
          node: (_type, reason) => void said.push(reason),
        },
        counted: { evicted: (what) => void counts.push(what) },
        changed: () => {
          changes += 1;
        },
        clock,
        log: silentLog,
      },
    );
    return { eviction, pressure };
  }
  const evicted = () => pods.filter((it) => it.isEnding).map((it) => it.pod.metadata.name);

  it('does nothing while nothing is short', async () => {
    pods = [new FakePod('a')];
    expect(await setUp().eviction.round()).toBeUndefined();
    expect([evicted(), said, changes]).toEqual([[], [], 0]);
  });

  it('evicts one pod a round while memory is short, and says all of it', async () => {
    pods = [new FakePod('small'), new FakePod('large')];
    memoryMegabytes = 50;
    const { eviction, pressure } = setUp();
    await eviction.round();
    expect(evicted()).toEqual(['large']);
    expect(pods[1]?.verdict).toEqual({
      phase: 'Failed',
      reason: 'Evicted',
      message:
        'The node was low on resource: memory. Threshold quantity: 102400Ki, available: 51200Ki. ' +
        'Container main was using 20480Ki, request is 0, has larger consumption of memory. ',
      graceMs: 1000,
    });
    expect(said).toEqual(['NodeHasInsufficientMemory', 'EvictionThresholdMet', 'large: Evicted']);
    expect(counts).toEqual(['memory.available']);
    expect(pressure.conditions).toEqual(['MemoryPressure']);
    expect(changes).toBe(1);
    await eviction.round();
    expect(evicted()).toEqual(['small', 'large']);
    expect(await eviction.round()).toBeUndefined();
  });

  it('evicts whoever writes more than it allows itself, on a node that has enough', async () => {
    pods = [new FakePod('a'), new FakePod('b'), new FakePod('c', { priority: 2_000_000_000 })];
    faults.set('a', 'too much').set('c', 'too much');
    await setUp().eviction.round();
    expect(evicted()).toEqual(['a']);
    expect(pods[0]?.verdict).toEqual({
      phase: 'Failed',
      reason: 'Evicted',
      message: 'too much',
      graceMs: 1000,
    });
    expect(said).toEqual(['a: Evicted']);
    expect(counts).toEqual(['own-limit']);
  });

  it('spares critical pods', async () => {
    pods = [new FakePod('system', { priority: 2_000_000_000 })];
    memoryMegabytes = 50;
    await setUp().eviction.round();
    expect(evicted()).toEqual([]);
  });

  it('evicts nobody when removing images was enough for the disk', async () => {
    pods = [new FakePod('a')];
    diskFree = 99;
    reclaim = () => {
      diskFree = 400;
    };
    const { eviction, pressure } = setUp();
    expect(await eviction.round()).toBeUndefined();
    expect(evicted()).toEqual([]);
    expect(pressure.conditions).toEqual(['DiskPressure']);
  });

  it('evicts when it was not, or could not be done', async () => {
    pods = [new FakePod('a'), new FakePod('b')];
    diskFree = 99;
    const { eviction } = setUp();
    await eviction.round();
    expect(evicted()).toEqual(['b']);
    reclaim = () => {
      throw new Error('no');
    };
    await eviction.round();
    expect(evicted()).toEqual(['a', 'b']);
  });

  it('gives a pod of a soft threshold its own grace, as far as allowed', async () => {
    pods = [new FakePod('a'), new FakePod('b', { terminationGracePeriodSeconds: 2 })];
    memoryMegabytes = 150;
    const soft = { 'memory.available': '200Mi' };
    const { eviction } = setUp({ soft, softMs: { 'memory.available': 0 } });
    await eviction.round();
    await eviction.round();
    expect(pods.map((it) => it.verdict?.graceMs)).toEqual([5000, 2000]);
  });

  it('waits until the pod is gone before it looks again, and tells when all is well', async () => {
    pods = [new FakePod('a'), new FakePod('b')];
    memoryMegabytes = 50;
    running.add('b');
    const stop = new AbortController();
    const done = setUp().eviction.run(stop.signal);
    await clock.advance(0);
    expect(evicted()).toEqual(['b']);
    await clock.advance(20_000);
    expect(evicted()).toEqual(['b']);
    memoryMegabytes = 500;
    running.delete('b');
    await clock.advance(330_000);
    expect(evicted()).toEqual(['b']);
    expect(said.at(-1)).toBe('NodeHasSufficientMemory');
    expect(changes).toBe(2);
    stop.abort();
    await clock.advance(10_000);
    await done;
  });
});
