import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Envelope } from '#protocol/message.ts';
import { type ControllerFixture, startController } from '#test/fixtures/controller.ts';
import { createDeviceController, deviceControllerInbox } from './devicecontroller.ts';

const node = 'edge-1';
const kind = (plural: string) => ({
  apiVersion: 'devices.kubeedge.io/v1beta1',
  plural,
  namespace: 'default',
});
const devices = kind('devices');
const models = kind('devicemodels');
const statuses = kind('devicestatuses');

let fixture: ControllerFixture;
let epoch: string;

beforeEach(async () => {
  fixture = await startController('devicecontroller', deviceControllerInbox, (components) =>
    createDeviceController({}, components),
  );
  epoch = fixture.cache.epoch ?? '';
  await fixture.api.create(models, {
    metadata: { name: 'thermo' },
    spec: { properties: [{ name: 'temp' }] },
  });
});
afterEach(() => fixture.close());

async function addDevice(name: string, on = node, more = {}) {
  const properties = [{ name: 'temp', desired: { value: '20' } }, { name: 'mode' }];
  const spec = { deviceModelRef: { name: 'thermo' }, nodeName: on, properties, ...more };
  const device = await fixture.api.create(devices, { metadata: { name }, spec });
  await fixture.settle();
  return device;
}

async function openSession(held: readonly object[] = []) {
  fixture.connect(node, 'hawser');
  await fixture.settle();
  fixture.sayHeld(node, epoch, held);
  await fixture.settle();
}

const change = async (name: string, spec: object) => {
  await fixture.api.patch({ ...devices, name }, 'merge', { spec });
  await fixture.settle();
};

describe('DeviceController, down', () => {
  it('tells of the device, then sends its model, then the device', async () => {
    await addDevice('thermo-1');
    await openSession();
    expect(fixture.sent.map(({ route }) => [route.source, route.group])).toEqual([
      ['devicecontroller', 'twin'],
      ['devicecontroller', 'resource'],
      ['devicecontroller', 'resource'],
    ]);
    const member = fixture.sent.find(({ route }) => route.group === 'twin');
    expect(member?.content).toMatchObject({
      event_id: expect.any(String),
      timestamp: expect.any(Number),
      added_devices: [{ id: 'default/thermo-1', name: 'thermo-1' }],
      removed_devices: null,
    });
    expect(fixture.pushes()).toEqual([
      'update edge-1/membership',
      'insert edge-1/default/devicemodel/thermo',
      'insert edge-1/default/device/thermo-1',
    ]);
  });

  it('sends changes of spec, and of the model, but none of labels', async () => {
    await openSession();
    await addDevice('thermo-1');
    await addDevice('thermo-2');
    fixture.pushes();
    await change('thermo-1', { properties: [{ name: 'temp', desired: { value: '25' } }] });
    expect(fixture.pushes()).toEqual(['update edge-1/default/device/thermo-1']);
    await fixture.api.patch({ ...devices, name: 'thermo-1' }, 'merge', { metadata: { labels: { a: 'b' } } });
    await fixture.settle();
    expect(fixture.pushes()).toEqual([]);
    await fixture.api.patch({ ...models, name: 'thermo' }, 'merge', { spec: { protocol: 'modbus' } });
    await fixture.settle();
    expect(fixture.pushes()).toEqual(['update edge-1/default/devicemodel/thermo']);
  });

  it('takes a device away, and its model with the last one that uses it', async () => {
    await openSession();
    const first = await addDevice('thermo-1');
    await addDevice('thermo-2');
    fixture.pushes();
    await fixture.api.delete({ ...devices, name: 'thermo-1' });
    await fixture.settle();
    const removal = fixture.sent.find(({ route }) => route.operation === 'delete');
    expect(removal?.content).toEqual({
      metadata: { name: 'thermo-1', namespace: 'default', uid: first.metadata.uid },
    });
    expect(fixture.pushes()).toEqual(['update edge-1/membership', 'delete edge-1/default/device/thermo-1']);
    await change('thermo-2', { nodeName: 'edge-2' });
    expect(fixture.pushes()).toEqual([
      'update edge-1/membership',
      'delete edge-1/default/device/thermo-2',
      'delete edge-1/default/devicemodel/thermo',
    ]);
  });

  it('moves a device: away from the old node, whole to the new one', async () => {
    await addDevice('thermo-1');
    await openSession();
    fixture.connect('edge-2', 'kubeedge');
    await fixture.settle();
    fixture.pushes();
    await change('thermo-1', { nodeName: 'edge-2' });
    const pushes = fixture.pushes();
    expect(pushes.filter((push) => push.includes('edge-1/'))).toHaveLength(3);
    expect(pushes.filter((push) => push.includes('edge-2/'))).toEqual([
      'update edge-2/membership',
      'insert edge-2/default/devicemodel/thermo',
      'insert edge-2/default/device/thermo-1',
    ]);
  });

  it('sends only the difference to what an edge holds', async () => {
    const device = await addDevice('kept');
    const changed = await addDevice('changed');
    const model = await fixture.api.get({ ...models, name: 'thermo' });
    const held = (path: string, { metadata }: typeof device, resourceVersion = metadata.resourceVersion) => ({
      path,
      uid: metadata.uid,
      resourceVersion,
    });
    await openSession([
      held('default/device/kept', device),
      held('default/device/changed', changed, '1'),
      held('default/devicemodel/thermo', model),
      { path: 'default/device/gone', uid: 'gone', resourceVersion: '3' },
      { path: 'default/pod/not-mine', uid: 'x', resourceVersion: '3' },
    ]);
    expect(fixture.pushes()).toEqual([
      'update edge-1/membership',
      'delete edge-1/default/device/gone',
      'update edge-1/default/device/changed',
    ]);
  });

  it('answers membership/detail and tells of all devices', async () => {
    await addDevice('thermo-1');
    const route = { source: 'twin', group: 'resource', operation: 'get', resource: 'membership/detail' };
    const body = { event_type: 'group_membership_event', event_id: 'e', operation: 'detail', group_id: node };
    const id = fixture.say(node, route, JSON.stringify(body));
    expect(await fixture.answerTo(id)).toMatchObject({
      route: { source: 'devicecontroller', group: 'twin', operation: 'response' },
      content: 'OK',
    });
    await fixture.settle();
    expect(fixture.pushes()).toEqual(['update edge-1/membership']);
  });
});

