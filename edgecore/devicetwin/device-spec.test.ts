import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { plain, short, TestEdge } from './test-edge.ts';

const id = 'default/thermo';
const topic = (rest: string) => `$hw/events/device/${id}/${rest}`;

let edge: TestEdge;
beforeEach(async () => {
  edge = await new TestEdge().start();
});
afterEach(() => edge.end());

const model = (...properties: [string, string][]) => ({
  metadata: { name: 'model', namespace: 'default' },
  spec: { properties: properties.map(([name, type]) => ({ name, type })) },
});
const device = (properties: Record<string, string | undefined>, metadata: object = {}) => ({
  metadata: { name: 'thermo', namespace: 'default', uid: 'u1', ...metadata },
  spec: {
    deviceModelRef: { name: 'model' },
    properties: Object.entries(properties).map(([name, value]) => ({
      name,
      ...(value === undefined ? {} : { desired: { value } }),
    })),
  },
});
const insertDevice = (properties: Record<string, string | undefined>, metadata: object = {}) =>
  edge.object('insert', 'default/device/thermo', device(properties, metadata));
const updateDevice = (properties: Record<string, string | undefined>, metadata: object = {}) =>
  edge.object('update', 'default/device/thermo', device(properties, metadata));
const insertModel = (...properties: [string, string][]) =>
  edge.object('insert', 'default/devicemodel/model', model(...properties));
const update = (twin: object) => edge.client(topic('twin/update'), { event_id: 'e', timestamp: 0, twin });

async function twin(): Promise<Record<string, unknown>> {
  edge.client(topic('twin/get'), { event_id: 'get' });
  const all = await edge.takePublished(1);
  const body = all.at(-1)?.body as { twin: Record<string, unknown> };
  return plain(body.twin) as Record<string, unknown>;
}

