import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bus } from '#beehive/bus.ts';
import { ManualClock } from '#beehive/clock.ts';
import { type Log, silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { newEnvelope } from '#protocol/message.ts';
import { FakeCloud } from '#test/fixtures/edged-cloud.ts';
import { machineUse } from '#test/fixtures/machine.ts';
import { edgedConfigSchema } from '../config.ts';
import { createEdged, edgedInbox } from '../edged.ts';
import { createMemoryRuntime, type MemoryRuntime } from '../runtime/memory-runtime.ts';

interface PodObject {
  metadata: { uid: string; annotations: Record<string, string> };
}

const path = 'default/pod/web-edge-1';
const memory = { isWhole: () => true, becameWhole: async () => {} };

describe('static pods', () => {
  let directory: string;
  let manifests: string;
  let bus: Bus;
  let clock: ManualClock;
  let cloud: FakeCloud;
  let runtime: MemoryRuntime;
  let stop: AbortController;
  let running: Promise<unknown>[];
  let warned: string[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hawser-static-pods-'));
    manifests = join(directory, 'manifests');
    await mkdir(manifests);
    await chmod(directory, 0o755);
    clock = new ManualClock();
    runtime = createMemoryRuntime({ clock });
    warned = [];
    cloud = new FakeCloud(open());
    cloud.online = false;
  });
  afterEach(async () => {
    await halt();
    await rm(directory, { recursive: true, force: true });
  });

  function open(): Bus {
    bus = new Bus({ clock, log: silentLog });
    bus.open('edged', edgedInbox);
    bus.open('metamanager', { capacity: 1024, lanesMax: 32, keyOf: (it) => it.header.msg_id });
    stop = new AbortController();
    return bus;
  }
  async function halt(): Promise<void> {
    stop.abort();
    await clock.advance(10_000);
    await Promise.all(running.splice(0));
  }
  function start(): void {
    const config = edgedConfigSchema.parse({
      hostnameOverride: 'edge-1',
      nodeIP: '192.0.2.7',
      rootDirectory: join(directory, 'root'),
      tailoredKubeletConfig: { podLogsDir: join(directory, 'logs'), staticPodPath: manifests },
    });
    const log: Log = {
      ...silentLog,
      child: () => log,
      warn: (fields, text) => void warned.push(`${text} ${JSON.stringify(fields)}`),
    };
    const edged = createEdged(
      { ...config, version: '0.1.0' },
      { bus, runtime, memory, machine: async () => machineUse(), clock, log, metrics: createMetrics() },
    );
    running = [
      bus.serve('metamanager', (envelope) => cloud.handle(envelope), stop.signal),
      edged.run(stop.signal, () => {}),
    ];
  }
  /** At once, since the clock of these tests gives an editor no time for the steps of its writing. */
  async function write(file: string, text: string): Promise<void> {
    await writeFile(join(directory, file), text, { mode: 0o644 });
    await rename(join(directory, file), join(manifests, file));
  }
  const put = (file: string, command = 'run', name = 'web') =>
    write(
      file,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: {
          terminationGracePeriodSeconds: 1,
          containers: [{ name: 'main', image: 'i', command: [command] }],
        },
      }),
    );
  const until = (holds: () => unknown, what: string) => cloud.until(() => Boolean(holds()), clock, what);
  const calls = (verb: string) => runtime.handle.calls.filter((it) => it.startsWith(`${verb} `));
  const link = (content: string) =>
    bus.send(
      'edged',
      newEnvelope(
        { source: 'edgehub', group: 'resource', operation: 'connect', resource: 'node/connection' },
        content,
      ),
    );
  const send = (operation: string, content: unknown) =>
    bus.send(
      'edged',
      newEnvelope({ source: 'edgecontroller', group: 'resource', operation, resource: path }, content),
    );
  const mirror = () => cloud.objects.get(path) as PodObject | undefined;
  const connect = () => {
    cloud.online = true;
    link('cloud_connected');
  };
  const gone = async () => (await runtime.listPodSandboxes()).length === 0;

  it('run before any cloud, and stay when edgecore comes back', async () => {
    await put('web.yaml');
    start();
    await until(() => calls('start').length === 1, 'started');
    await halt();
    cloud = new FakeCloud(open());
    cloud.online = false;
    start();
    await clock.advance(120_000);
    await until(() => calls('start').length === 1, 'adopted');
    expect(calls('remove')).toEqual([]);
    expect(await runtime.listPodSandboxes()).toMatchObject([{ podName: 'web-edge-1', state: 'ready' }]);
  });

  it('are shown in the API, with their status, once there is one', async () => {
    await put('web.yaml');
    start();
    await until(() => calls('start').length === 1, 'started');
    expect(mirror()).toBeUndefined();
    connect();
    await until(mirror, 'mirror');
    const annotations = mirror()?.metadata.annotations ?? {};
    const hash = annotations['kubernetes.io/config.hash'];
    expect(hash).toMatch(/^[0-9a-f]{32}$/);
    expect(mirror()).toMatchObject({
      metadata: {
        annotations: { 'kubernetes.io/config.mirror': hash, 'kubernetes.io/config.source': 'file' },
        ownerReferences: [
          { apiVersion: 'v1', kind: 'Node', name: 'edge-1', uid: 'node-uid', controller: true },
        ],
      },
      spec: { nodeName: 'edge-1' },
    });
    await until(() => cloud.statuses('web-edge-1').at(-1)?.phase === 'Running', 'status');
    const [patch] = cloud.asks('patch', 'default/podpatch/web-edge-1');
    expect(JSON.parse(String(patch?.content)).metadata.uid).toBe(mirror()?.metadata.uid);
  });

  it('come back in the API when the mirror is deleted, and run on meanwhile', async () => {
    await put('web.yaml');
    start();
    connect();
    await until(mirror, 'mirror');
    const first = mirror();
    send('update', {
      ...first,
      metadata: { ...first?.metadata, deletionTimestamp: '2026-01-01T00:00:30Z' },
    });
    await until(() => mirror() !== undefined && mirror()?.metadata.uid !== first?.metadata.uid, 'another');
    expect(cloud.asks('delete', path)[0]?.content).toEqual({
      gracePeriodSeconds: 0,
      preconditions: { uid: first?.metadata.uid },
    });
    const second = mirror();
    send('insert', second);
    cloud.objects.delete(path);
    send('delete', second);
    await until(() => mirror() !== undefined, 'a third');
    expect(calls('start')).toHaveLength(1);
    expect(calls('stop')).toEqual([]);
  });

  it('change with their file: the old one ends before the new one starts', async () => {
    await put('web.yaml');
    start();
    connect();
    await until(mirror, 'mirror');
    const before = mirror()?.metadata;
    await put('web.yaml', 'other');
    await until(() => calls('start').length === 2, 'the new one');
    const order = runtime.handle.calls.map((it) => it.split(' ')[0]).filter((it) => it !== 'create');
    expect(order).toEqual(['sandbox', 'start', 'stop', 'remove', 'sandbox', 'start']);
    await until(
      () =>
        mirror()?.metadata.annotations['kubernetes.io/config.hash'] !==
        before?.annotations['kubernetes.io/config.hash'],
      'new mirror',
    );
  });

  it('end with their file, here and in the API', async () => {
    await put('web.yaml');
    start();
    connect();
    await until(mirror, 'mirror');
    await rm(join(manifests, 'web.yaml'));
    await until(() => calls('remove').length === 1, 'removed');
    await until(() => mirror() === undefined, 'no mirror');
    expect(await gone()).toBe(true);
    await put('web.yaml');
    await until(() => calls('start').length === 2 && mirror() !== undefined, 'again');
  });

  it('whose mirror was left behind while edgecore was away, lose it', async () => {
    cloud.online = true;
    cloud.objects.set(path, {
      metadata: {
        name: 'web-edge-1',
        namespace: 'default',
        uid: 'left',
        annotations: { 'kubernetes.io/config.mirror': 'old', 'kubernetes.io/config.hash': 'old' },
      },
      spec: { nodeName: 'edge-1', containers: [{ name: 'main', image: 'i' }] },
    });
    start();
    await until(() => mirror() === undefined, 'no mirror');
    expect(calls('sandbox')).toEqual([]);
  });

  it('keep their last good content, and harm no other, when a file becomes bad', async () => {
    await put('web.yaml');
    start();
    await until(() => calls('start').length === 1, 'started');
    await write('web.yaml', 'kind: [');
    await put('next.yaml', 'run', 'next');
    await until(() => calls('start').length === 2, 'the other');
    await until(() => warned.length > 0, 'said');
    expect(warned.join()).toMatch(
      /no static pod any more; its last one stays.*web.yaml.*default\/web-edge-1/,
    );
    await clock.advance(60_000);
    expect(calls('stop')).toEqual([]);
    expect(warned).toHaveLength(1);
  });

  it('stay over a restart at which their file is bad, until it is gone', async () => {
    await put('web.yaml');
    start();
    await until(() => calls('start').length === 1, 'started');
    await halt();
    await write('web.yaml', 'kind: [');
    cloud = new FakeCloud(open());
    cloud.online = false;
    start();
    await until(() => warned.length > 0, 'said');
    expect(warned.join()).toMatch(/its last one stays.*web.yaml.*default\/web-edge-1/);
    await clock.advance(120_000);
    expect(calls('stop')).toEqual([]);
    expect(calls('start')).toHaveLength(1);
    expect(await runtime.listPodSandboxes()).toHaveLength(1);
    await rm(join(manifests, 'web.yaml'));
    await until(() => calls('stop').length === 1, 'stopped');
    await halt();
    await write('web.yaml', 'kind: [');
    cloud = new FakeCloud(open());
    cloud.online = false;
    start();
    await clock.advance(120_000);
    expect(calls('start')).toHaveLength(1);
  });

  it('are not ended by a pod of the API that has their name', async () => {
    await put('web.yaml');
    start();
    await until(() => calls('start').length === 1, 'started');
    send('insert', {
      metadata: { name: 'web-edge-1', namespace: 'default', uid: 'impostor' },
      spec: { nodeName: 'edge-1', containers: [{ name: 'main', image: 'i' }] },
    });
    await until(() => calls('start').length === 2, 'both');
    expect(calls('stop')).toEqual([]);
  });
});
