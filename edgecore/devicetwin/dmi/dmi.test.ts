import { lstatSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { registerAnswerSchema } from '#protocol/dmi/messages.ts';
import { short, TestEdge } from '../test-edge.ts';
import type { LeaseOptions } from './mapper-link.ts';
import { TestMapper } from './test-mapper.ts';

const model = {
  metadata: { name: 'thermo-model', namespace: 'default', uid: 'm' },
  spec: {
    protocol: 'modbus',
    properties: [
      { name: 'temperature', type: 'INT', accessMode: 'ReadOnly' },
      { name: 'setpoint', type: 'INT', accessMode: 'ReadWrite' },
    ],
  },
};
const device = (name: string, desired = '21', extra: object = {}) => ({
  metadata: { name, namespace: 'default', uid: `u-${name}` },
  spec: {
    deviceModelRef: { name: 'thermo-model' },
    nodeName: 'edge-1',
    protocol: { protocolName: 'modbus', configData: { ip: '10.0.0.9', port: 502 } },
    properties: [
      { name: 'temperature', reportToCloud: true },
      { name: 'setpoint', desired: { value: desired } },
    ],
    ...extra,
  },
});
const report = (name: string, twins: object[]) => ({
  deviceName: name,
  deviceNamespace: 'default',
  reportedDevice: { twins },
});

let edge: TestEdge;
let mapper: TestMapper;

/** Looks often whether a mapper is there again, and never takes one for dead that is only slow. */
const patient = { pingEveryMs: 40, leaseMs: 600_000 };

beforeEach(() => begin(patient));
afterEach(end);

async function begin(lease: LeaseOptions): Promise<void> {
  edge = new TestEdge({ dmi: true, lease });
  edge.held.device.push(device('t1'));
  edge.held.devicemodel.push(model);
  await edge.start();
  edge.link(true);
  mapper = new TestMapper(edge.dir);
}

async function end(): Promise<void> {
  await mapper.die();
  await edge.end();
}

const state = (of: unknown) => JSON.stringify(of);

describe('a mapper', () => {
  test('registers with data: is handed its devices and models, and told of every change after', async () => {
    await mapper.serve();
    edge.object('insert', 'default/device/other', {
      ...device('other'),
      spec: { ...device('other').spec, protocol: { protocolName: 'ble' } },
    });
    const answer = registerAnswerSchema.parse(await mapper.register());
    expect(answer.deviceList.map(({ name }) => name)).toEqual(['t1']);
    expect(answer.modelList.map(({ name }) => name)).toEqual(['thermo-model']);
    edge.object('insert', 'default/device/t2', device('t2'));
    await mapper.until(() => mapper.calls.length === 1);
    edge.object('update', 'default/device/t1', device('t1', '25'));
    await mapper.until(() => mapper.calls.length === 2);
    // Nothing that a mapper would read is another.
    edge.object('update', 'default/device/t1', { ...device('t1', '25'), extra: 1 });
    edge.object('delete', 'default/device/t2', device('t2'));
    await mapper.until(() => mapper.calls.length === 3);
    edge.object('update', 'default/devicemodel/thermo-model', {
      ...model,
      spec: { ...model.spec, properties: [{ name: 'setpoint', type: 'INT', minimum: '5' }] },
    });
    await mapper.until(() => mapper.calls.length === 4);
    expect(mapper.take()).toEqual([
      'RegisterDevice default/t2',
      'UpdateDevice default/t1',
      'RemoveDevice default/t2',
      'UpdateDeviceModel default/thermo-model',
    ]);
  });

  test('registers without data: is told everything by calls, model first', async () => {
    await mapper.serve();
    expect(await mapper.register(false)).toEqual({ modelList: [], deviceList: [] });
    await mapper.until(() => mapper.calls.length === 2);
    expect(mapper.take()).toEqual(['CreateDeviceModel default/thermo-model', 'RegisterDevice default/t1']);
  });

  test('reports status and states as if over MQTT: stored, published, and confirmed by the cloud', async () => {
    await mapper.register();
    const before = edge.reports.length;
    const temperature = {
      propertyName: 'temperature',
      observedDesired: { value: '' },
      reported: { value: '20' },
    };
    // An echo of an older wish does not overwrite what the spec wants now.
    const setpoint = { propertyName: 'setpoint', observedDesired: { value: '7' }, reported: { value: '21' } };
    await mapper.call('ReportDeviceStatus', report('t1', [temperature, setpoint]));
    await mapper.call('ReportDeviceStates', {
      deviceName: 't1',
      deviceNamespace: 'default',
      state: 'online',
    });
    await edge.idle();
    const topics = short(edge.published).map(([topic]) => topic);
    expect(topics).toContain('device/default/t1/twin/update/result');
    expect(topics).toContain('device/default/t1/state/update/result');
    edge.published.length = 0;
    edge.client('$hw/events/device/default/t1/twin/get', {});
    expect(short(await edge.takePublished(1))[0]?.[1]).toMatchObject({
      twin: {
        temperature: { actual: { value: '20' }, metadata: { type: 'int' } },
        setpoint: { expected: { value: '21' }, actual: { value: '21' } },
      },
    });
    await edge.until(() =>
      edge.reports.slice(before).some(({ route }) => route.resource.includes('state/update')),
    );
  });

  test('may report hundreds of times at once, in order', async () => {
    await mapper.register();
    const sent = Array.from({ length: 300 }, (_, at) =>
      mapper.call(
        'ReportDeviceStatus',
        report('t1', [{ propertyName: 'temperature', reported: { value: `${at}` } }]),
      ),
    );
    await Promise.all(sent);
    edge.published.length = 0;
    edge.client('$hw/events/device/default/t1/twin/get', {});
    expect(state(await edge.takePublished(1))).toContain('"actual":{"value":"299"');
  });

  test('is told only what changed when the edge was restarted, and needs not register again', async () => {
    await mapper.serve();
    await mapper.register();
    edge.object('insert', 'default/device/t2', device('t2'));
    await mapper.until(() => mapper.calls.length === 1);
    await edge.idle();
    await edge.stop();
    mapper.take();
    edge.held.device = [device('t1', '30'), device('t3')];
    await edge.start();
    await mapper.until(() => mapper.calls.length >= 3);
    expect(mapper.take().sort()).toEqual([
      'RegisterDevice default/t3',
      'RemoveDevice default/t2',
      'UpdateDevice default/t1',
    ]);
  });

  test('that is away when something changes is told when it is there again', async () => {
    await mapper.register();
    edge.object('update', 'default/device/t1', device('t1', '22'));
    edge.object('update', 'default/device/t1', device('t1', '23'));
    edge.object('insert', 'default/device/t2', device('t2'));
    await edge.idle();
    await mapper.serve();
    await mapper.until(() => mapper.calls.length >= 2);
    expect(mapper.take().sort()).toEqual(['RegisterDevice default/t2', 'UpdateDevice default/t1']);
  });

  test('that refuses one device gets the others, and that one again until it takes it', async () => {
    let refusals = 0;
    mapper.refuse = (_, what) => {
      if (what !== 'default/bad' || refusals === 2) return undefined;
      refusals += 1;
      return 'not now';
    };
    await mapper.serve();
    await mapper.register();
    edge.object('insert', 'default/device/bad', device('bad'));
    edge.object('insert', 'default/device/good', device('good'));
    await mapper.until(() => mapper.calls.length === 2);
    expect(mapper.take().sort()).toEqual(['RegisterDevice default/bad', 'RegisterDevice default/good']);
    expect(refusals).toBe(2);
  });

  test('that never answers delays neither another mapper nor clients over MQTT', async () => {
    mapper.hangs = true;
    await mapper.serve();
    await mapper.register(false);
    const other = new TestMapper(edge.dir, { name: 'ble-mapper', protocol: 'ble' });
    await other.serve();
    await other.register();
    const { spec } = device('t2');
    edge.object('insert', 'default/device/t2', {
      ...device('t2'),
      spec: { ...spec, protocol: { protocolName: 'ble' } },
    });
    await other.until(() => other.calls.length === 2);
    expect(other.take()).toEqual(['CreateDeviceModel default/thermo-model', 'RegisterDevice default/t2']);
    await other.call('ReportDeviceStates', { deviceName: 't2', deviceNamespace: 'default', state: 'ok' });
    edge.published.length = 0;
    edge.client('$hw/events/device/default/t1/twin/get', {});
    await edge.takePublished(1);
    expect(mapper.calls).toEqual([]);
    await other.die();
  });

  test('of a protocol that another serves takes its devices over', async () => {
    await mapper.serve();
    await mapper.register();
    const second = new TestMapper(edge.dir, { name: 'm2' });
    await second.serve();
    const answer = registerAnswerSchema.parse(await second.register());
    expect(answer.deviceList).toHaveLength(1);
    await mapper.until(() => mapper.calls.length === 2);
    expect(mapper.take()).toEqual(['RemoveDevice default/t1', 'RemoveDeviceModel default/thermo-model']);
    edge.object('update', 'default/device/t1', device('t1', '22'));
    await second.until(() => second.calls.length === 1);
    expect(mapper.take()).toEqual([]);
    await second.die();
  });

  test('is not told of a device whose model is not here until it is', async () => {
    await mapper.serve();
    await mapper.register();
    edge.object('insert', 'default/device/t2', device('t2', '1', { deviceModelRef: { name: 'later' } }));
    edge.object('insert', 'default/device/odd', device('odd', '1', { deviceModelRef: null }));
    await edge.idle();
    edge.object('insert', 'default/devicemodel/later', {
      ...model,
      metadata: { name: 'later', namespace: 'default' },
    });
    await mapper.until(() => mapper.calls.length === 2);
    expect(mapper.take()).toEqual(['CreateDeviceModel default/later', 'RegisterDevice default/t2']);
  });
});

describe('a mapper of a short lease', () => {
  beforeEach(async () => {
    await end();
    await begin({ pingEveryMs: 40, leaseMs: 120 });
  });

  test('that dies leaves its devices unknown; when it is back they are what they were', async () => {
    await mapper.serve();
    await mapper.register();
    await mapper.call('ReportDeviceStates', {
      deviceName: 't1',
      deviceNamespace: 'default',
      state: 'online',
    });
    const said = () =>
      edge.published.flatMap(({ topic, body }) =>
        topic.endsWith('state/update/result') ? [Object(body).device.state] : [],
      );
    await mapper.die();
    await edge.until(() => said().includes('unknown'));
    await edge.until(() =>
      edge.reports.some(
        ({ route, content }) => route.resource.endsWith('state/update') && `${content}`.includes('unknown'),
      ),
    );
    // Also when the edge was restarted in between.
    await edge.idle();
    await edge.stop();
    await edge.start();
    edge.published.length = 0;
    await mapper.serve();
    await edge.until(() => said().includes('online'));
  });

  test('that hangs, and whose socket still takes connections, is as good as dead', async () => {
    await mapper.serve();
    await mapper.register();
    await mapper.call('ReportDeviceStates', { deviceName: 't1', deviceNamespace: 'default', state: 'ok' });
    await mapper.die();
    const sockets: Socket[] = [];
    const dumb = createServer((socket) => sockets.push(socket.on('error', () => {})));
    await new Promise<void>((resolve) => dumb.listen(mapper.socket, resolve));
    await edge.until(() => JSON.stringify(edge.published).includes('"state":"unknown"'));
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => dumb.close(resolve));
  });
});

