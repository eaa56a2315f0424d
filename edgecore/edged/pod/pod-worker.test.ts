import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ManualClock } from '#beehive/clock.ts';
import { image, refused, said, WorkingPods } from '#test/fixtures/working-pods.ts';
import type { ImagePulls } from '../images/image-pulls.ts';
import type { MemoryRuntime } from '../runtime/memory-runtime.ts';
import { RuntimeError } from '../runtime/runtime-service.ts';
import type { Pod } from './pod.ts';

const unavailable = new RuntimeError('away', { code: 'unavailable', what: 'start' });

describe('a pod with images, probes and hooks', () => {
  let pods: WorkingPods;
  let clock: ManualClock;
  let runtime: MemoryRuntime;
  let events: readonly string[];
  let pulls: ImagePulls;

  beforeEach(() => {
    pods = new WorkingPods();
    ({ clock, runtime, events, pulls } = pods);
  });
  afterEach(() => pods.end());

  const podOf = (container: object, meta: object = {}, spec: object = {}) => pods.pod(container, meta, spec);
  const work = (pod: Pod) => pods.work(pod);
  const until = (holds: () => boolean | undefined, what: string, stepMs = 100) =>
    pods.until(holds, what, stepMs);
  const last = (name = 'app') => pods.last(name);
  const statuses = () => pods.statuses();
  const reasons = () => pods.reasons();
  const starts = () => pods.calls('start').length;
  const pulled = () => pods.calls('pull').length;
  const count = (reason: string) => pods.count(reason);

  it('pulls what is missing and says so; what is there is not pulled again', async () => {
    work(podOf({}));
    await until(() => last()?.ready === true, 'ready');
    expect(pulled()).toBe(1);
    expect(events.slice(0, 2)).toEqual([
      `Pulling: Pulling image "${image}"`,
      expect.stringMatching(/^Pulled: Successfully pulled/),
    ]);
    runtime.handle.exit('main', 1);
    await until(() => last()?.restartCount === 1, 'restart');
    expect(pulled()).toBe(1);
    expect(events).toContain(`Pulled: Container image "${image}" already present on machine`);
  });

  it('finds a container whose start was under way when edgecore was killed, and leaves it alone', async () => {
    const release = runtime.handle.holdStart('main');
    work(podOf({}));
    await until(() => pods.calls('create').length === 1, 'created');
    pods.kill();
    work(podOf({}));
    await until(() => clock.now() > 5000, 'the next edgecore has looked');
    expect(last()?.state).toEqual({ waiting: expect.objectContaining({ reason: 'ContainerCreating' }) });
    release();
    await until(() => last()?.ready === true, 'ready');
    expect(last()?.restartCount).toBe(0);
    expect(runtime.handle.calls.filter((it) => it.includes('main'))).toEqual([
      'create main#0',
      'start main#0',
    ]);
  });

  it('reads its volumes again when they change while they are read', async () => {
    let release = () => {};
    let reads = 0;
    const prepare = async () => {
      reads += 1;
      if (reads === 2)
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      return { paths: new Map<string, string>(), refreshAtMs: undefined };
    };
    const volumes = { prepare, remove: async () => {}, present: async () => [] };
    const worker = pods.work(podOf({}), { volumes });
    await until(() => last()?.ready === true, 'ready');
    expect(reads).toBe(1);
    worker.poke('volumes');
    await until(() => reads === 2, 'being read');
    worker.poke('volumes');
    release();
    const sinceMs = clock.now();
    await until(() => reads === 3, 'read again');
    expect(clock.now() - sinceMs).toBeLessThan(1000);
  });

  it('starts a container that was created before edgecore was killed', async () => {
    runtime.handle.failStart('main', unavailable);
    work(podOf({}));
    await until(() => pods.calls('create').length === 1, 'created');
    pods.kill();
    runtime.handle.failStart('main', undefined);
    work(podOf({}));
    await until(() => last()?.ready === true, 'ready');
    expect(runtime.handle.calls.filter((it) => it.includes('main'))).toEqual([
      'create main#0',
      'start main#0',
    ]);
  });

  it('waits for the end of a start before it removes a container of an older image', async () => {
    const release = runtime.handle.holdStart('main');
    work(podOf({}));
    await until(() => pods.calls('create').length === 1, 'created');
    pods.kill();
    const begunMs = clock.now();
    work(podOf({ image: 'registry.test/app:2' }));
    await until(() => clock.now() > begunMs + 5000, 'the next edgecore has looked');
    release();
    await until(() => last()?.ready === true, 'ready');
    expect(runtime.handle.calls.filter((it) => it.includes('main'))).toEqual([
      'create main#0',
      'start main#0',
      'stop main#0',
      'create main#1',
      'start main#1',
    ]);
  });

  it('tells ErrImagePull, then waits 10 s and twice as long each time up to five minutes', async () => {
    const atMs: number[] = [];
    runtime.handle.onPull(async () => {
      atMs.push(clock.now());
      throw refused('not found');
    });
    work(podOf({}));
    await until(() => atMs.length === 8, 'eight tries', 1000);
    const pauses = atMs.slice(1).map((it, at) => Math.round((it - (atMs[at] ?? 0)) / 10_000) * 10);
    expect(pauses).toEqual([10, 20, 40, 80, 160, 300, 300]);
    expect(reasons()).toContain('ErrImagePull');
    expect(reasons().at(-1)).toBe('ImagePullBackOff');
    expect(events).toContain(`Failed: Failed to pull image "${image}": not found`);
    expect(events).toContain(`BackOff: Back-off pulling image "${image}"`);
    runtime.handle.onPull(async (reference) => reference);
    await until(() => last()?.ready === true, 'healed', 1000);
  });

  it('takes what is there when the registry cannot be reached, and only then', async () => {
    runtime.handle.images.add(image);
    const offline =
      'failed to resolve reference: failed to do request: Head "https://registry.test/v2/app/manifests/1": dial tcp 192.0.2.1:443: connect: connection refused';
    runtime.handle.onPull(async () => Promise.reject(refused(offline)));
    work(podOf({ imagePullPolicy: 'Always' }));
    await until(() => last()?.ready === true, 'runs offline');
    runtime.handle.onPull(async () => Promise.reject(refused('401 Unauthorized')));
    runtime.handle.exit('main', 1);
    await until(() => reasons().includes('ErrImagePull'), 'no right to it');
  });

  it.each([
    ['ErrImageNeverPull', { imagePullPolicy: 'Never' }],
    ['InvalidImageName', { image: 'Not//AnImage' }],
  ])('says %s', async (reason, container) => {
    work(podOf(container));
    await until(() => reasons().includes(reason), reason);
    expect(pulled()).toBe(0);
    expect(starts()).toBe(0);
  });

  it('delays nobody while a pull hangs, and gives it up with the pod', async () => {
    let aborted = false;
    runtime.handle.onPull((reference, { signal }) =>
      reference === image
        ? new Promise((_, reject) => {
            signal?.addEventListener('abort', () => {
              aborted = true;
              reject(new RuntimeError('cancelled', { code: 'cannot-pull', image }));
            });
          })
        : Promise.resolve(reference),
    );
    const hanging = work(podOf({}));
    const spec = { containers: [{ name: 'other', image: 'registry.test/other:1' }] };
    work(podOf({}, { name: 'second', uid: 'v' }, spec));
    await until(() => last('second')?.ready === true, 'the other pod');
    expect(pulls.count).toBe(1);
    hanging.remove();
    await until(() => aborted, 'the pull given up');
    expect(pulls.count).toBe(0);
  });

  it('leaves nothing behind of a thousand pulls that were given up', async () => {
    runtime.handle.onPull(() => new Promise(() => {}));
    for (let n = 0; n < 1000; n += 1) {
      const end = new AbortController();
      const pull = pulls.pull(`registry.test/app:${n % 7}`, undefined, end.signal);
      end.abort();
      await expect(pull).rejects.toMatchObject({ code: 'cancelled' });
    }
    expect(pulls.count).toBe(0);
  });

  it('tells why there is no sandbox in the words of the network plugin, and goes on trying', async () => {
    const words =
      'plugin type="bridge" failed (add): failed to allocate for range 0: no IP addresses available';
    runtime.handle.failSandbox(new RuntimeError(words, { code: 'cannot-run-sandbox', name: 'app' }));
    work(podOf({}));
    await until(() => count('FailedCreatePodSandBox') > 1, 'two tries');
    expect(events[0]).toBe(`FailedCreatePodSandBox: Failed to create pod sandbox: ${words}`);
    expect(reasons()).toEqual(['ContainerCreating']);
    runtime.handle.failSandbox(undefined);
    await until(() => last()?.ready === true, 'healed');
  });

  it('restarts a container whose liveness probe fails often enough', async () => {
    let exitCode = 0;
    runtime.handle.onExec('main', async () => said(exitCode, 'worker is stuck'));
    work(podOf({ livenessProbe: { exec: { command: ['check'] }, periodSeconds: 5, failureThreshold: 2 } }));
    await until(() => last()?.ready === true, 'ready');
    await clock.advance(60_000);
    expect(last()?.restartCount).toBe(0);
    exitCode = 1;
    const failedMs = clock.now();
    await until(() => last()?.restartCount === 1, 'restarted');
    expect(clock.now() - failedMs).toBeGreaterThan(5000);
    expect(clock.now() - failedMs).toBeLessThan(11_000);
    expect(events).toContain('Unhealthy: Liveness probe failed: worker is stuck');
    expect(events).toContain('Killing: Container main failed liveness probe, will be restarted');
  });

  it('is Ready when its readiness probe says so, and is not restarted for it', async () => {
    let exitCode = 1;
    runtime.handle.onExec('main', async () => said(exitCode));
    work(podOf({ readinessProbe: { exec: { command: ['check'] }, periodSeconds: 1 } }));
    const ready = () =>
      statuses()
        .at(-1)
        ?.conditions.find((it) => it.type === 'Ready')?.status;
    await until(() => starts() === 1, 'started');
    await clock.advance(30_000);
    expect(ready()).toBe('False');
    exitCode = 0;
    await until(() => ready() === 'True', 'Ready');
    exitCode = 1;
    await until(() => ready() === 'False', 'not Ready');
    expect(starts()).toBe(1);
  });

  it('asks nothing else before the startup probe has succeeded', async () => {
    let up = false;
    const asked: string[] = [];
    runtime.handle.onExec('main', async ([what]) => {
      asked.push(what ?? '');
      return said(what === 'startup' && !up ? 1 : 0);
    });
    const probe = (command: string) => ({
      exec: { command: [command] },
      periodSeconds: 1,
      failureThreshold: 30,
    });
    work(
      podOf({ startupProbe: probe('startup'), livenessProbe: probe('live'), readinessProbe: probe('ready') }),
    );
    await until(() => asked.length > 5, 'asked');
    expect(new Set(asked)).toEqual(new Set(['startup']));
    expect(last()).toMatchObject({ started: false, ready: false });
    up = true;
    await until(() => last()?.ready === true, 'ready');
    expect(last()?.started).toBe(true);
    expect(asked).toContain('live');
  });

  it('counts a probe that hangs as failed, and delays no other pod by it', async () => {
    runtime.handle.onExec('main', () => new Promise(() => {}));
    const probe = { exec: { command: ['hang'] }, periodSeconds: 1, failureThreshold: 3 };
    work(podOf({ livenessProbe: probe }));
    work(podOf({}, { name: 'second', uid: 'v' }));
    await until(() => last('second')?.ready === true, 'the other pod');
    await until(() => last()?.restartCount === 1, 'restarted');
    expect(events).toContain('Unhealthy: Liveness probe failed: no answer within 1 s');
  });

  it('ends a container whose postStart hook fails', async () => {
    let exitCode = 1;
    runtime.handle.onExec('main', async () => said(exitCode, 'no database'));
    work(podOf({ lifecycle: { postStart: { exec: { command: ['prepare'] } } } }));
    await until(() => count('FailedPostStartHook') > 0, 'failed', 1);
    expect(events).toContain('FailedPostStartHook: PostStartHook failed: no database');
    exitCode = 0;
    await until(() => (last()?.restartCount ?? 0) > 0 && last()?.ready === true, 'healed');
  });

  it('waits for preStop, but not beyond the grace', async () => {
    const calls: number[] = [];
    runtime.handle.onExec('main', () => {
      calls.push(clock.now());
      return new Promise(() => {});
    });
    const preStop = { exec: { command: ['hang'] } };
    const worker = work(podOf({ lifecycle: { preStop } }, {}, { terminationGracePeriodSeconds: 20 }));
    await until(() => last()?.ready === true, 'ready');
    const endedMs = clock.now();
    worker.remove();
    const stopped = () => runtime.handle.calls.some((it) => it.startsWith('stop'));
    await until(stopped, 'stopped');
    expect(calls).toHaveLength(1);
    expect(clock.now() - endedMs).toBeGreaterThanOrEqual(20_000);
    expect(clock.now() - endedMs).toBeLessThan(23_000);
  });
});
