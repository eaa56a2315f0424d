import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { loadMarks } from '../store/twin-store.ts';
import { plain, TestEdge } from './test-edge.ts';

const id = 'default/thermo';
const topic = (rest: string) => `$hw/events/device/${id}/${rest}`;

let edge: TestEdge;
beforeEach(async () => {
  edge = await new TestEdge().start();
});
afterEach(() => edge.end());

const update = (twin: object) => edge.client(topic('twin/update'), { event_id: 'e', timestamp: 0, twin });

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

  test('what changes meanwhile follows, and a confirmation covers only what it answers', async () => {
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

test('what changes before a report is confirmed follows a moment later; so does the state', async () => {
  const clock = new ManualClock();
  const other = await new TestEdge({ clock }).start();
  other.membership({ added_devices: [{ id, name: 'thermo' }] });
  other.cloud = () => 'silence';
  other.link(true);
  const change = async (value: number) => {
    other.client(topic('twin/update'), { twin: { t: { actual: { value: `${value}` } } } });
    await other.idle();
  };
  const sent = () =>
    other.reports.slice(1).map(({ content }) => {
      const { twin, device } = typeof content === 'string' ? JSON.parse(content) : Object(content);
      return device?.state ?? twin.t.actual.value;
    });
  await change(1);
  await other.until(() => other.reports.length === 2);
  await change(2);
  await change(3);
  other.client(topic('state/update'), { state: 'online' });
  await other.idle();
  expect(sent()).toEqual(['1']);
  await clock.advance(200);
  await other.until(() => other.reports.length === 4);
  expect(sent()).toEqual(['1', '3', 'online']);
  // As many as may be on their way, and no more: the cloud is silent.
  for (let value = 4; value < 30; value += 1) {
    await change(value);
    await clock.advance(200);
    await other.idle();
  }
  expect(sent()).toHaveLength(12);
  other.cloud = () => 'confirm';
  await clock.advance(30_000);
  await other.idle();
  await clock.advance(10_000);
  await other.until(() => sent().includes('29'));
  await other.end();
});
