import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bus } from '#beehive/bus.ts';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import { newEnvelope } from '#protocol/message.ts';
import { FakeCloud, type Status } from '#test/fixtures/edged-cloud.ts';
import { machineUse } from '#test/fixtures/machine.ts';
import { plainSandbox } from '#test/fixtures/runtime-configs.ts';
import { edgedConfigSchema } from './config.ts';
import { createEdged, edgedInbox } from './edged.ts';
import { createMemoryRuntime, type MemoryRuntime } from './runtime/memory-runtime.ts';
import { RuntimeError } from './runtime/runtime-service.ts';

describe('edged', () => {
  let directory: string;
  let bus: Bus;
  let clock: ManualClock;
  let cloud: FakeCloud;
  let runtime: MemoryRuntime;
  let isWhole: boolean;
  const memory = {
    isWhole: () => isWhole,
    becameWhole: async () => {
      isWhole = true;
    },
  };
  const machine = async () => machineUse();
  let stop: AbortController;
  let running: Promise<unknown>[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hawser-edged-'));
    clock = new ManualClock();
    bus = new Bus({ clock, log: silentLog });
    bus.open('edged', edgedInbox);
    bus.open('metamanager', { capacity: 1024, lanesMax: 32, keyOf: (it) => it.header.msg_id });
    cloud = new FakeCloud(bus);
    runtime = createMemoryRuntime({ clock });
    isWhole = true;
    stop = new AbortController();
    running = [bus.serve('metamanager', (envelope) => cloud.handle(envelope), stop.signal)];
  });
  afterEach(async () => {
    await halt();
    await rm(directory, { recursive: true, force: true });
  });

  async function halt(): Promise<void> {
    stop.abort();
    await clock.advance(10_000);
    await Promise.all(running.splice(0));
  }
  function start(): void {
    running.push(create().run(stop.signal, () => {}));
  }
  function create(): Module {
    const config = edgedConfigSchema.parse({
      hostnameOverride: 'edge-1',
      nodeIP: '192.0.2.7',
      rootDirectory: directory,
      tailoredKubeletConfig: { podLogsDir: join(directory, 'logs'), staticPodPath: '' },
    });
    return createEdged(
      { ...config, version: '0.1.0' },
      { bus, runtime, memory, machine, clock, log: silentLog, metrics: createMetrics() },
    );
  }
  const pod = (spec: Record<string, unknown> = {}, meta: Record<string, unknown> = {}) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'hello', namespace: 'default', uid: 'uid-1', ...meta },
    spec: { nodeName: 'edge-1', containers: [{ name: 'main', image: 'i', command: ['run'] }], ...spec },
  });
  const send = (operation: string, resource: string, content: unknown) =>
    bus.send(
      'edged',
      newEnvelope({ source: 'edgecontroller', group: 'resource', operation, resource }, content),
    );
  const connected = () =>
    bus.send(
      'edged',
      newEnvelope(
        { source: 'edgehub', group: 'resource', operation: 'connect', resource: 'node/connection' },
        'cloud_connected',
      ),
    );
  const lastStatus = (name = 'hello') => cloud.statuses(name).at(-1);
  const untilStatus = (holds: (status: Status) => boolean | undefined, what: string) =>
    cloud.until(
      () => {
        const status = lastStatus();
        return status !== undefined && holds(status) && status;
      },
      clock,
      what,
    );

  const sandbox = (name: string) => plainSandbox(name, directory);
  const sandboxUids = async () => (await runtime.listPodSandboxes()).map(({ podUid }) => podUid);

  it('registers the node, reports it and renews the lease', async () => {
    start();
    await cloud.until(() => cloud.asks('update', 'kube-node-lease/lease/edge-1').length > 1, clock, 'lease');
    const [registered] = cloud.asks('insert', 'null/node/edge-1');
    expect(registered?.content).toMatchObject({
      metadata: { labels: { 'node-role.kubernetes.io/edge': '', 'kubernetes.io/os': 'linux' } },
      status: {
        addresses: [
          { type: 'InternalIP', address: '192.0.2.7' },
          { type: 'Hostname', address: 'edge-1' },
        ],
      },
    });
    const [patch] = cloud.asks('patch', 'null/nodepatch/edge-1');
    const { status } = JSON.parse(String(patch?.content));
    expect(status.conditions.find((it: { type: string }) => it.type === 'Ready').status).toBe('True');
    expect(status.nodeInfo.kubeletVersion).toBe('v1.32.0-hawser-v0.1.0');
    expect(status.daemonEndpoints).toBeUndefined();
    const [lease] = cloud.asks('insert', 'kube-node-lease/lease/edge-1');
    expect(lease?.content).toMatchObject({
      metadata: { ownerReferences: [{ kind: 'Node', uid: 'node-uid' }] },
      spec: { holderIdentity: 'edge-1', leaseDurationSeconds: 40 },
    });
    expect(cloud.asks('patch', 'null/nodepatch/edge-1')).toHaveLength(1);
    const sentMs = clock.now();
    await cloud.until(() => cloud.asks('patch', 'null/nodepatch/edge-1').length > 1, clock, 'the next', 5000);
    expect(clock.now() - sentMs).toBeGreaterThan(250_000);
  });

  it('starts again as often as it is told to, as when the runtime is away at first', async () => {
    const { version } = runtime;
    const edged = create();
    runtime.version = async () => {
      throw new RuntimeError('nobody answers', { code: 'unavailable', what: 'Version' });
    };
    await expect(edged.run(stop.signal, () => {})).rejects.toThrow('nobody answers');
    await expect(edged.run(stop.signal, () => {})).rejects.toThrow('nobody answers');
    runtime.version = version;
    running.push(edged.run(stop.signal, () => {}));
    send('insert', 'default/pod/hello', pod());
    await untilStatus((it) => it.phase === 'Running', 'Running');
  });

  it('keeps one dead container, however often a pod crashes', async () => {
    start();
    send('insert', 'default/pod/hello', pod());
    for (let crashes = 0; crashes < 5; crashes += 1) {
      await untilStatus((it) => it.containerStatuses[0]?.restartCount === crashes, `start ${crashes}`);
      await untilStatus((it) => it.containerStatuses[0]?.ready, 'ready');
      runtime.handle.exit('main', 1);
      await clock.advance(300_000);
    }
    await untilStatus((it) => it.containerStatuses[0]?.restartCount === 5, 'the last start');
    const dead = (await runtime.listContainers()).filter((it) => it.state === 'exited');
    expect(dead.map((it) => it.attempt)).toEqual([4]);
  });

  it('runs a stored pod with the cloud away, and registers when it comes', async () => {
    cloud.online = false;
    cloud.objects.set('default/pod/hello', pod());
    start();
    await cloud.until(() => runtime.handle.calls.includes('start main#0'), clock, 'the start');
    await clock.advance(30_000);
    expect(cloud.nodeExists).toBe(false);
    cloud.online = true;
    const before = cloud.statuses('hello').length;
    connected();
    await cloud.until(
      () => cloud.nodeExists && cloud.statuses('hello').length > before,
      clock,
      'the reports',
    );
    expect(lastStatus()?.phase).toBe('Running');
  });

  it('reports a pod Running and Ready with its transition times', async () => {
    start();
    send('update', 'default/pod/hello', pod());
    const status = await untilStatus((it) => it.phase === 'Running', 'Running');
    expect(status).toMatchObject({ podIP: '192.0.2.7', hostIP: '192.0.2.7', qosClass: 'BestEffort' });
    expect(status.conditions.find((it) => it.type === 'Ready')?.status).toBe('True');
    expect(status.containerStatuses[0]).toMatchObject({
      ready: true,
      restartCount: 0,
      state: { running: {} },
    });
    const [patch] = cloud.asks('patch', 'default/podpatch/hello');
    expect(JSON.parse(String(patch?.content)).metadata).toEqual({ uid: 'uid-1' });
    expect(
      cloud.asks('insert', 'default/event/').map((it) => (it.content as { reason: string }).reason),
    ).toEqual(['Created', 'Started']);
  });

  it('restarts with back-off and says CrashLoopBackOff', async () => {
    start();
    send('insert', 'default/pod/hello', pod());
    await untilStatus((it) => it.phase === 'Running', 'Running');
    runtime.handle.exit('main', 1);
    await untilStatus((it) => it.containerStatuses[0]?.restartCount === 1, 'the first restart, at once');
    runtime.handle.exit('main', 1);
    const waiting = await untilStatus(
      (it) => it.containerStatuses[0]?.state.waiting !== undefined,
      'the wait',
    );
    expect(waiting.containerStatuses[0]).toMatchObject({
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: { exitCode: 1 } },
      restartCount: 1,
    });
    expect(waiting.conditions.find((it) => it.type === 'Ready')?.status).toBe('False');
    await clock.advance(10_000);
    await untilStatus((it) => it.containerStatuses[0]?.restartCount === 2, 'the second restart');
  });

  it('waits for a missing configMap with the reason, and heals when it comes', async () => {
    const container = {
      name: 'main',
      image: 'i',
      command: ['run'],
      envFrom: [{ configMapRef: { name: 'settings' } }],
    };
    start();
    send('insert', 'default/pod/hello', pod({ containers: [container] }));
    const waiting = await untilStatus(
      (it) => it.containerStatuses[0]?.state.waiting?.message !== undefined,
      'wait',
    );
    expect(waiting.phase).toBe('Pending');
    expect(waiting.containerStatuses[0]?.state.waiting).toEqual({
      reason: 'CreateContainerConfigError',
      message: 'configmap "settings" not found',
    });
    const settings = { metadata: { name: 'settings' }, data: { A: '1' } };
    cloud.objects.set('default/configmap/settings', settings);
    send('update', 'default/configmap/settings', settings);
    await untilStatus((it) => it.phase === 'Running', 'Running');
  });

  it('reports why a container cannot be started, and starts it when it can', async () => {
    const refused = new RuntimeError('no `command`', { code: 'cannot-create', name: 'main' });
    runtime.handle.failStart('main', refused);
    start();
    send('insert', 'default/pod/hello', pod());
    const waiting = await untilStatus(
      (it) => it.containerStatuses[0]?.state.waiting?.message !== undefined,
      'wait',
    );
    expect(waiting.containerStatuses[0]?.state.waiting).toEqual({
      reason: 'CreateContainerError',
      message: 'no `command`',
    });
    runtime.handle.failStart('main', undefined);
    await untilStatus((it) => it.phase === 'Running', 'Running');
  });

  it('writes configMap volumes, and follows a change', async () => {
    const settings = (value: string) => ({ metadata: { name: 'settings' }, data: { 'a.txt': value } });
    cloud.objects.set('default/configmap/settings', settings('one'));
    start();
    send('insert', 'default/pod/hello', pod({ volumes: [{ name: 'v', configMap: { name: 'settings' } }] }));
    await untilStatus((it) => it.phase === 'Running', 'Running');
    const file = join(directory, 'pods/uid-1/volumes/v/a.txt');
    expect(await readFile(file, 'utf8')).toBe('one');
    cloud.objects.set('default/configmap/settings', settings('two'));
    send('update', 'default/configmap/settings', settings('two'));
    const changedMs = clock.now();
    await expect.poll(() => readFile(file, 'utf8')).toBe('two');
    expect(clock.now() - changedMs).toBeLessThan(10_000);
    expect(runtime.handle.calls.filter((it) => it.startsWith('start'))).toHaveLength(1);
  });

  it('ends a deleted pod: grace, last status, delete with uid, and cleans up when it is gone', async () => {
    start();
    send('insert', 'default/pod/hello', pod({ volumes: [{ name: 'v', emptyDir: {} }] }));
    await untilStatus((it) => it.phase === 'Running', 'Running');
    const logs = join(directory, 'logs/default_hello_uid-1');
    await mkdir(join(logs, 'main'), { recursive: true });
    await writeFile(join(logs, 'main/0.log'), '2026-01-01T00:00:00Z stdout F hello\n');
    const deleted = pod({}, { deletionTimestamp: '2026-01-01T00:01:00Z', deletionGracePeriodSeconds: 5 });
    send('update', 'default/pod/hello', deleted);
    const [ask] = await cloud.until(
      () => {
        const asks = cloud.asks('delete', 'default/pod/hello');
        return asks.length > 0 && asks;
      },
      clock,
      'the delete',
    );
    expect(ask?.content).toEqual({ gracePeriodSeconds: 0, preconditions: { uid: 'uid-1' } });
    expect(lastStatus()).toMatchObject({
      phase: 'Failed',
      containerStatuses: [{ state: { terminated: { exitCode: 143 } } }],
    });
    const patchAt = cloud.asked.findLastIndex((it) => it.resource === 'default/podpatch/hello');
    expect(patchAt).toBeLessThan(cloud.asked.findIndex((it) => it.operation === 'delete'));
    send('update', 'default/pod/hello', deleted);
    send('delete', 'default/pod/hello', deleted);
    await expect
      .poll(async () => {
        await clock.advance(100);
        return (await runtime.listPodSandboxes()).length;
      })
      .toBe(0);
    await expect.poll(() => existsSync(join(directory, 'pods/uid-1'))).toBe(false);
    await expect.poll(() => existsSync(logs)).toBe(false);
    send('update', 'default/pod/hello', deleted);
    const asked = cloud.asks('delete', 'default/pod/hello').length;
    await clock.advance(30_000);
    expect(cloud.asks('delete', 'default/pod/hello')).toHaveLength(asked);
  });

  it('ends and forgets a pod that the API has lost, without asking', async () => {
    start();
    send('insert', 'default/pod/hello', pod());
    await untilStatus((it) => it.phase === 'Running', 'Running');
    send('delete', 'default/pod/hello', { metadata: { name: 'hello', namespace: 'default', uid: 'uid-1' } });
    await cloud.until(() => runtime.handle.calls.includes('remove main#0'), clock, 'the removal');
    expect(cloud.asks('delete', 'default/pod/hello')).toEqual([]);
  });

  it('delays no other pod while one ignores TERM, and obeys a shorter grace', async () => {
    runtime.handle.ignoreTerm('main');
    start();
    send('insert', 'default/pod/hello', pod());
    await untilStatus((it) => it.phase === 'Running', 'Running');
    const logs = join(directory, 'logs/default_hello_uid-1');
    await mkdir(join(logs, 'main'), { recursive: true });
    await writeFile(join(logs, 'main/0.log'), '2026-01-01T00:00:00Z stdout F hello\n');
    const deleted = (seconds: number) =>
      pod({}, { deletionTimestamp: '2026-01-01T00:01:00Z', deletionGracePeriodSeconds: seconds });
    send('update', 'default/pod/hello', deleted(3600));
    await cloud.until(() => runtime.handle.calls.includes('stop main#0'), clock, 'the stop');
    send('insert', 'default/pod/other', pod({}, { name: 'other', uid: 'uid-2' }));
    await cloud.until(() => cloud.statuses('other').at(-1)?.phase === 'Running', clock, 'the other pod');
    expect(cloud.asks('delete', 'default/pod/hello')).toEqual([]);
    send('update', 'default/pod/hello', deleted(1));
    await cloud.until(() => cloud.asks('delete', 'default/pod/hello').length > 0, clock, 'the delete');
  });

  it('adopts what runs, keeps the count, and removes orphans only after the list', async () => {
    cloud.objects.set('default/pod/hello', pod());
    start();
    await untilStatus((it) => it.phase === 'Running', 'Running');
    runtime.handle.exit('main', 1);
    await untilStatus((it) => it.containerStatuses[0]?.restartCount === 1, 'the restart');
    await runtime.runPodSandbox(sandbox('orphan'));
    // The second is of another kubelet: nothing in our runtime speaks for it.
    const logs = ['orphan', 'neighbour'].map((name) => join(directory, `logs/default_${name}_${name}`));
    for (const it of logs) await mkdir(it, { recursive: true });
    await halt();
    const calls = runtime.handle.calls.length;
    cloud.asked.length = 0;
    stop = new AbortController();
    running = [bus.serve('metamanager', (envelope) => cloud.handle(envelope), stop.signal)];
    start();
    const status = await untilStatus((it) => it.phase === 'Running', 'Running');
    expect(status.containerStatuses[0]?.restartCount).toBe(1);
    await expect.poll(sandboxUids).toEqual(['uid-1']);
    expect(logs.map((it) => existsSync(it))).toEqual([false, true]);
    expect(runtime.handle.calls.slice(calls)).toEqual([]);
  });

  it('tries an orphan that cannot be removed again, and the others meanwhile', async () => {
    const stuck = await runtime.runPodSandbox(sandbox('stuck'));
    await runtime.runPodSandbox(sandbox('other'));
    const remove = runtime.removePodSandbox.bind(runtime);
    let tries = 0;
    runtime.removePodSandbox = async (id) => {
      if (id === stuck && ++tries === 1) throw new RuntimeError('busy', { code: 'refused', what: 'remove' });
      return remove(id);
    };
    start();
    await expect.poll(sandboxUids).toEqual(['stuck']);
    await clock.advance(60_000);
    await expect.poll(sandboxUids).toEqual([]);
  });

  it('after a loss of the store removes nothing but what the cloud deletes, until it is filled', async () => {
    isWhole = false;
    for (const name of ['kept', 'deleted', 'over']) await runtime.runPodSandbox(sandbox(name));
    // A copy of the store may have some pods: that is no proof that it has all.
    cloud.objects.set('default/pod/hello', pod());
    start();
    await untilStatus((it) => it.phase === 'Running', 'Running');
    connected();
    await clock.advance(600_000);
    send('delete', 'default/pod/deleted', {
      metadata: { name: 'deleted', namespace: 'default', uid: 'deleted' },
    });
    await expect.poll(sandboxUids).toEqual(expect.not.arrayContaining(['deleted']));
    expect((await sandboxUids()).sort()).toEqual(['kept', 'over', 'uid-1']);
    send('insert', 'default/pod/kept', pod({}, { name: 'kept', uid: 'kept' }));
    isWhole = true;
    await clock.advance(60_000);
    await expect.poll(async () => (await sandboxUids()).sort()).toEqual(['kept', 'uid-1']);
  });

  it('a store that is new, with nothing running, lacks nothing', async () => {
    isWhole = false;
    start();
    await cloud.until(() => isWhole, clock, 'a whole store');
  });

  it('sends the newest status only, once the link is back', async () => {
    start();
    send('insert', 'default/pod/hello', pod());
    await untilStatus((it) => it.phase === 'Running', 'Running');
    cloud.online = false;
    const before = cloud.statuses('hello').length;
    runtime.handle.exit('main', 1);
    await cloud.until(() => cloud.statuses('hello').length > before, clock, 'a refused status');
    cloud.online = true;
    const refused = cloud.statuses('hello').length;
    connected();
    await cloud.until(() => cloud.statuses('hello').length > refused, clock, 'the status');
    expect(lastStatus()?.containerStatuses[0]).toMatchObject({ restartCount: 1, ready: true });
    await clock.advance(60_000);
    expect(cloud.statuses('hello').length).toBeLessThanOrEqual(refused + 2);
  });

  it('survives pods that make no sense', async () => {
    start();
    for (const content of [null, 'x', {}, { metadata: { name: 'x' } }, { metadata: { uid: 'u' }, spec: 1 }])
      send('insert', 'default/pod/x', content);
    for (const meta of [{ uid: '../../x' }, { namespace: '..' }, { name: 'x/../../y' }])
      send('insert', 'default/pod/x', pod({}, { uid: 'odd', ...meta }));
    send('delete', 'default/pod/x', { metadata: { name: 'x' } });
    send('update', 'nonsense', {});
    send('insert', 'default/pod/hello', pod());
    await untilStatus((it) => it.phase === 'Running', 'Running');
    expect((await runtime.listPodSandboxes()).map((it) => it.podUid)).toEqual(['uid-1']);
  });
});
