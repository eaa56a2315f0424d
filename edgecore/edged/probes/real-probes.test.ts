/** Probes of every kind against containers of a real runtime. SC-51; while the link is cut: test/e2e/two-edges.test.ts. */

import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { criImage, needsCri, openCri, removeAll } from '#test/containers/runtime.ts';
import { describeUnless } from '#test/describe-unless.ts';
import { type HealthServer, notServing, serving, startHealthServer } from '#test/fixtures/health-server.ts';
import { RunningEdged } from '#test/fixtures/running-edged.ts';
import type { RuntimeService } from '../runtime/runtime-service.ts';

const soon = { interval: 100 };
const stay = 'while :; do sleep 60 & wait $!; done';
/** A command in a container may take its time on a busy machine, and is no failure for that. */
const asked = { periodSeconds: 1, timeoutSeconds: 60 };
const often = { ...asked, failureThreshold: 2 };
const sh = (script: string) => ['/bin/sh', '-c', script];

describeUnless(needsCri, 'probes of real containers', () => {
  let directory: string;
  let runtime: RuntimeService;
  let edged: RunningEdged;
  let server: HealthServer;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hawser-probes-'));
    runtime = openCri(`probes-${randomUUID()}`);
    await runtime.pullImage(criImage);
    server = await startHealthServer();
    edged = new RunningEdged({ runtime, directory, nodeIp: '127.0.0.1' });
  });
  afterEach(async () => {
    await edged.end();
    server.close();
    await removeAll(runtime);
    await runtime.close();
    await rm(directory, { recursive: true, force: true });
  });

  const run = (script: string, probes: object, spec: object = {}) =>
    edged.insert('app', {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: criImage, command: sh(script), ...probes }],
      ...spec,
    });
  const status = () => edged.cloud.statuses('app').at(-1)?.containerStatuses[0];
  const seen = () => ({ ready: status()?.ready, restarts: status()?.restartCount });
  const inContainer = async (script: string) => {
    const running = (await runtime.listContainers()).find((it) => it.state === 'running');
    const { stdout, stderr } = await runtime.execSync(running?.id ?? '', sh(script), 60_000);
    return `${stdout}${stderr}`.trim();
  };

  const http = { httpGet: { port: 8080, path: '/fine' } };
  const web = `mkdir /tmp/www; touch /tmp/www/fine; httpd -f -p 8080 -h /tmp/www & echo $! > /tmp/pid; ${stay}`;
  it.each([
    ['exec', { exec: { command: ['test', '-e', '/tmp/fine'] } }, `touch /tmp/fine; ${stay}`, 'rm /tmp/fine'],
    ['HTTP', http, web, 'rm /tmp/www/fine'],
    ['TCP', { tcpSocket: { port: 8080 } }, web, 'kill $(cat /tmp/pid)'],
  ])('of liveness by %s restart a container that is not well', async (_, action, script, harm) => {
    run(script, {
      startupProbe: { ...action, ...often, failureThreshold: 30 },
      livenessProbe: { ...action, ...often },
    });
    await expect.poll(seen, soon).toEqual({ ready: true, restarts: 0 });
    await inContainer(harm);
    await expect.poll(seen, soon).toEqual({ ready: true, restarts: 1 });
  });

  it('of liveness by gRPC restart a container that is not well', async () => {
    const action = { grpc: { port: server.port } };
    run(stay, { livenessProbe: { ...action, ...often } }, { hostNetwork: true });
    await expect.poll(seen, soon).toEqual({ ready: true, restarts: 0 });
    server.health.set('', notServing);
    await expect.poll(() => seen().restarts, soon).toBe(1);
    server.health.set('', serving);
    await expect.poll(() => seen().ready, soon).toBe(true);
  });

  it('of readiness hold the pod back, and let it come again, without a restart', async () => {
    const readinessProbe = { exec: { command: ['test', '-e', '/tmp/fine'] }, ...often, failureThreshold: 1 };
    run(`touch /tmp/fine; ${stay}`, { readinessProbe });
    const ready = () =>
      edged.cloud
        .statuses('app')
        .at(-1)
        ?.conditions.find((it) => it.type === 'Ready')?.status;
    await expect.poll(ready, soon).toBe('True');
    await inContainer('rm /tmp/fine');
    await expect.poll(ready, soon).toBe('False');
    expect(seen()).toEqual({ ready: false, restarts: 0 });
    await inContainer('touch /tmp/fine');
    await expect.poll(ready, soon).toBe('True');
    expect(seen()).toEqual({ ready: true, restarts: 0 });
  });

  it('of startup keep the others waiting', async () => {
    const asks = (name: string, then: string) => ({
      exec: { command: sh(`echo asked >> /tmp/${name}; ${then}`) },
      ...asked,
    });
    run(stay, {
      startupProbe: { ...asks('startup', 'test -e /tmp/up'), failureThreshold: 100 },
      readinessProbe: asks('readiness', 'true'),
      livenessProbe: { ...asks('liveness', 'false'), failureThreshold: 1 },
    });
    await expect
      .poll(async () => Number(await inContainer('wc -l < /tmp/startup').catch(() => 0)), soon)
      .toBeGreaterThanOrEqual(3);
    expect(await inContainer('ls /tmp')).toBe('startup');
    expect(seen()).toEqual({ ready: false, restarts: 0 });
    await inContainer('touch /tmp/up');
    await expect.poll(() => seen().restarts, soon).toBe(1);
  });
});
