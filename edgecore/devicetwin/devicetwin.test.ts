import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { loadMarks } from '../store/twin-store.ts';
import { type Published, TestEdge } from './test-edge.ts';

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

/** Without times, and property and side as short as they read best. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, field) =>
      ['timestamp', 'event_id'].includes(key)
        ? undefined
        : key === 'metadata' && !field.type
          ? undefined
          : field,
    ),
  );
}

const short = (published: Published[]) =>
  published.map((one) => [one.topic.replace('$hw/events/', ''), plain(one.body)]);

describe('requests of clients', () => {
  const known = { metadata: { type: 'int' }, optional: true };
  const wrong: [string, unknown, number, string][] = [
    ['a number as value', { t: { actual: { value: 1 } } }, 400, 'Unmarshal update request body failed'],
    ['a side without value', { t: { expected: {} } }, 400, 'Unmarshal update request body failed'],
    ['a key with a space', { 't t': { actual: { value: '1' } } }, 400, 'The key of twin must only'],
    ['a long key', { ['k'.repeat(129)]: null }, 400, 'The key of twin must only'],
    ['a long value', { t: { actual: { value: 'v'.repeat(513) } } }, 400, 'The value of twin must only'],
    [
      'a type nobody knows',
      { n: { actual: { value: '1' }, metadata: { type: 'double' } } },
      400,
      'the value type is not',
    ],
    ['2^63', { t: { actual: { value: '9223372036854775808' } } }, 400, 'the value is not int'],
    [
      'no float',
      { n: { actual: { value: '1,5' }, metadata: { type: 'float' } } },
      400,
      'the value is not float',
    ],
    [
      'no boolean',
      { n: { expected: { value: 'TRUE' }, metadata: { type: 'boolean' } } },
      400,
      'the bool value must',
    ],
    ['expected of a wrong type', { t: { expected: { value: 'x' } } }, 400, 'the value is not int'],
  ];
  test.each(wrong)('%s is refused as a whole', async (_, entries, code, reason) => {
    edge.membership({ added_devices: [{ id, name: 'thermo' }] });
    update({ t: { actual: { value: '1' }, metadata: { type: 'int' } } });
    await edge.takePublished(3);
    update({ ok: { actual: { value: '1' } }, ...(entries as object) });
    const answers = await edge.takePublished(1);
    expect(answers.at(-1)).toMatchObject({
      topic: topic('twin/update/result'),
      body: { code, reason: expect.stringContaining(reason) },
    });
    expect(await twin()).toEqual({ t: { actual: { value: '1' }, ...known } });
  });

  const taken: [string, object, unknown][] = [
    ['2^63 - 1', { t: { actual: { value: '9223372036854775807' } } }, { value: '9223372036854775807' }],
    ['-2^63', { t: { actual: { value: '-9223372036854775808' } } }, { value: '-9223372036854775808' }],
    ['null metadata', { t: { actual: { value: '2', metadata: null }, metadata: null } }, { value: '2' }],
    ['an empty value: it is gone', { t: { actual: { value: '' } } }, undefined],
  ];
  test.each(taken)('%s is taken', async (_, entries, actual) => {
    edge.membership({ added_devices: [{ id, name: 'thermo' }] });
    update({ t: { actual: { value: '1' }, metadata: { type: 'int' } } });
    update(entries);
    await edge.takePublished(5);
    expect((await twin()).t).toEqual({ ...(actual === undefined ? {} : { actual }), ...known });
  });

  test('a property that is not optional stays, and says so by not being in the answer', async () => {
    edge.membership({ added_devices: [{ id, name: 'thermo' }] });
    update({ t: { actual: { value: '1' }, optional: false } });
    await edge.takePublished(3);
    update({ t: null, unknown: null });
    expect(short(await edge.takePublished(2))).toEqual([
      [`device/${id}/twin/update/result`, { twin: {} }],
      [`device/${id}/twin/update/document`, { twin: { unknown: { last: null, current: null } } }],
    ]);
  });

  test('a key that was deleted is new again, with a type of its own, and its versions go on', async () => {
    edge.membership({ added_devices: [{ id, name: 'thermo' }] });
    update({ t: { actual: { value: '1' }, metadata: { type: 'int' } } });
    update({ t: null });
    update({ t: { actual: { value: 'hot' } } });
    await edge.takePublished(7);
    edge.link(true);
    await edge.until(() => edge.reports.length >= 2);
    const report = edge.reports.find(({ route }) => route.resource.endsWith('edge_updated'));
    expect(plain(report?.content)).toEqual({
      twin: {
        t: {
          actual: { value: 'hot' },
          actual_version: { cloud: 0, edge: 3 },
          optional: true,
          metadata: { type: 'string' },
        },
      },
    });
  });

  test('states: field names in any case, as written, the last time online kept but not told', async () => {
    edge.membership({ added_devices: [{ id, name: 'thermo' }] });
    edge.client(topic('state/update'), { State: 'Online' });
    edge.client(topic('state/update'), { state: 'unhealthy' });
    edge.client(topic('state/update'), { state: 'bogus' });
    edge.client(topic('state/update'), 'not json');
    edge.client('$hw/events/device/default/unknown/state/update', { state: 'online' });
    edge.client('$hw/events/node/another/membership/get', { event_id: 'm' });
    const published = await edge.takePublished(4);
    expect(short(published).slice(1)).toEqual([
      [
        `device/${id}/state/update/result`,
        {
          device: {
            name: 'thermo',
            state: 'Online',
            lastOnlineTime: expect.stringMatching(/^\d{4}.*:\d\dZ$/),
          },
        },
      ],
      [`device/${id}/state/update/result`, { device: { name: 'thermo', state: 'unhealthy' } }],
      [
        'node/edge-1/membership/get/result',
        { devices: [{ id, name: 'thermo', state: 'unhealthy', last_online: expect.any(String) }] },
      ],
    ]);
  });

  test('a client may not speak for the cloud, and nothing it sends ends the module', async () => {
    edge.membership({ added_devices: [{ id, name: 'thermo' }] });
    await edge.takePublished(1);
    edge.client(topic('twin/cloud_updated'), {
      twin: { t: { expected: { value: '9' }, expected_version: { cloud: 9, edge: 0 } } },
    });
    for (const body of [
      '',
      'null',
      '[]',
      '0',
      '{"twin":[]}',
      '{"twin":{"__proto__":{"actual":{"value":"1"}}}}',
    ]) {
      edge.client(topic('twin/update'), body);
      edge.client('$hw/events/device', body);
      edge.client('$hw/events/device/a', body);
      edge.client('$hw/events/node/edge-1/membership/get', body);
    }
    edge.membership({ added_devices: [{ id: '../etc', name: 'x' }], removed_devices: [{ id: 'no/such' }] });
    await edge.idle();
    edge.published.length = 0;
    expect(await twin()).toEqual({});
    expect(Object.getPrototypeOf({})).not.toHaveProperty('actual');
  });
});

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

describe('reports to the cloud', () => {
  const marks = () => edge.store.read(loadMarks).map(({ kind, name }) => `${kind} ${name}`.trim());
  const reports = () =>
    edge.reports
      .splice(0)
      .map(({ route, content }) => [
        `${route.source}/${route.group}/${route.operation} ${route.resource}`,
        plain(typeof content === 'string' ? JSON.parse(content) : content),
      ]);
  const report = (twins: Record<string, [string, number]>) => [
    `twin/resource/update device/${id}/twin/edge_updated`,
    {
      twin: Object.fromEntries(
        Object.entries(twins).map(([key, [value, count]]) => [
          key,
          {
            actual: { value },
            actual_version: { cloud: 0, edge: count },
            optional: true,
            metadata: { type: 'string' },
          },
        ]),
      ),
    },
  ];
  const detail = [
    'twin/resource/get membership/detail',
    { event_type: 'group_membership_event', group_id: 'edge-1', operation: 'detail' },
  ];
  const actual = (values: Record<string, string>) =>
    update(Object.fromEntries(Object.entries(values).map(([key, value]) => [key, { actual: { value } }])));

  beforeEach(async () => {
    edge.membership({ added_devices: [{ id, name: 'thermo' }] });
    await edge.takePublished(1);
  });

  test('go up at once, in the shape that KubeEdge sends, and are forgotten when confirmed', async () => {
    edge.link(true);
    await edge.until(() => edge.reports.length === 1);
    expect(reports()).toEqual([detail]);
    actual({ t: '21' });
    await edge.until(() => edge.reports.length === 1);
    edge.client(topic('state/update'), { state: 'offline' });
    await edge.until(() => edge.reports.length === 2);
    const state = edge.reports[1];
    expect(typeof state?.content).toBe('string');
    expect(reports()).toEqual([
      report({ t: ['21', 1] }),
      [`twin/resource/update device/${id}/state/update`, { device: { name: 'thermo', state: 'offline' } }],
    ]);
    await edge.idle();
    expect(marks()).toEqual([]);
  });

  test('made offline go up after the connect, the newest values in one message, also after a restart', async () => {
    actual({ a: '1', b: '1' });
    actual({ a: '2' });
    edge.client(topic('state/update'), { state: 'unknown' });
    await edge.idle();
    expect(edge.reports).toEqual([]);
    await edge.stop();
    await edge.start();
    actual({ a: '3' });
    await edge.idle();
    edge.link(true);
    await edge.until(() => edge.reports.length === 3);
    await edge.idle();
    const sent = reports();
    expect(sent.filter(([route]) => route !== detail[0])).toEqual([
      report({ a: ['3', 3], b: ['1', 1] }),
      [`twin/resource/update device/${id}/state/update`, { device: { name: 'thermo', state: 'unknown' } }],
    ]);
    expect(marks()).toEqual([]);
  });

  test('one at a time: what changes meanwhile follows, and a confirmation covers only what it answers', async () => {
    edge.cloud = () => 'silence';
    edge.link(true);
    actual({ a: '1', b: '1' });
    await edge.until(() => edge.reports.length === 2);
    for (let at = 2; at <= 5; at += 1) actual({ a: `${at}` });
    await edge.idle();
    expect(reports()).toEqual([detail, report({ a: ['1', 1], b: ['1', 1] })]);
    edge.link(false);
    await edge.idle();
    expect(marks().sort()).toEqual(['twin a', 'twin b']);
    let disturbed = false;
    edge.cloud = ({ route }) => {
      if (route.resource === 'membership/detail' || disturbed) return 'confirm';
      // While this one is on its way, a newer value is stored.
      disturbed = true;
      actual({ a: '6' });
      return 'confirm';
    };
    edge.link(true);
    await edge.until(() => edge.reports.length === 3);
    await edge.idle();
    expect(reports().filter(([route]) => route !== detail[0])).toEqual([
      report({ a: ['5', 5], b: ['1', 1] }),
      report({ a: ['6', 6] }),
    ]);
    expect(marks()).toEqual([]);
  });

  test('stop with the device: nothing of it is sent once it is gone', async () => {
    actual({ a: '1' });
    edge.membership({ removed_devices: [{ id }] });
    await edge.idle();
    edge.link(true);
    await edge.until(() => edge.reports.length === 1);
    await edge.idle();
    expect(reports()).toEqual([detail]);
  });
});

test('a report that is refused or not confirmed is sent again, after growing pauses', async () => {
  const clock = new ManualClock();
  const other = await new TestEdge({ clock }).start();
  other.membership({ added_devices: [{ id, name: 'thermo' }] });
  other.cloud = () => 'error';
  other.link(true);
  other.client(topic('twin/update'), { twin: { t: { actual: { value: '1' } } } });
  await other.until(() => other.reports.length === 2);
  await other.idle();
  await clock.advance(2_000);
  await other.until(() => other.reports.length === 3);
  other.cloud = () => 'silence';
  await clock.advance(4_000);
  await other.until(() => other.reports.length === 4);
  other.cloud = () => 'confirm';
  await other.idle();
  await clock.advance(30_000);
  await other.idle();
  await clock.advance(8_000);
  await other.until(() => other.reports.length === 5);
  await other.idle();
  expect(other.store.read(loadMarks)).toEqual([]);
  await other.end();
});

test('a change that cannot be stored is answered 500 and leaves memory and disk equal', async () => {
  const other = await new TestEdge().start();
  other.membership({ added_devices: [{ id, name: 'thermo' }] });
  await other.takePublished(1);
  other.store.write((sql) =>
    sql.run("CREATE TRIGGER full BEFORE INSERT ON device_twin BEGIN SELECT RAISE(ABORT, 'full'); END"),
  );
  other.client(topic('twin/update'), { event_id: 'e', twin: { t: { actual: { value: '1' } } } });
  expect((await other.takePublished(1))[0]?.body).toMatchObject({ event_id: 'e', code: 500 });
  other.store.write((sql) => sql.run('DROP TRIGGER full'));
  other.client(topic('twin/get'), { event_id: 'g' });
  expect((await other.takePublished(1))[0]?.body).toMatchObject({ event_id: 'g', twin: {} });
  other.client(topic('twin/update'), { event_id: 'e', twin: { t: { actual: { value: '1' } } } });
  expect((await other.takePublished(2))[0]?.body).toMatchObject({ twin: { t: { actual: { value: '1' } } } });
  await other.end();
});
