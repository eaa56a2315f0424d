import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type {} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { plainContainer, plainSandbox } from '#test/fixtures/runtime-configs.ts';
import { freePort } from '#test/free-port.ts';
import { createMemoryRuntime, type MemoryRuntime } from '../runtime/memory-runtime.ts';
import { RuntimeError } from '../runtime/runtime-service.ts';
import { createStatsServer } from './stats-server.ts';

const startMs = Date.UTC(2026, 0, 1);

let directory: string;
let clock: ManualClock;
let runtime: MemoryRuntime;
let port: number;
let stop: AbortController;
let running: Promise<void>;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hawser-stats-'));
  clock = new ManualClock(startMs);
  runtime = createMemoryRuntime({ clock });
  port = await freePort();
  stop = new AbortController();
  const options = { port, nodeName: 'edge-1', rootDirectory: directory, interfaceName: '' };
  const server = createStatsServer(options, { runtime, clock, log: silentLog });
  await new Promise<void>((ready) => {
    running = server.run(stop.signal, ready);
  });
});
afterEach(async () => {
  stop.abort();
  await running;
  await rm(directory, { recursive: true });
});

const get = async (path: string) => {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: answer.status, text: await answer.text() };
};

async function runPod(name: string, containers: readonly string[]) {
  const named = { podName: name, hostname: name };
  const sandboxId = await runtime.runPodSandbox(
    plainSandbox(`uid-${name}`, join(directory, 'logs', name), named),
  );
  for (const container of containers) {
    const id = await runtime.createContainer(sandboxId, plainContainer({ name: container }));
    await runtime.startContainer(id);
  }
}

const used = (cpuSeconds: number, megabytes: number) => ({
  cpuNanoseconds: cpuSeconds * 1e9,
  memory: { workingSetBytes: megabytes * 1e6, usageBytes: megabytes * 2e6, rssBytes: megabytes * 1e6 },
});

it('tells a summary in the kubelet’s form, with the rate once there are two readings', async () => {
  await runPod('web', ['main', 'side']);
  await mkdir(join(directory, 'pods/uid-web/volumes/data'), { recursive: true });
  await writeFile(join(directory, 'pods/uid-web/volumes/data/file'), Buffer.alloc(200_000));
  runtime.handle.use('main', {
    ...used(1, 10),
    writableLayer: { usedBytes: 5000, inodesUsed: 3 },
  });
  runtime.handle.use('side', used(2, 20));
  expect(JSON.parse((await get('/stats/summary')).text).pods[0].cpu.usageNanoCores).toBeUndefined();
  await clock.advance(10_000);
  runtime.handle.use('side', used(4, 20));
  const { node, pods } = JSON.parse((await get('/stats/summary')).text);
  expect(node).toMatchObject({
    nodeName: 'edge-1',
    cpu: { usageCoreNanoSeconds: expect.any(Number), usageNanoCores: expect.any(Number) },
    memory: { workingSetBytes: expect.any(Number), availableBytes: expect.any(Number) },
    fs: { capacityBytes: expect.any(Number), inodesFree: expect.any(Number) },
    rlimit: { maxpid: expect.any(Number), curproc: expect.any(Number) },
  });
  expect(pods).toHaveLength(1);
  expect(pods[0]).toMatchObject({
    podRef: { name: 'web', namespace: 'default', uid: 'uid-web' },
    startTime: '2026-01-01T00:00:00.000Z',
    cpu: { usageCoreNanoSeconds: 5e9, usageNanoCores: 200_000_000 },
    memory: { workingSetBytes: 30e6, usageBytes: 60e6, rssBytes: 30e6 },
    volume: [{ name: 'data', usedBytes: expect.any(Number) }],
  });
  expect(pods[0].volume[0].usedBytes).toBeGreaterThanOrEqual(200_000);
  expect(pods[0]['ephemeral-storage'].usedBytes).toBeGreaterThanOrEqual(205_000);
  const [main, side] = pods[0].containers;
  expect(main).toMatchObject({ name: 'main', rootfs: { usedBytes: 5000, inodesUsed: 3 } });
  expect(side).toMatchObject({
    name: 'side',
    startTime: '2026-01-01T00:00:00.000Z',
    cpu: { time: '2026-01-01T00:00:10.000Z', usageCoreNanoSeconds: 4e9, usageNanoCores: 200_000_000 },
    memory: { workingSetBytes: 20e6 },
  });
});

it('tells metrics under the kubelet’s names', async () => {
  await runPod('web', ['main']);
  runtime.handle.use('main', used(1.5, 10));
  const { text } = await get('/metrics/resource');
  expect(text).toContain(
    '# TYPE container_cpu_usage_seconds_total counter\n' +
      `container_cpu_usage_seconds_total{container="main",namespace="default",pod="web"} 1.5 ${startMs}\n`,
  );
  expect(text).toContain(
    `container_memory_working_set_bytes{container="main",namespace="default",pod="web"} 10000000 ${startMs}\n`,
  );
  expect(text).toContain(
    `container_start_time_seconds{container="main",namespace="default",pod="web"} ${startMs / 1000}\n`,
  );
  expect(text).toContain(`pod_cpu_usage_seconds_total{namespace="default",pod="web"} 1.5 ${startMs}\n`);
  expect(text).toContain(`pod_memory_working_set_bytes{namespace="default",pod="web"} 10000000 ${startMs}\n`);
  expect(text).toMatch(/^node_cpu_usage_seconds_total \d+(\.\d+)? \d+$/m);
  expect(text).toMatch(/^node_memory_working_set_bytes \d+ \d+$/m);
  expect(text).toMatch(/^scrape_error 0$/m);
  expect(text).toMatch(/^resource_scrape_error 0$/m);
});

it('tells of the node, and that something failed, while the runtime is away', async () => {
  runtime.listContainerStats = async () => {
    throw new RuntimeError('nobody answers', { code: 'unavailable', what: 'stats' });
  };
  const { status, text } = await get('/metrics/resource');
  await expect(status).toBe(200);
  expect(text).toMatch(/^scrape_error 1$/m);
  expect(text).toMatch(/^node_memory_working_set_bytes \d+ \d+$/m);
  expect(JSON.parse((await get('/stats/summary')).text).pods).toEqual([]);
});

it('asks the runtime once, however many ask within a second', async () => {
  let asked = 0;
  const { listContainerStats } = runtime;
  runtime.listContainerStats = (filter) => {
    asked += 1;
    return listContainerStats.call(runtime, filter);
  };
  await Promise.all(Array.from({ length: 20 }, () => get('/metrics/resource')));
  expect(asked).toBe(1);
  await clock.advance(1000);
  await get('/stats/summary');
  expect(asked).toBe(2);
});

it('is healthy, and knows nothing else', async () => {
  expect(await get('/healthz')).toEqual({ status: 200, text: 'ok\n' });
  expect((await get('/pods')).status).toBe(404);
});
