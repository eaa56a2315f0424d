import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { image, WorkingPods } from '#test/fixtures/working-pods.ts';

describe('the end of a pod', () => {
  let pods: WorkingPods;
  beforeEach(() => {
    pods = new WorkingPods();
  });
  afterEach(() => pods.end());

  const phase = () => pods.statuses().at(-1)?.phase;
  const stops = () => pods.calls('stop').map((it) => it.slice('stop '.length));

  it('comes with its deadline: Failed, told why, and never started again', async () => {
    pods.work(pods.pod({}, {}, { activeDeadlineSeconds: 60 }));
    await pods.until(() => pods.last()?.ready, 'ready');
    await pods.until(() => phase() === 'Failed', 'Failed', 1000);
    expect(pods.statuses().at(-1)).toMatchObject({
      phase: 'Failed',
      reason: 'DeadlineExceeded',
      message: 'Pod was active on the node longer than the specified deadline',
    });
    await pods.until(() => stops().length === 1, 'stopped');
    await pods.clock.advance(600_000);
    expect(pods.calls('start')).toHaveLength(1);
    expect(pods.count('DeadlineExceeded')).toBe(1);
    expect((await pods.runtime.listPodSandboxes())[0]?.state).toBe('notready');
  });

  it('comes with its deadline after a restart that came before the cloud heard of its start', async () => {
    const pod = pods.pod({}, {}, { activeDeadlineSeconds: 60 });
    pods.work(pod);
    await pods.until(() => pods.last()?.ready, 'ready');
    const beganMs = pods.clock.now();
    await pods.clock.advance(40_000);
    pods.kill();
    pods.work(pod);
    await pods.until(() => phase() === 'Failed', 'Failed', 1000);
    expect(pods.clock.now() - beganMs).toBeLessThan(63_000);
    expect(pods.statuses().at(-1)?.reason).toBe('DeadlineExceeded');
  });

  it('is final where the API says so, whatever the runtime has forgotten', async () => {
    pods.work(pods.pod({}, { name: 'other', uid: 'v' }));
    pods.work(pods.pod({}, {}, {}, { phase: 'Succeeded' }));
    await pods.until(() => pods.last('other')?.ready, 'the other');
    await pods.clock.advance(120_000);
    expect(pods.statuses()).toEqual([]);
    expect(pods.calls('start')).toHaveLength(1);
  });

  it('takes a verdict from outside, the first one, with its grace', async () => {
    pods.runtime.handle.ignoreTerm('main');
    const worker = pods.work(pods.pod({}, {}, { terminationGracePeriodSeconds: 600 }));
    await pods.until(() => pods.last()?.ready, 'ready');
    worker.fail({ phase: 'Failed', reason: 'Evicted', message: 'no memory', graceMs: 5000 });
    worker.fail({ phase: 'Failed', reason: 'Other', message: '' });
    const sinceMs = pods.clock.now();
    const state = () => pods.last()?.state ?? {};
    await pods.until(() => 'terminated' in state(), 'ended');
    expect(pods.clock.now() - sinceMs).toBeLessThan(7000);
    expect(pods.statuses().at(-1)).toMatchObject({
      phase: 'Failed',
      reason: 'Evicted',
      message: 'no memory',
    });
    expect(
      pods
        .statuses()
        .at(-1)
        ?.conditions.find((it) => it.type === 'Ready'),
    ).toMatchObject({
      status: 'False',
      reason: 'PodFailed',
    });
  });

  it('stays ended after a restart that came before the cloud heard of it', async () => {
    const pod = pods.pod({});
    pods.work(pod).fail({ phase: 'Failed', reason: 'Evicted', message: 'no memory' });
    const before = pods.statuses().length;
    pods.work(pod);
    pods.work(pods.pod({}, { name: 'next', uid: 'v' }));
    await pods.until(() => pods.last('next')?.ready, 'another pod of another uid');
    await pods.clock.advance(120_000);
    expect(pods.statuses().length).toBeGreaterThan(before + 1);
    expect(new Set(pods.statuses().map((it) => `${it.phase} ${it.reason}`))).toEqual(
      new Set(['Failed Evicted']),
    );
    expect(pods.calls('start')).toHaveLength(1);
  });

  it('ends sidecars after what they serve, the last one first, within one grace', async () => {
    const sidecar = (name: string) => ({ name, image, restartPolicy: 'Always' });
    pods.runtime.handle.ignoreTerm('main');
    pods.runtime.handle.ignoreTerm('second');
    const worker = pods.work(
      pods.pod(
        {},
        {},
        { terminationGracePeriodSeconds: 10, initContainers: [sidecar('first'), sidecar('second')] },
      ),
    );
    await pods.until(() => pods.last()?.ready, 'ready');
    expect(pods.calls('start')).toEqual(['start first#0', 'start second#0', 'start main#0']);
    const sinceMs = pods.clock.now();
    worker.remove();
    await pods.until(() => stops().includes('first#0'), 'all');
    expect(stops()).toEqual(['main#0', 'second#0', 'first#0']);
    // Ten seconds for main, what is left of them, two at least, for the others.
    expect(pods.clock.now() - sinceMs).toBeLessThan(14_000);
    expect(pods.events.filter((it) => it.startsWith('Killing'))).toEqual([
      'Killing: Stopping container main',
      'Killing: Stopping container second',
      'Killing: Stopping container first',
    ]);
  });

  it('of a job ends its sidecar and is Succeeded', async () => {
    const initContainers = [{ name: 'proxy', image, restartPolicy: 'Always' }];
    pods.work(pods.pod({}, {}, { restartPolicy: 'Never', initContainers }));
    await pods.until(() => pods.last()?.ready, 'ready');
    pods.runtime.handle.exit('main', 0);
    await pods.until(() => stops().includes('proxy#0'), 'the sidecar');
    await pods.until(() => phase() === 'Succeeded', 'Succeeded');
  });

  it('is told with the last lines of the log where the pod asks for that and wrote nothing else', async () => {
    const podLogs = await mkdtemp(join(tmpdir(), 'hawser-log-tail-'));
    const terminationMessagePolicy = 'FallbackToLogsOnError';
    pods.work(pods.pod({ terminationMessagePolicy }, {}, { restartPolicy: 'Never' }), { podLogs });
    await pods.until(() => pods.last()?.ready, 'ready');
    const log = join(podLogs, 'default_app_u/main/0.log');
    await mkdir(dirname(log), { recursive: true });
    const lines = Array.from({ length: 200 }, (_, n) => `2026-01-01T00:00:00Z stderr F line ${n}\n`);
    await writeFile(log, lines.join(''));
    pods.runtime.handle.exit('main', 3);
    await expect
      .poll(async () => {
        await pods.clock.advance(100);
        return pods.last()?.state;
      })
      .toMatchObject({
        terminated: { exitCode: 3, message: expect.stringMatching(/^line 120\n(.*\n)*line 199$/) },
      });
    await rm(podLogs, { recursive: true });
  });

  it('says which fields do nothing here', async () => {
    const securityContext = { seLinuxOptions: { type: 't' }, procMount: 'Unmasked' };
    pods.work(pods.pod({ securityContext }));
    await pods.until(() => pods.last()?.ready, 'ready');
    expect(pods.events[0]).toBe(
      'FieldsIgnored: These fields do nothing on this node: container main securityContext.seLinuxOptions, container main securityContext.procMount',
    );
  });
});