describe('requests that are no use', () => {
  const info = { name: 'm', protocol: 'p', address: Buffer.from('/tmp/x.sock') };
  const table: [string, string, object, string][] = [
    ['no mapper', 'MapperRegister', { withData: true }, 'INVALID_ARGUMENT'],
    ['no protocol', 'MapperRegister', { mapper: { ...info, protocol: '' } }, 'INVALID_ARGUMENT'],
    ['a name that is a path', 'MapperRegister', { mapper: { ...info, name: '../../x' } }, 'INVALID_ARGUMENT'],
    ['no name', 'MapperRegister', { mapper: { ...info, name: '' } }, 'INVALID_ARGUMENT'],
    [
      'an address that is no path',
      'MapperRegister',
      { mapper: { ...info, address: Buffer.from('10.0.0.1:80') } },
      'INVALID_ARGUMENT',
    ],
    [
      'an address with a zero',
      'MapperRegister',
      { mapper: { ...info, address: Buffer.from('/a\0b') } },
      'INVALID_ARGUMENT',
    ],
    [
      'a long address',
      'MapperRegister',
      { mapper: { ...info, address: Buffer.from(`/${'x'.repeat(200)}`) } },
      'INVALID_ARGUMENT',
    ],
    [
      'a long version',
      'MapperRegister',
      { mapper: { ...info, version: 'x'.repeat(1000) } },
      'INVALID_ARGUMENT',
    ],
    ['an empty report', 'ReportDeviceStatus', {}, 'INVALID_ARGUMENT'],
    ['a report without a device', 'ReportDeviceStatus', { deviceName: 't1' }, 'INVALID_ARGUMENT'],
    ['a report without twins', 'ReportDeviceStatus', report('t1', []), 'INVALID_ARGUMENT'],
    ['a twin without sides', 'ReportDeviceStatus', report('t1', [{ propertyName: 'x' }]), 'INVALID_ARGUMENT'],
    [
      'a twin without a name',
      'ReportDeviceStatus',
      report('t1', [{ reported: { value: '1' } }]),
      'INVALID_ARGUMENT',
    ],
    [
      'a value that is not of the type',
      'ReportDeviceStatus',
      report('t1', [{ propertyName: 'temperature', reported: { value: 'hot' } }]),
      'INVALID_ARGUMENT',
    ],
    [
      'a key of another kind',
      'ReportDeviceStatus',
      report('t1', [{ propertyName: '__proto__', reported: { value: '1' } }]),
      'INVALID_ARGUMENT',
    ],
    [
      'a device that is not here',
      'ReportDeviceStatus',
      report('t9', [{ propertyName: 'x', reported: { value: '1' } }]),
      'NOT_FOUND',
    ],
    ['a state of nothing', 'ReportDeviceStates', {}, 'INVALID_ARGUMENT'],
    ['no state', 'ReportDeviceStates', { deviceName: 't1', deviceNamespace: 'default' }, 'INVALID_ARGUMENT'],
    [
      'a state that is none',
      'ReportDeviceStates',
      { deviceName: 't1', deviceNamespace: 'default', state: 'fine' },
      'INVALID_ARGUMENT',
    ],
    [
      'a state of a device that is not here',
      'ReportDeviceStates',
      { deviceName: 't9', deviceNamespace: 'default', state: 'ok' },
      'NOT_FOUND',
    ],
    [
      'more than a message may have',
      'ReportDeviceStates',
      { deviceName: 'x'.repeat(5 * 1024 * 1024) },
      'RESOURCE_EXHAUSTED',
    ],
  ];
  test.each(table)('%s (%s)', async (_, method, request, status) => {
    await mapper.register();
    await expect(mapper.call(method, request)).rejects.toMatchObject({ code: 'rpc', status });
    await mapper.call('ReportDeviceStates', { deviceName: 't1', deviceNamespace: 'default', state: 'ok' });
  });
});

