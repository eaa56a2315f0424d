/** A Device that moves from one edge to another, also while the first is away: it is where it belongs, and only there. */

import { afterEach, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { loadDevices } from '#edgecore/store/twin-store.ts';
import { newEnvelope } from '#protocol/message.ts';
import { deviceStatusSchema } from '#protocol/resources/device-status.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { type Edge, givenCertificates, startEdge } from '#test/fixtures/edge.ts';
import { TcpPath } from '#test/tcp-path.ts';

const transport = createWebSocketTransport({ clock: systemClock });
const kind = (plural: string) => ({
  apiVersion: 'devices.kubeedge.io/v1beta1',
  plural,
  namespace: 'default',
});
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function edgeOf(cloud: Cloud, nodeName: string): Promise<{ edge: Edge; path: TcpPath }> {
  const path = new TcpPath();
  closing.push(() => path.close());
  const edge = await startEdge({
    nodeName,
    transport,
    server: `127.0.0.1:${await path.to(cloud.port)}`,
    certificates: givenCertificates(await cloud.identity(nodeName)),
  });
  closing.push(() => edge.close());
  await edge.connected();
  return { edge, path };
}

const held = ({ store }: Edge) => [...store.read(loadDevices).keys()];

/** As a mapper says it over MQTT. */
function report({ bus }: Edge, value: string): void {
  const route = { source: 'bus', group: 'twin', operation: 'publish' };
  const resource = '$hw/events/device/default/thermo/twin/update';
  const body = { event_id: 'r', timestamp: 0, twin: { temperature: { actual: { value } } } };
  bus.send('twin', newEnvelope({ ...route, resource }, JSON.stringify(body)));
}

test('moved at work, and moved while its first edge is away', async () => {
  const cloud = await startCloud({ transport });
  closing.push(() => cloud.close());
  await cloud.api.create(kind('devicemodels'), {
    metadata: { name: 'm' },
    spec: { properties: [{ name: 'temperature', type: 'INT' }] },
  });
  await cloud.api.create(kind('devices'), {
    metadata: { name: 'thermo' },
    spec: {
      nodeName: 'edge-1',
      deviceModelRef: { name: 'm' },
      properties: [{ name: 'temperature', desired: { value: '21' } }],
    },
  });
  const move = (nodeName: string) =>
    cloud.api.patch({ ...kind('devices'), name: 'thermo' }, 'merge', { spec: { nodeName } });
  const reported = async () => {
    const ref = { ...kind('devicestatuses'), name: 'thermo' };
    const { status } = deviceStatusSchema.parse(await cloud.api.get(ref));
    return status?.twins?.[0]?.reported?.value;
  };
  const isAt = (edge: Edge) => expect.poll(() => held(edge));

  const first = await edgeOf(cloud, 'edge-1');
  const second = await edgeOf(cloud, 'edge-2');
  await isAt(first.edge).toEqual(['default/thermo']);
  report(first.edge, '1');
  await expect.poll(reported).toBe('1');

  await move('edge-2');
  await isAt(second.edge).toEqual(['default/thermo']);
  await isAt(first.edge).toEqual([]);
  report(second.edge, '2');
  await expect.poll(reported).toBe('2');

  second.path.silence();
  second.path.cut();
  await second.edge.until(() => second.edge.news.at(-1) === 'cloud_disconnected');
  // Said while it was still its own; nobody may hear it after what the other says.
  report(second.edge, '3');
  await move('edge-1');
  await isAt(first.edge).toEqual(['default/thermo']);
  report(first.edge, '4');
  await expect.poll(reported).toBe('4');
  second.path.heal();
  await second.edge.connected(2);
  await isAt(second.edge).toEqual([]);
  expect(await reported()).toBe('4');
  report(first.edge, '5');
  await expect.poll(reported).toBe('5');
});