describe('Device objects', () => {
  test('make the device, its types and what is wanted of it known', async () => {
    insertModel(['temperature', 'INT'], ['on', 'BOOLEAN'], ['ratio', 'DOUBLE']);
    insertDevice({ temperature: '20', on: undefined, ratio: '0.5' });
    const temperature = { expected: { value: '20' }, optional: true, metadata: { type: 'int' } };
    const ratio = { expected: { value: '0.5' }, optional: true, metadata: { type: 'float' } };
    expect(short(await edge.takePublished(3))).toEqual([
      ['node/edge-1/membership/updated', { added_devices: [{ id, name: 'thermo' }], removed_devices: null }],
      [
        `device/${id}/twin/update/document`,
        {
          twin: { ratio: { last: null, current: ratio }, temperature: { last: null, current: temperature } },
        },
      ],
      [
        `device/${id}/twin/update/delta`,
        { twin: { ratio, temperature }, delta: { ratio: '0.5', temperature: '20' } },
      ],
    ]);
    expect(await twin()).toEqual({ temperature, ratio });
    update({ on: { actual: { value: 'maybe' }, metadata: { type: 'string' } } });
    expect((await edge.takePublished(1))[0]?.body).toMatchObject({
      code: 400,
      reason: 'the bool value must be true or false',
    });
  });

  test('a local wish holds until the spec wishes something else', async () => {
    insertModel(['temperature', 'INT']);
    insertDevice({ temperature: '20' });
    update({ temperature: { expected: { value: '30' } } });
    updateDevice({ temperature: '20', other: '1' });
    await edge.idle();
    const wanted = async () => (await twin()).temperature;
    const expected = (value: string) => ({ expected: { value }, optional: true, metadata: { type: 'int' } });
    edge.published.length = 0;
    expect(await wanted()).toEqual(expected('30'));
    await edge.stop();
    edge.held.devicemodel = [model(['temperature', 'INT'])];
    edge.held.device = [device({ temperature: '20', other: '1' })];
    await edge.start();
    await edge.idle();
    expect(await wanted()).toEqual(expected('30'));
    updateDevice({ temperature: '21', other: '1' });
    await edge.takePublished(2);
    expect(await wanted()).toEqual(expected('21'));
    updateDevice({ temperature: undefined, other: '1' });
    await edge.takePublished(2);
    expect(await wanted()).toEqual({ optional: true, metadata: { type: 'int' } });
  });

  test('properties that leave the spec go; those of clients stay; actual is never touched', async () => {
    insertModel(['a', 'INT'], ['b', 'INT']);
    insertDevice({ a: '1', b: undefined });
    update({
      a: { actual: { value: '5' } },
      b: { actual: { value: '6' } },
      mine: { actual: { value: 'x' } },
    });
    await edge.idle();
    edge.published.length = 0;
    updateDevice({ b: '7' });
    await edge.takePublished(2);
    expect(await twin()).toEqual({
      b: { expected: { value: '7' }, actual: { value: '6' }, optional: true, metadata: { type: 'int' } },
      mine: { actual: { value: 'x' }, optional: true, metadata: { type: 'string' } },
    });
  });

  test('a desired value that does not fit its type is not taken, the others are', async () => {
    insertModel(['a', 'INT'], ['b', 'STRING']);
    insertDevice({ a: 'much', b: 'any text, also {"json": "ö"}' });
    await edge.takePublished(3);
    expect(await twin()).toEqual({
      b: {
        expected: { value: 'any text, also {"json": "ö"}' },
        optional: true,
        metadata: { type: 'string' },
      },
    });
  });

  test('a model that comes later, or changes, gives its types', async () => {
    insertDevice({ a: undefined });
    insertModel(['a', 'INT']);
    update({ a: { actual: { value: 'x' } } });
    const answers = await edge.takePublished(2);
    expect(answers.at(-1)?.body).toMatchObject({ reason: 'the value is not int or integer' });
    edge.object('update', 'default/devicemodel/model', model(['a', 'STRING']));
    update({ a: { actual: { value: 'x' } } });
    expect((await edge.takePublished(2))[0]?.body).toMatchObject({ twin: { a: { actual: { value: 'x' } } } });
  });

  test('a deletion takes all rows with it, one of an earlier device of that name takes nothing', async () => {
    insertDevice({ a: '1' }, { uid: 'u2', labels: { description: 'hall 3' } });
    await edge.takePublished(3);
    edge.object('delete', 'default/device/thermo', {
      metadata: { name: 'thermo', namespace: 'default', uid: 'u1' },
    });
    expect(Object.keys(await twin())).toEqual(['a']);
    edge.object('delete', 'default/device/thermo', {
      metadata: { name: 'thermo', namespace: 'default', uid: 'u2' },
    });
    expect(short(await edge.takePublished(1))).toEqual([
      [
        'node/edge-1/membership/updated',
        { added_devices: null, removed_devices: [{ id, name: 'thermo', description: 'hall 3' }] },
      ],
    ]);
    const rows = edge.store.read((sql) => [
      ...sql.all('SELECT id FROM device'),
      ...sql.all('SELECT name FROM device_twin'),
      ...sql.all('SELECT name FROM twin_unsynced'),
    ]);
    expect(rows).toEqual([]);
  });

  test('another uid is another device: nothing of the old twin holds', async () => {
    insertDevice({ a: '1', b: '2' }, { uid: 'u1' });
    update({ a: { actual: { value: '9' } }, mine: { actual: { value: '9' } } });
    await edge.idle();
    edge.published.length = 0;
    updateDevice({ a: '1' }, { uid: 'u2' });
    await edge.takePublished(4);
    const only = { a: { expected: { value: '1' }, optional: true, metadata: { type: 'string' } } };
    expect(await twin()).toEqual(only);
    await edge.stop();
    edge.held.device = [device({ a: '1' }, { uid: 'u2' })];
    await edge.start();
    expect(await twin()).toEqual(only);
  });

  test('at the start what MetaManager holds is made up for, also a deletion that was missed', async () => {
    insertDevice({ a: '1' });
    edge.membership({ added_devices: [{ id: 'default/member-only', name: 'member-only' }] });
    await edge.takePublished(4);
    await edge.stop();
    edge.held.devicemodel = [];
    edge.held.device = [{ metadata: { name: 'new', namespace: 'plant', uid: 'u9' }, spec: {} }];
    await edge.start();
    await edge.takePublished(2);
    edge.client('$hw/events/node/edge-1/membership/get', {});
    expect(plain((await edge.takePublished(1))[0]?.body)).toEqual({
      devices: [
        { id: 'default/member-only', name: 'member-only' },
        { id: 'plant/new', name: 'new' },
      ],
    });
  });
});
