/**
 * Twin updates over MQTT, each answered when it is durable: one at a time, and fifty in flight. Beside them the floors:
 * how often this disk says that something is durable, and how fast a bare aedes answers the same requests unread.
 */

import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { connectAsync } from 'mqtt';
import { eventually } from '../../e2e/workspace.ts';
import type { BenchCloud } from '../cloud.ts';
import { type Figure, quantile } from '../figures.ts';
import { cpuSeconds } from '../processes.ts';
import { startEchoBroker } from './brokers.ts';
import { createDevices, device } from './devices.ts';
import { startEdge } from './edge.ts';
import { type Rate, Reporter, rate } from './reporter.ts';

const seconds = 8;
const properties = 10;

export async function benchTwin(cloud: BenchCloud): Promise<Figure[]> {
  const edge = await startEdge(cloud);
  try {
    await createDevices(cloud, edge.node, { count: 1, properties });
    const disk = syncs(edge.dataDir, 2);
    const bare = await echoed();
    const pid = cloud.processes.pid(edge.service);
    const { single, many, spent } = await withReporter(edge.broker, async (reporter) => {
      await eventually('the device at the edge', 60_000, async () =>
        (await reporter.report(device(0), 'p0')).refused ? undefined : true,
      );
      const one = await rate(1, seconds, () => reporter.report(device(0), 'p0'));
      const before = await cpuSeconds(pid);
      const fifty = await rate(50, seconds, (lane) => reporter.report(device(0), `p${lane % properties}`));
      return { single: one, many: fifty, spent: (await cpuSeconds(pid)) - before };
    });
    return [
      { what: 'durable twin updates, one in flight', value: single.perSecond, unit: '/s', kubeedge: '30 /s' },
      { what: 'durable twin updates, one in flight, p99', value: single.p99Ms, unit: 'ms' },
      { what: 'floor: bare writes of 4 kB made durable on this disk', value: disk.perSecond, unit: '/s' },
      { what: 'floor: bare writes of 4 kB made durable on this disk, p99', value: disk.p99Ms, unit: 'ms' },
      { what: 'floor: a bare aedes answers unread, one in flight', value: bare.single.perSecond, unit: '/s' },
      {
        what: 'durable twin updates, 50 in flight',
        value: many.perSecond,
        unit: '/s',
        budget: { is: 'at least', value: 3000 },
        kubeedge: '65 /s',
      },
      {
        what: 'durable twin updates, 50 in flight, p99',
        value: many.p99Ms,
        unit: 'ms',
        budget: { is: 'at most', value: 50 },
        kubeedge: '1700 ms',
      },
      { what: 'floor: a bare aedes answers unread, 50 in flight', value: bare.many.perSecond, unit: '/s' },
      { what: 'floor: a bare aedes answers unread, 50 in flight, p99', value: bare.many.p99Ms, unit: 'ms' },
      {
        what: 'processor of edgecore for 1,000 updates, 50 in flight',
        value: (1000 * spent) / many.count,
        unit: 's',
      },
    ];
  } finally {
    await edge.close();
  }
}

async function withReporter<T>(url: string, work: (reporter: Reporter) => Promise<T>): Promise<T> {
  const client = await connectAsync(url, { reconnectPeriod: 0 });
  await client.subscribeAsync('$hw/events/device/+/+/twin/update/result', { qos: 1 });
  const done = await work(new Reporter(client));
  await client.endAsync();
  return done;
}

async function echoed(): Promise<{ single: Rate; many: Rate }> {
  const broker = await startEchoBroker();
  try {
    return await withReporter(broker.url, async (reporter) => ({
      single: await rate(1, 2, () => reporter.report(device(0), 'p0')),
      many: await rate(50, 2, () => reporter.report(device(0), 'p0')),
    }));
  } finally {
    await broker.close();
  }
}

/** One after the other, as one update in flight needs them. */
function syncs(dir: string, forSeconds: number): { perSecond: number; p99Ms: number } {
  const file = join(dir, 'floor');
  const handle = openSync(file, 'w');
  const page = Buffer.alloc(4096, 1);
  const times: number[] = [];
  const startedMs = performance.now();
  while (performance.now() - startedMs < forSeconds * 1000) {
    const beginMs = performance.now();
    writeSync(handle, page);
    fdatasyncSync(handle);
    times.push(performance.now() - beginMs);
  }
  closeSync(handle);
  rmSync(file);
  return { perSecond: times.length / forSeconds, p99Ms: quantile(times, 0.99) };
}
