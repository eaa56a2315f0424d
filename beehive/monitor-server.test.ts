import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { freePort } from '#test/free-port.ts';
import { ManualClock } from './clock.ts';
import { type Log, silentLog } from './log.ts';
import { createMetrics } from './metrics.ts';
import { createMonitorServer } from './monitor-server.ts';

test('tells health, readiness with what is missing, and metrics', async () => {
  const port = await freePort();
  const metrics = createMetrics();
  metrics.counter('hawser_test_total', 'A test').inc();
  let missing: string | undefined = 'the cloud is not connected';
  const stop = new AbortController();
  const monitor = createMonitorServer(
    { bindAddress: `127.0.0.1:${port}`, field: 'monitorServer.bindAddress' },
    { metrics, clock: new ManualClock(), log: silentLog, waitsFor: () => missing },
  );
  let running: Promise<void> = Promise.resolve();
  await new Promise<void>((ready) => {
    running = monitor.run(stop.signal, ready);
  });
  const get = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`);
    return [answer.status, await answer.text()];
  };
  expect(await get('/healthz')).toEqual([200, 'ok\n']);
  expect(await get('/readyz')).toEqual([503, 'the cloud is not connected\n']);
  missing = undefined;
  expect(await get('/readyz')).toEqual([200, 'ok\n']);
  expect(await get('/metrics')).toEqual([200, expect.stringContaining('hawser_test_total 1')]);
  expect((await get('/else'))[0]).toBe(404);
  stop.abort();
  await running;
});

test('a port that is taken is said once, and holds up nothing', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  const said: string[] = [];
  const log: Log = { ...silentLog, warn: (_, text) => said.push(text), child: () => log };
  const clock = new ManualClock();
  const stop = new AbortController();
  const monitor = createMonitorServer(
    { bindAddress: `127.0.0.1:${port}`, field: 'monitorServer.bindAddress' },
    { metrics: createMetrics(), clock, log, waitsFor: () => undefined },
  );
  let running: Promise<void> = Promise.resolve();
  await new Promise<void>((ready) => {
    running = monitor.run(stop.signal, ready);
  });
  await clock.advance(30_000);
  stop.abort();
  await running;
  expect(said).toEqual(['no metrics: cannot listen; set monitorServer.bindAddress to a free port']);
  await new Promise((resolve) => other.close(resolve));
});
