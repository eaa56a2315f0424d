import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import { createMonitor } from './monitor-server.ts';

const stop = new AbortController();
afterEach(() => stop.abort());

async function holdPort(): Promise<{ holder: Server; port: number }> {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  // Listening on TCP, so the address is no text.
  return { holder, port: (holder.address() as AddressInfo).port };
}

it('waits for its port without holding up the others, then serves metrics and health', async () => {
  const clock = new ManualClock();
  const metrics = createMetrics();
  metrics.counter('hawser_test_total', 'For this test.').inc();
  const { holder, port } = await holdPort();
  const monitor = createMonitor(`127.0.0.1:${port}`, { metrics, clock, log: silentLog });
  let readyCount = 0;
  let becameReady = () => {};
  const ready = () =>
    new Promise<void>((resolve) => {
      becameReady = resolve;
    });
  const first = ready();
  const running = monitor.run(stop.signal, () => {
    readyCount += 1;
    becameReady();
  });
  await first;
  await new Promise((resolve) => holder.close(resolve));
  const second = ready();
  await clock.advance(30_000);
  await second;
  expect(readyCount).toBe(2);
  expect(await (await fetch(`http://127.0.0.1:${port}/healthz`)).text()).toBe('ok\n');
  expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toContain('hawser_test_total 1');
  expect((await fetch(`http://127.0.0.1:${port}/debug`)).status).toBe(404);
  stop.abort();
  await running;
});
