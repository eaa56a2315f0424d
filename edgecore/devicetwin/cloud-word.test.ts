/** What only older clouds say, and KubeEdge's edge understands: attributes, whole member lists, twins with versions. */

import { afterEach, beforeEach, expect, test } from 'vitest';
import { short, TestEdge } from './test-edge.ts';

let edge: TestEdge;
beforeEach(async () => {
  edge = await new TestEdge().start();
  edge.link(true);
});
afterEach(() => edge.end());

const member = (name: string, attributes?: object) => ({
  id: `default/${name}`,
  name,
  ...(attributes ? { attributes } : {}),
});
const added = (...members: object[]) =>
  edge.membership({ event_id: '1', timestamp: 0, added_devices: members, removed_devices: null });
const members = async () => {
  edge.client('$hw/events/node/edge-1/membership/get', {});
  const [[, body] = ['', {}]] = short(await edge.takePublished(1));
  return Object(body).devices;
};

test('attributes come with a membership or alone, are published, stored, and taken away', async () => {
  const hall = { value: 'hall-3', optional: true, metadata: { type: 'string' } };
  added(member('a', { place: hall, floor: { value: '3', metadata: { type: 'int' } } }));
  const floor = { value: '3', optional: true, metadata: { type: 'int' } };
  expect(short(await edge.takePublished(2)).map(([topic, body]) => [topic, Object(body).attributes])).toEqual(
    [
      ['node/edge-1/membership/updated', undefined],
      ['device/default/a/updated', { floor, place: hall }],
    ],
  );
  const update = {
    place: null,
    floor: { value: 'up' },
    gone: null,
    colour: { value: 'red' },
    'no key!': { value: '1' },
  };
  edge.cloudSays('update', 'device/default/a/updated', { attributes: update });
  const colour = { value: 'red', optional: true, metadata: { type: 'string' } };
  expect(short(await edge.takePublished(1))).toEqual([
    ['device/default/a/updated', { attributes: { colour, place: null } }],
  ]);
  await edge.stop();
  await edge.start();
  expect(await members()).toEqual([{ id: 'default/a', name: 'a', attributes: { floor, colour } }]);
  edge.cloudSays('update', 'device/default/nobody/updated', { attributes: update });
  edge.cloudSays('updated', 'device/default/a', { attributes: 7 });
  expect(await members()).toHaveLength(1);
});

test('a whole list adds what is new and takes away what no object stands for; an empty one nothing', async () => {
  edge.object('insert', 'default/device/real', {
    metadata: { name: 'real', namespace: 'default', uid: 'u' },
    spec: {},
  });
  added(member('a'), member('b'));
  await edge.takePublished(3);
  edge.cloudSays('update', 'membership/detail', { event_id: '', timestamp: 0, devices: [] });
  expect((await members()).map((it: { name: string }) => it.name).sort()).toEqual(['a', 'b', 'real']);
  edge.cloudSays('update', 'membership/detail', { devices: [member('b'), member('c')] });
  await edge.takePublished(2);
  expect((await members()).map((it: { name: string }) => it.name).sort()).toEqual(['b', 'c', 'real']);
});

test('a twin with versions is taken when the cloud has seen all of ours, else ours goes up', async () => {
  added(member('a'));
  edge.client('$hw/events/device/default/a/twin/update', { twin: { mode: { expected: { value: 'eco' } } } });
  await edge.takePublished(4);
  await edge.until(() => edge.reports.some(({ route }) => route.resource.endsWith('edge_updated')));
  const say = (value: string, cloud: number, edgeCount: number, name = 'mode') =>
    edge.cloudSays('update', 'device/default/a/twin/cloud_updated', {
      event_id: 'c',
      timestamp: 0,
      twin: { [name]: { expected: { value }, expected_version: { cloud, edge: edgeCount } } },
    });
  say('warm', 1, 1);
  const taken = short(await edge.takePublished(2));
  expect(taken.map(([topic]) => topic)).toEqual([
    'device/default/a/twin/update/document',
    'device/default/a/twin/update/delta',
  ]);
  expect(Object(taken[1]?.[1]).delta).toEqual({ mode: 'warm' });
  edge.client('$hw/events/device/default/a/twin/update', { twin: { mode: { expected: { value: 'cold' } } } });
  await edge.takePublished(3);
  const before = edge.reports.length;
  say('stale', 2, 1);
  await edge.until(() =>
    edge.reports.slice(before).some(({ content }) => JSON.stringify(content).includes('cold')),
  );
  say('late', 0, 9);
  say('new', 1, 0, 'fresh');
  await edge.idle();
  edge.cloudSays('update', 'device/default/a/twin/cloud_updated', {
    twin: { mode: { expected: { value: 'x' } }, odd: null },
  });
  await edge.idle();
  edge.published.length = 0;
  edge.client('$hw/events/device/default/a/twin/get', {});
  expect(short(await edge.takePublished(1))[0]?.[1]).toMatchObject({
    twin: { mode: { expected: { value: 'cold' } }, fresh: { expected: { value: 'new' } } },
  });
});