const report = (device: string, twin: object, from = node) =>
  fixture.say(
    from,
    {
      source: 'twin',
      group: 'resource',
      operation: 'update',
      resource: `device/default/${device}/twin/edge_updated`,
    },
    { event_id: 'e', timestamp: 1, twin },
  );

const actual = (value: string, timestamp = 7) => ({
  actual: { value, metadata: { timestamp } },
  metadata: { type: 'int' },
});

const isConfirmed = (id: string) => fixture.sent.some(({ header }: Envelope) => header.parent_msg_id === id);
const writes = () => fixture.memory.calls.filter((call) => call === 'patch devicestatuses').length;
const statusOf = async (name: string) => (await fixture.api.get({ ...statuses, name })).status;

describe('DeviceController, up', () => {
  it('creates a DeviceStatus for each device, owned by it', async () => {
    const device = await addDevice('thermo-1');
    const status = await fixture.api.get({ ...statuses, name: 'thermo-1' });
    expect(status.metadata.ownerReferences).toMatchObject([
      { kind: 'Device', name: 'thermo-1', uid: device.metadata.uid, controller: true },
    ]);
  });

  it('writes the first report with its value, then confirms it', async () => {
    await addDevice('thermo-1');
    const id = report('thermo-1', {
      temp: { ...actual('21'), expected: { value: '20', metadata: { timestamp: 6 } } },
    });
    const answer = await fixture.answerTo(id);
    expect(answer).toMatchObject({
      route: {
        source: 'devicecontroller',
        group: 'twin',
        operation: 'response',
        resource: 'node/edge-1/twin',
      },
      content: 'OK',
    });
    expect(await statusOf('thermo-1')).toEqual({
      twins: [
        {
          propertyName: 'temp',
          observedDesired: { value: '20', metadata: { timestamp: '6', type: 'int' } },
          reported: { value: '21', metadata: { timestamp: '7', type: 'int' } },
        },
      ],
    });
  });

  it('writes at most once a second a device, the last value wins, and confirms every report', async () => {
    await addDevice('thermo-1');
    await fixture.answerTo(report('thermo-1', { temp: actual('1') }));
    expect(writes()).toBe(1);
    const ids = ['2', '3', '4'].map((value) => report('thermo-1', { temp: actual(value) }));
    await fixture.settle();
    expect(writes()).toBe(1);
    expect(ids.some(isConfirmed)).toBe(false);
    await fixture.clock.advance(1_000);
    for (const id of ids) await fixture.answerTo(id);
    expect(writes()).toBe(2);
    expect(await statusOf('thermo-1')).toMatchObject({ twins: [{ reported: { value: '4' } }] });
  });

  it('confirms nothing that is not written, and keeps it until it is', async () => {
    await addDevice('thermo-1');
    fixture.memory.failNext((verb) => verb === 'patch');
    const id = report('thermo-1', { temp: actual('21') });
    await fixture.settle();
    expect(isConfirmed(id)).toBe(false);
    const later = report('thermo-1', { mode: actual('eco') });
    await fixture.clock.advance(1_000);
    await fixture.answerTo(id);
    await fixture.answerTo(later);
    expect(await statusOf('thermo-1')).toMatchObject({
      twins: [
        { propertyName: 'temp', reported: { value: '21' } },
        { propertyName: 'mode', reported: { value: 'eco' } },
      ],
    });
  });

  it('keeps what was there before cloudcore started, and cuts properties that the device lost', async () => {
    const device = await fixture.api.create(devices, {
      metadata: { name: 'old' },
      spec: { nodeName: 'nowhere', properties: [{ name: 'temp' }, { name: 'mode' }] },
    });
    await fixture.settle();
    const earlier = (propertyName: string) => ({ propertyName, reported: { value: 'before', metadata: {} } });
    const twins = [earlier('temp'), earlier('mode'), earlier('dropped')];
    await fixture.api.patch({ ...statuses, name: 'old' }, 'merge', { status: { twins, state: 'online' } });
    await fixture.close();
    const api = fixture.memory;
    fixture = await startController(
      'devicecontroller',
      deviceControllerInbox,
      (components) => createDeviceController({}, components),
      api,
    );
    await fixture.api.patch({ ...devices, name: 'old' }, 'merge', { spec: { nodeName: node } });
    await fixture.settle();
    await fixture.answerTo(report('old', { mode: actual('after'), unknown: actual('x') }));
    expect(device.metadata.uid).toBeTruthy();
    expect(await fixture.api.get({ ...statuses, name: 'old' })).toMatchObject({
      status: {
        state: 'online',
        twins: [
          { propertyName: 'temp', reported: { value: 'before' } },
          { propertyName: 'mode', reported: { value: 'after' } },
        ],
      },
    });
  });

  it('writes state and the time last seen, and keeps that time when the device goes offline', async () => {
    await addDevice('thermo-1');
    const say = (device: object) =>
      fixture.say(
        node,
        {
          source: 'twin',
          group: 'resource',
          operation: 'update',
          resource: 'device/default/thermo-1/state/update',
        },
        JSON.stringify({ event_id: 'e', timestamp: 1, device }),
      );
    const time = '2026-01-01T00:00:00Z';
    await fixture.answerTo(say({ name: 'thermo-1', state: 'online', lastOnlineTime: time }));
    expect(await statusOf('thermo-1')).toEqual({ state: 'online', lastOnlineTime: time });
    const id = say({ name: 'thermo-1', state: 'offline', lastOnlineTime: '' });
    await fixture.settle();
    await fixture.clock.advance(1_000);
    await fixture.answerTo(id);
    expect(await statusOf('thermo-1')).toEqual({ state: 'offline', lastOnlineTime: time });
    const later = '2026-01-02T00:00:00Z';
    say({ name: 'thermo-1', state: 'online', lastOnlineTime: later });
    const last = say({ name: 'thermo-1', state: 'offline', lastOnlineTime: '' });
    await fixture.settle();
    await fixture.clock.advance(1_000);
    await fixture.answerTo(last);
    expect(await statusOf('thermo-1')).toEqual({ state: 'offline', lastOnlineTime: later });
  });

  it('makes a DeviceStatus again that somebody removed', async () => {
    await addDevice('thermo-1');
    await fixture.answerTo(report('thermo-1', { temp: actual('1') }));
    await fixture.api.delete({ ...statuses, name: 'thermo-1' });
    const id = report('thermo-1', { mode: actual('eco') });
    await fixture.settle();
    await fixture.clock.advance(1_000);
    await fixture.clock.advance(1_000);
    await fixture.answerTo(id);
    expect(await statusOf('thermo-1')).toMatchObject({ twins: [{ propertyName: 'mode' }] });
  });

  it('takes nothing over from an earlier device of the name', async () => {
    await addDevice('thermo-1');
    await fixture.answerTo(report('thermo-1', { temp: actual('old') }));
    await fixture.api.delete({ ...devices, name: 'thermo-1' });
    const device = await addDevice('thermo-1');
    const status = await fixture.api.get({ ...statuses, name: 'thermo-1' });
    expect(status.metadata.ownerReferences?.[0]?.uid).toBe(device.metadata.uid);
    expect(status.status).toBeUndefined();
  });

  it('confirms reports of devices that nobody knows, refuses those of another node, survives nonsense', async () => {
    await addDevice('theirs', 'edge-2');
    expect((await fixture.answerTo(report('nobody', { temp: actual('1') }))).content).toBe('OK');
    const refused = await fixture.answerTo(report('theirs', { temp: actual('1') }));
    expect(refused.route.operation).toBe('error');
    expect(await statusOf('theirs')).toBeUndefined();
    const route = { source: 'twin', group: 'resource', operation: 'update' };
    const resource = 'device/default/theirs/twin/edge_updated';
    const id = fixture.say('edge-2', { ...route, resource }, { twin: 'nonsense' });
    expect((await fixture.answerTo(id)).route.operation).toBe('error');
    expect((await fixture.answerTo(report('theirs', { temp: actual('5') }, 'edge-2'))).content).toBe('OK');
  });
});
