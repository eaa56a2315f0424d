import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { plain, short, TestEdge } from './test-edge.ts';

const id = 'default/thermo';
const topic = (rest: string) => `$hw/events/device/${id}/${rest}`;

let edge: TestEdge;
beforeEach(async () => {
  edge = await new TestEdge().start();
});
afterEach(() => edge.end());

const update = (twin: object) => edge.client(topic('twin/update'), { event_id: 'e', timestamp: 0, twin });

async function twin(): Promise<Record<string, unknown>> {
  edge.client(topic('twin/get'), { event_id: 'get' });
  const all = await edge.takePublished(1);
  const body = all.at(-1)?.body as { twin: Record<string, unknown> };
  return plain(body.twin) as Record<string, unknown>;
}

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
    ['such a type without a value', { n: { metadata: { type: 'bytes' } } }, 400, 'the value type is not'],
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
