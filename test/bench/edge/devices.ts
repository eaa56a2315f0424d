/** A thousand devices on one edge: what they cost, and how fast they and the cloud hear of each other. */

import { connectAsync, type MqttClient } from 'mqtt';
import { eventually } from '../../e2e/workspace.ts';
import type { BenchCloud } from '../cloud.ts';
import { type Figure, quantile } from '../figures.ts';
import { cpuPercent, pause, pssMb } from '../processes.ts';
import { startEdge } from './edge.ts';
import { Reporter, rate } from './reporter.ts';

const devicesApi = 'devices.kubeedge.io/v1beta1';
const namespace = 'default';
const model = 'bench-model';
const kind = (plural: string) => ({ apiVersion: devicesApi, plural, namespace });
const nameOf = (at: number) => `bench-device-${at}`;
/** Its id. */
export const device = (at: number) => `${namespace}/${nameOf(at)}`;

const count = 1_000;
const properties = 5;
const wishes = 100;

export async function createDevices(
  cloud: BenchCloud,
  node: string,
  shape: { readonly count: number; readonly properties: number },
): Promise<void> {
  const names = Array.from({ length: shape.properties }, (_, at) => `p${at}`);
  await cloud.api.create(kind('devicemodels'), {
    apiVersion: devicesApi,
    kind: 'DeviceModel',
    metadata: { name: model, namespace },
    spec: {
      protocol: 'mqtt',
      properties: names.map((name) => ({ name, type: 'INT', accessMode: 'ReadWrite' })),
    },
  });
  for (let at = 0; at < shape.count; at += 1)
    await cloud.api.create(kind('devices'), {
      apiVersion: devicesApi,
      kind: 'Device',
      metadata: { name: nameOf(at), namespace },
      spec: specOf(node, names, '0'),
    });
}

function specOf(nodeName: string, names: readonly string[], wanted: string) {
  return {
    nodeName,
    deviceModelRef: { name: model },
    protocol: { protocolName: 'mqtt' },
    properties: names.map((name) => ({ name, desired: { value: wanted }, reportToCloud: true })),
  };
}

export async function benchDevices(cloud: BenchCloud): Promise<Figure[]> {
  const edge = await startEdge(cloud);
  try {
    const pid = cloud.processes.pid(edge.service);
    await pause(2_000);
    const before = await pssMb(pid);
    await createDevices(cloud, edge.node, { count, properties });
    const client = await connectAsync(edge.broker, { reconnectPeriod: 0 });
    const answers = ['update/result', 'get/result', 'update/delta'];
    await client.subscribeAsync(answers.map((answer) => `$hw/events/device/+/+/twin/${answer}`));
    const reporter = new Reporter(client);
    await eventually('the last device at the edge', 120_000, async () =>
      (await reporter.get(device(count - 1))).refused ? undefined : true,
    );
    const read = await rate(1, 4, () => reporter.get(device(Math.floor(Math.random() * count))));
    let turn = 0;
    const written = await rate(50, 8, () => {
      turn += 1;
      return reporter.report(device(turn % count), `p${turn % properties}`);
    });
    // Until the cloud has written all that was reported.
    await pause(10_000);
    const heard = await wish(cloud, client, edge.node);
    const after = await pssMb(pid);
    const idle = await cpuPercent(pid, 10);
    await client.endAsync();
    return [
      { what: 'edgecore memory (PSS), no devices', value: before, unit: 'MB' },
      { what: `edgecore memory (PSS), ${count} devices, after all this`, value: after, unit: 'MB' },
      { what: 'edgecore processor, devices at rest', value: idle, unit: '% of a core' },
      { what: 'twin/get among them, p50', value: read.p50Ms, unit: 'ms' },
      { what: 'twin/get among them, p99', value: read.p99Ms, unit: 'ms' },
      { what: 'durable updates all over them, 50 in flight', value: written.perSecond, unit: '/s' },
      { what: 'durable updates all over them, 50 in flight, p99', value: written.p99Ms, unit: 'ms' },
      { what: 'desired value patched to delta at the mapper, p50', value: heard.p50Ms, unit: 'ms' },
      {
        what: 'desired value patched to delta at the mapper, p99',
        value: heard.p99Ms,
        unit: 'ms',
        budget: { is: 'at most', value: 100 },
      },
    ];
  } finally {
    await edge.close();
  }
}

/** From before the request to the API until the mapper hears of it. */
async function wish(
  cloud: BenchCloud,
  client: MqttClient,
  node: string,
): Promise<{ p50Ms: number; p99Ms: number }> {
  const names = Array.from({ length: properties }, (_, at) => `p${at}`);
  const times: number[] = [];
  for (let at = 0; at < wishes; at += 1) {
    const value = String(1_000_000 + at);
    const heard = new Promise<void>((resolve) => {
      const listen = (topic: string, payload: Buffer) => {
        if (!topic.endsWith('/delta') || !payload.includes(`"p0":"${value}"`)) return;
        client.off('message', listen);
        resolve();
      };
      client.on('message', listen);
    });
    const beganMs = performance.now();
    await cloud.api.patch({ ...kind('devices'), name: nameOf(at) }, 'merge', {
      spec: specOf(node, names, value),
    });
    await heard;
    times.push(performance.now() - beganMs);
  }
  return { p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99) };
}
