/** Twin updates over MQTT, each answered when it is durable: one at a time, and fifty in flight. */

import { connectAsync, type MqttClient } from 'mqtt';
import { z } from 'zod';
import { eventually } from '../../e2e/workspace.ts';
import type { BenchCloud } from '../cloud.ts';
import { type Figure, quantile } from '../figures.ts';
import { cpuSeconds } from '../processes.ts';
import { startEdge } from './edge.ts';

const devicesApi = 'devices.kubeedge.io/v1beta1';
const namespace = 'default';
const name = 'bench-thermometer';
const topic = `$hw/events/device/${namespace}/${name}/twin`;
const seconds = 8;

const resultSchema = z.looseObject({ event_id: z.string(), code: z.number().optional() });

export async function benchTwin(cloud: BenchCloud): Promise<Figure[]> {
  const edge = await startEdge(cloud);
  try {
    await createDevice(cloud, edge.node);
    const client = await connectAsync(edge.broker, { reconnectPeriod: 0 });
    const reporter = new Reporter(client);
    await client.subscribeAsync(`${topic}/update/result`, { qos: 1 });
    await eventually('the device at the edge', 60_000, async () =>
      (await reporter.report(0)).refused ? undefined : true,
    );
    const single = await run(reporter, 1);
    const pid = cloud.processes.pid(edge.service);
    const before = await cpuSeconds(pid);
    const many = await run(reporter, 50);
    const spent = (await cpuSeconds(pid)) - before;
    await client.endAsync();
    return [
      { what: 'durable twin updates, one in flight', value: single.perSecond, unit: '/s', kubeedge: '30 /s' },
      { what: 'durable twin updates, one in flight, p99', value: single.p99Ms, unit: 'ms' },
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

/** Publishes values that differ each time, and waits for each one's result. */
class Reporter {
  readonly #client: MqttClient;
  readonly #waiting = new Map<string, (refused: boolean) => void>();
  #count = 0;

  constructor(client: MqttClient) {
    this.#client = client;
    client.on('message', (_, payload) => {
      const { event_id: id, code } = resultSchema.parse(JSON.parse(payload.toString()));
      this.#waiting.get(id)?.(code !== undefined && code >= 400);
      this.#waiting.delete(id);
    });
  }

  async report(property: number): Promise<{ ms: number; refused: boolean }> {
    this.#count += 1;
    const id = String(this.#count);
    const timestamp = Date.now();
    const twin = {
      [`p${property}`]: {
        actual: { value: String(this.#count), metadata: { timestamp } },
        metadata: { type: 'int' },
      },
    };
    const beginMs = performance.now();
    const answered = new Promise<boolean>((resolve) => this.#waiting.set(id, resolve));
    this.#client.publish(`${topic}/update`, JSON.stringify({ event_id: id, timestamp, twin }), { qos: 1 });
    const refused = await Promise.race([answered, late(1_000)]);
    return { ms: performance.now() - beginMs, refused };
  }
}

async function run(
  reporter: Reporter,
  inFlight: number,
): Promise<{ count: number; perSecond: number; p99Ms: number }> {
  const startedMs = performance.now();
  const untilMs = startedMs + seconds * 1000;
  const times: number[] = [];
  let refusals = 0;
  const lane = async (property: number) => {
    while (performance.now() < untilMs) {
      const { ms, refused } = await reporter.report(property);
      if (refused) refusals += 1;
      else times.push(ms);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, at) => lane(at % properties)));
  if (refusals > 0) throw new Error(`${refusals} updates were refused or not answered in a second`);
  return {
    count: times.length,
    perSecond: times.length / ((performance.now() - startedMs) / 1000),
    p99Ms: quantile(times, 0.99),
  };
}

const properties = 10;

async function createDevice(cloud: BenchCloud, node: string): Promise<void> {
  const names = Array.from({ length: properties }, (_, at) => `p${at}`);
  await cloud.api.create(
    { apiVersion: devicesApi, plural: 'devicemodels', namespace },
    {
      apiVersion: devicesApi,
      kind: 'DeviceModel',
      metadata: { name, namespace },
      spec: {
        protocol: 'mqtt',
        properties: names.map((property) => ({ name: property, type: 'INT', accessMode: 'ReadWrite' })),
      },
    },
  );
  await cloud.api.create(
    { apiVersion: devicesApi, plural: 'devices', namespace },
    {
      apiVersion: devicesApi,
      kind: 'Device',
      metadata: { name, namespace },
      spec: {
        nodeName: node,
        deviceModelRef: { name },
        protocol: { protocolName: 'mqtt' },
        properties: names.map((property) => ({ name: property, reportToCloud: true })),
      },
    },
  );
}

/** No answer counts as a refusal. */
async function late(ms: number): Promise<boolean> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return true;
}
