import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bus } from '#beehive/bus.ts';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { newEnvelope } from '#protocol/message.ts';
import { FakeCloud } from '#test/fixtures/edged-cloud.ts';
import { type MachineShort, machineUse } from '#test/fixtures/machine.ts';
import { edgedConfigSchema } from '../config.ts';
import { createEdged, edgedInbox } from '../edged.ts';
import { createMemoryRuntime, type MemoryRuntime } from '../runtime/memory-runtime.ts';

const megabyte = 1024 ** 2;

interface Told {
  phase?: string;
  reason?: string;
  message?: string;
}

describe('a node that gets short of something', () => {
  let directory: string;
  let bus: Bus;
  let clock: ManualClock;
  let cloud: FakeCloud;
  let runtime: MemoryRuntime;
  let short: MachineShort;
  let stop: AbortController;
  let running: Promise<unknown>[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hawser-care-'));
    clock = new ManualClock();
    bus = new Bus({ clock, log: silentLog });
    bus.open('edged', edgedInbox);
    bus.open('metamanager', { capacity: 1024, lanesMax: 32, keyOf: (it) => it.header.msg_id });
    cloud = new FakeCloud(bus);
    runtime = createMemoryRuntime({ clock });
    runtime.handle.onPull(async (reference) => reference);
    short = {};
    stop = new AbortController();
    running = [bus.serve('metamanager', (envelope) => cloud.handle(envelope), stop.signal)];
  });
  afterEach(async () => {
    stop.abort();
    await clock.advance(60_000);
    await Promise.all(running);
    await rm(directory, { recursive: true, force: true });
  });

  function start(): void {
    const config = edgedConfigSchema.parse({
      hostnameOverride: 'edge-1',
      nodeIP: '192.0.2.7',
      rootDirectory: directory,
      tailoredKubeletConfig: { podLogsDir: join(directory, 'logs'), staticPodPath: '' },
    });
    const edged = createEdged(
      { ...config, version: '0.1.0' },
      {
        bus,
        runtime,
        memory: { isWhole: () => true, becameWhole: async () => {} },
        machine: async () => machineUse(short),
        clock,
        log: silentLog,
        metrics: createMetrics(),
      },
    );
    running.push(edged.run(stop.signal, () => {}));
  }
  const podOf = (name: string, spec: object = {}, container: object = {}) => ({
    metadata: { name, namespace: 'default', uid: `uid-${name}` },
    spec: {
      nodeName: 'edge-1',
      containers: [{ name, image: `r.test/${name}:1`, command: ['run'], ...container }],
      ...spec,
    },
  });
  const send = (content: { metadata: { name: string } }) =>
    bus.send(
      'edged',
      newEnvelope(
        {
          source: 'edgecontroller',
          group: 'resource',
          operation: 'insert',
          resource: `default/pod/${content.metadata.name}`,
        },
        content,
      ),
    );
  const told = (name: string) =>
    cloud.asked
      .filter((it) => it.resource === `default/podpatch/${name}`)
      .map((it): Told => JSON.parse(String(it.content)).status)
      .at(-1);
  const conditions = () =>
    cloud.asked
      .filter((it) => it.resource === 'null/nodepatch/edge-1')
      .map((it): { type: string; status: string }[] => JSON.parse(String(it.content)).status.conditions)
      .at(-1);
  const has = (type: string, status: string) =>
    conditions()?.some((it) => it.type === type && it.status === status);
  const events = () =>
    cloud.asked
      .filter((it) => it.resource.startsWith('default/event/'))
      .map((it) => it.content as { reason: string; involvedObject: { kind: string; name: string } });
  const until = (holds: () => boolean | undefined, what: string) => cloud.until(holds, clock, what, 500);
  const request = { resources: { requests: { memory: '100Mi' } } };

  it('evicts BestEffort first, and takes no new one; what is modest runs on', async () => {
    start();
    send(podOf('modest', {}, request));
    send(podOf('greedy'));
    await until(() => told('modest')?.phase === 'Running' && told('greedy')?.phase === 'Running', 'both');
    const use = (bytes: number) => ({ memory: { workingSetBytes: bytes } });
    runtime.handle.use('modest', use(90 * megabyte));
    runtime.handle.use('greedy', use(50 * megabyte));
    short = { memoryAvailableBytes: 50 * megabyte };
    await until(() => told('greedy')?.phase === 'Failed', 'the eviction');
    short = { memoryAvailableBytes: 100 * megabyte };
    expect(told('greedy')).toMatchObject({
      reason: 'Evicted',
      message:
        'The node was low on resource: memory. Threshold quantity: 102400Ki, available: 51200Ki. ' +
        'Container greedy was using 51200Ki, request is 0, has larger consumption of memory. ',
    });
    await until(() => has('MemoryPressure', 'True'), 'the condition');
    expect(events().find((it) => it.reason === 'Evicted')?.involvedObject.name).toBe('greedy');
    expect(events().find((it) => it.reason === 'NodeHasInsufficientMemory')?.involvedObject).toMatchObject({
      kind: 'Node',
      name: 'edge-1',
    });
    send(podOf('late'));
    send(podOf('wanted', {}, request));
    await until(() => told('wanted')?.phase === 'Running' && told('late')?.phase === 'Failed', 'admission');
    expect(told('late')).toMatchObject({
      reason: 'Evicted',
      message: 'Pod was rejected: The node had condition: [MemoryPressure]. ',
    });
    expect(runtime.handle.calls.filter((it) => it.endsWith('late#0'))).toEqual([]);
    expect(told('modest')?.phase).toBe('Running');
    await cloud.until(() => has('MemoryPressure', 'False'), clock, 'the end of the condition', 5000);
    send(podOf('later'));
    await until(() => told('later')?.phase === 'Running', 'a new pod');
    expect(runtime.handle.calls.filter((it) => it === 'start greedy#0')).toHaveLength(1);
  });

  it('removes images that nobody needs before it evicts for the disk', async () => {
    for (const name of ['r.test/web:1', 'r.test/old:1', 'r.test/others:1']) runtime.handle.images.add(name);
    runtime.handle.imageFacts.set('r.test/others:1', { usedByOthers: true });
    const { removeImage } = runtime;
    runtime.removeImage = async (name) => {
      await removeImage.call(runtime, name);
      short = {};
    };
    cloud.objects.set('default/pod/web', podOf('web', {}, { imagePullPolicy: 'IfNotPresent' }));
    start();
    await until(() => told('web')?.phase === 'Running', 'running');
    short = { diskAvailableBytes: 1000 };
    await until(() => has('DiskPressure', 'True'), 'the condition');
    await clock.advance(60_000);
    expect([...runtime.handle.images]).toEqual(['r.test/web:1', 'r.test/others:1']);
    expect(told('web')?.phase).toBe('Running');
  });
});