describe('the socket', () => {
  const path = () => join(edge.dir, 'dmi.sock');

  test('is for this user only, gone when the edge ends, and there again after', async () => {
    await mapper.register();
    const { mode } = lstatSync(path());
    expect((mode & 0o777).toString(8)).toBe('600');
    await edge.stop();
    expect(lstatSync(path(), { throwIfNoEntry: false })).toBeUndefined();
    await edge.start();
    await mapper.register();
  });

  test('that a dead edge left is replaced', async () => {
    await edge.stop();
    // What a process leaves that is killed: a socket without a listener.
    const left = createServer();
    await new Promise<void>((resolve) => left.listen(join(edge.dir, 'aside'), resolve));
    const { renameSync } = await import('node:fs');
    renameSync(join(edge.dir, 'aside'), path());
    await new Promise((resolve) => left.close(resolve));
    expect(lstatSync(path()).isSocket()).toBe(true);
    await edge.start();
    await mapper.register();
  });

  test.each([
    ['a link', (at: string) => symlinkSync('/etc/hostname', at)],
    ['a file', (at: string) => writeFileSync(at, 'mine')],
  ])('is not put in the place of %s, and MQTT goes on', async (_, make) => {
    await edge.stop();
    make(path());
    await edge.start();
    edge.published.length = 0;
    edge.client('$hw/events/device/default/t1/twin/get', {});
    await edge.takePublished(1);
    expect(lstatSync(path()).isSocket()).toBe(false);
  });

  test('of an edge that lives is not taken away by another', async () => {
    const other = createServer((socket) => socket.end());
    await edge.stop();
    await new Promise<void>((resolve) => other.listen(path(), resolve));
    const { ino } = lstatSync(path());
    await edge.start();
    edge.published.length = 0;
    edge.client('$hw/events/device/default/t1/twin/get', {});
    await edge.takePublished(1);
    expect(lstatSync(path()).ino).toBe(ino);
    await edge.stop();
    expect(lstatSync(path()).ino).toBe(ino);
    await edge.start();
    await new Promise((resolve) => other.close(resolve));
  });
});
