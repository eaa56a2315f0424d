import { describe, expect, it } from 'vitest';
import { type Pod, podSchema } from '../pod/pod.ts';
import { refusalUnder } from './admission.ts';
import { evictionMessage, evictionOrder, isCritical, type PodUse, requestOf } from './eviction-order.ts';

const megabyte = 1024 ** 2;

function podOf(name: string, memory?: { request?: string; limit?: string }, spec: object = {}): Pod {
  const resources = memory && {
    ...(memory.request ? { requests: { memory: memory.request, cpu: '1' } } : {}),
    ...(memory.limit ? { limits: { memory: memory.limit, cpu: '1' } } : {}),
  };
  return podSchema.parse({
    metadata: { name, namespace: 'default', uid: name },
    spec: { containers: [{ name: 'main', image: 'i', resources }], ...spec },
  });
}

function useOf(pod: Pod, megabytes: number, over: Partial<PodUse> = {}): [string, PodUse] {
  const bytes = megabytes * megabyte;
  const containers = [{ name: 'main', memoryBytes: bytes, diskBytes: bytes }];
  const use = { pod, memoryBytes: bytes, diskBytes: bytes, inodes: 0, processes: 0, containers, ...over };
  return [pod.metadata.uid, use];
}

const names = (pods: readonly Pod[]) => pods.map((it) => it.metadata.name);

describe('the order of eviction', () => {
  it('is BestEffort, Burstable above its request, Guaranteed', () => {
    const bestEffort = podOf('best-effort');
    const burstable = podOf('burstable', { request: '50Mi' });
    const guaranteed = podOf('guaranteed', { request: '200Mi', limit: '200Mi' });
    const modest = podOf('modest', { request: '500Mi' });
    const pods = [guaranteed, modest, burstable, bestEffort];
    const uses = new Map([
      useOf(bestEffort, 100),
      useOf(burstable, 100),
      useOf(guaranteed, 190),
      useOf(modest, 100),
    ]);
    expect(names(evictionOrder('memory.available', pods, uses))).toEqual([
      'best-effort',
      'burstable',
      'guaranteed',
      'modest',
    ]);
  });

  it('puts priority behind exceeding and before size', () => {
    const important = podOf('important', undefined, { priority: 1000 });
    const small = podOf('small');
    const within = podOf('within', { request: '500Mi' }, { priority: -5 });
    const uses = new Map([useOf(important, 400), useOf(small, 10), useOf(within, 400)]);
    expect(names(evictionOrder('memory.available', [important, small, within], uses))).toEqual([
      'small',
      'important',
      'within',
    ]);
  });

  it('counts disk and inodes against disk, and processes by number', () => {
    const writer = podOf('writer');
    const idle = podOf('idle');
    const uses = new Map([
      useOf(idle, 1, { inodes: 9, processes: 100 }),
      useOf(writer, 50, { inodes: 5, processes: 3 }),
    ]);
    const pods = [idle, writer];
    expect(names(evictionOrder('nodefs.available', pods, uses))).toEqual(['writer', 'idle']);
    expect(names(evictionOrder('nodefs.inodesFree', pods, uses))).toEqual(['idle', 'writer']);
    expect(names(evictionOrder('pid.available', pods, uses))).toEqual(['idle', 'writer']);
  });

  it('puts first of what nothing is known, in a stable way', () => {
    const [a, b, c] = [podOf('a'), podOf('b'), podOf('c')];
    expect(names(evictionOrder('memory.available', [a, b, c], new Map([useOf(a, 1)])))).toEqual([
      'b',
      'c',
      'a',
    ]);
  });

  it('takes the larger of init containers and the sum of the others for the request', () => {
    const resources = (memory: string) => ({ requests: { memory } });
    const pod = podOf('p', undefined, {
      initContainers: [
        { name: 'i', resources: resources('300Mi') },
        { name: 's', restartPolicy: 'Always', resources: resources('50Mi') },
      ],
      containers: [
        { name: 'a', resources: resources('100Mi') },
        { name: 'b', resources: { limits: { memory: '100Mi' } } },
      ],
    });
    expect(requestOf(pod, 'memory')).toBe(300 * megabyte);
  });

  it('says it in the kubelet’s words', () => {
    const pod = podOf('p', { request: '50Mi' });
    const threshold = {
      signal: 'memory.available',
      amount: '100Mi',
      softMs: undefined,
      minReclaim: undefined,
    } as const;
    const met = { threshold, observation: { available: 80 * megabyte, capacity: 1024 * megabyte } };
    expect(evictionMessage(met, 100 * megabyte, useOf(pod, 60)[1], pod)).toBe(
      'The node was low on resource: memory. Threshold quantity: 102400Ki, available: 81920Ki. ' +
        'Container main was using 61440Ki, request is 51200Ki, has larger consumption of memory. ',
    );
    expect(evictionMessage(met, 100 * megabyte, useOf(pod, 40)[1], pod)).toBe(
      'The node was low on resource: memory. Threshold quantity: 102400Ki, available: 81920Ki. ',
    );
  });

  it('spares what the system or the machine itself runs', () => {
    expect(isCritical(podOf('a'))).toBe(false);
    expect(isCritical(podOf('a', undefined, { priority: 2_000_000_000 }))).toBe(true);
    const file = podOf('file');
    const fromFile = {
      ...file,
      metadata: { ...file.metadata, annotations: { 'kubernetes.io/config.hash': 'file' } },
    };
    expect(isCritical(fromFile)).toBe(true);
    const claims = { 'kubernetes.io/config.hash': 'other', 'kubernetes.io/config.source': 'file' };
    expect(isCritical({ ...file, metadata: { ...file.metadata, annotations: claims } })).toBe(false);
  });
});

describe('admission', () => {
  const refused = (conditions: Parameters<typeof refusalUnder>[0], pod: Pod) =>
    refusalUnder(conditions, pod)?.message;
  const bestEffort = podOf('a');
  const burstable = podOf('b', { request: '1Mi' });

  it('takes all while nothing is short', () => {
    expect(refused([], bestEffort)).toBeUndefined();
  });

  it('refuses BestEffort while memory is short, unless it tolerates that', () => {
    expect(refusalUnder(['MemoryPressure'], bestEffort)).toEqual({
      phase: 'Failed',
      reason: 'Evicted',
      message: 'Pod was rejected: The node had condition: [MemoryPressure]. ',
    });
    expect(refused(['MemoryPressure'], burstable)).toBeUndefined();
    const tolerations = [
      { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
    ];
    expect(refused(['MemoryPressure'], podOf('t', undefined, { tolerations }))).toBeUndefined();
    const other = [{ key: 'node.kubernetes.io/disk-pressure', operator: 'Exists' }];
    expect(refused(['MemoryPressure'], podOf('t', undefined, { tolerations: other }))).toBeDefined();
  });

  it('refuses all but critical ones while the disk is short', () => {
    expect(refused(['DiskPressure'], burstable)).toContain('[DiskPressure]');
    expect(refused(['MemoryPressure', 'DiskPressure'], burstable)).toContain('[MemoryPressure DiskPressure]');
    expect(refused(['DiskPressure'], podOf('c', undefined, { priority: 2_000_001_000 }))).toBeUndefined();
  });

  it('leaves alone what has started before', () => {
    const started = podSchema.parse({ ...bestEffort, status: { startTime: '2026-01-01T00:00:00Z' } });
    expect(refused(['DiskPressure'], started)).toBeUndefined();
  });
});
