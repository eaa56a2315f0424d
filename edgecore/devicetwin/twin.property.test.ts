/**
 * Random work on a few devices, with the process killed at random points. After each restart the twin is what some
 * prefix of the work leaves, and that prefix holds all that was answered; at the end the cloud has been told the
 * values that the edge holds.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Envelope } from '#protocol/message.ts';
import { loadDevices, loadMarks } from '../store/twin-store.ts';
import { type Published, TestEdge } from './test-edge.ts';

const names = ['a', 'b'] as const;
const keys = ['k', 'l', 'm'] as const;

type Action =
  | { do: 'actual' | 'expected'; device: string; key: string; value: string }
  | { do: 'drop'; device: string; key: string }
  | { do: 'bad'; device: string }
  | { do: 'spec'; device: string; desired: Record<string, string> }
  | { do: 'gone'; device: string }
  | { do: 'state'; device: string; state: string }
  | { do: 'attribute'; device: string; key: string; value: string | null }
  | { do: 'cloud'; device: string; key: string; value: string; cloud: number; edge: number }
  | { do: 'link'; up: boolean }
  | { do: 'answers'; confirm: boolean }
  | { do: 'kill'; afterAnswers: number };

const device = fc.constantFrom(...names);
const key = fc.constantFrom(...keys);
const value = fc.integer({ min: 0, max: 99 }).map(String);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('actual', 'expected'), device, key, value }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), device, key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('bad' as const), device }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('spec' as const),
      device,
      desired: fc.dictionary(key, value, { maxKeys: 3, noNullPrototype: true }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('gone' as const), device }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('state' as const),
      device,
      state: fc.constantFrom('online', 'offline', 'unhealthy'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('attribute' as const),
      device,
      key,
      value: fc.option(value, { nil: null }),
    }),
  },
  // As an older cloud writes a wish, with what it has seen of the writes so far.
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('cloud' as const),
      device,
      key,
      value,
      cloud: fc.nat(3),
      edge: fc.nat(3),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('link' as const), up: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('answers' as const), confirm: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), afterAnswers: fc.nat(6) }) },
);

interface Side {
  value: string;
  cloud: number;
  edge: number;
}

interface Property {
  expected?: Side;
  actual?: Side;
  deleted: boolean;
  /** What the spec wished last; of properties that stand in it. */
  spec?: string;
}

interface Device {
  properties: Record<string, Property>;
  attributes: Record<string, string>;
  state: string;
}
type Model = Record<string, Device>;

const written = (side: Side | undefined, value: string): Side => ({
  value,
  cloud: side?.cloud ?? 0,
  edge: (side?.edge ?? 0) + 1,
});

/** The rules once more, as plainly as they can be said. */
function apply(model: Model, action: Action): Model {
  const next: Model = structuredClone(model);
  if (!('device' in action)) return next;
  const { device: id } = action;
  if (action.do === 'gone') delete next[id];
  else if (action.do === 'spec') {
    const twin = next[id] ?? { properties: {}, attributes: {}, state: '' };
    next[id] = twin;
    wish(twin.properties, action.desired);
  } else if (next[id] !== undefined) change(next[id], action);
  return next;
}

function wish(properties: Record<string, Property>, desired: Readonly<Record<string, string>>): void {
  for (const [name, { spec }] of Object.entries(properties))
    if (spec !== undefined && !(name in desired)) delete properties[name];
  for (const [name, wanted] of Object.entries(desired)) {
    const property = properties[name] ?? { deleted: false };
    properties[name] = property;
    if (property.spec === wanted) continue;
    property.expected = written(property.expected, wanted);
    property.deleted = false;
    property.spec = wanted;
  }
}

function change(
  twin: Device,
  action: Exclude<Extract<Action, { device: string }>, { do: 'spec' | 'gone' }>,
): void {
  if (action.do === 'bad') return;
  if (action.do === 'state') {
    twin.state = action.state;
    return;
  }
  if (action.do === 'attribute') {
    if (action.value === null) delete twin.attributes[action.key];
    else twin.attributes[action.key] = action.value;
    return;
  }
  const property = twin.properties[action.key] ?? { deleted: false };
  if (action.do === 'drop') {
    if (twin.properties[action.key] === undefined || property.deleted) return;
    if (property.expected) property.expected = written(property.expected, '');
    if (property.actual) property.actual = written(property.actual, '');
    property.deleted = true;
    return;
  }
  const { value: said } = action;
  if (action.do === 'cloud') {
    const { cloud, edge } = action;
    // What the cloud has not seen, it does not overwrite.
    if (property.expected && (property.expected.cloud > cloud || property.expected.edge > edge)) return;
    property.expected = { value: said, cloud, edge };
  } else property[action.do] = written(property[action.do], said);
  property.deleted = false;
  twin.properties[action.key] = property;
}

/** The same view of what is on the disk. */
function stored(edge: TestEdge): Model {
  const devices = edge.store.read(loadDevices);
  return Object.fromEntries(
    [...devices].map(([id, { twin, attributes, state }]): [string, Device] => {
      const properties = [...twin].map(([name, property]): [string, Property] => {
        const { expected, actual, type, appliedDesired } = property;
        const side = (of: typeof expected) => of && { value: of.value, ...of.version };
        const view = { expected: side(expected), actual: side(actual), spec: appliedDesired };
        return [name, { deleted: type === 'deleted', ...defined(view) }];
      });
      const values = [...attributes].map(([name, { value: text }]): [string, string] => [name, text]);
      const view = {
        properties: Object.fromEntries(properties),
        attributes: Object.fromEntries(values),
        state,
      };
      return [id.slice('default/'.length), view];
    }),
  );
}

function defined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return JSON.parse(JSON.stringify(value));
}

function perform(edge: TestEdge, action: Action, uids: Map<string, number>): void {
  if (action.do === 'link') edge.link(action.up);
  else if (action.do === 'answers') edge.cloud = () => (action.confirm ? 'confirm' : 'silence');
  else if (action.do === 'spec' || action.do === 'gone') tellObject(edge, action, uids);
  else if (action.do === 'cloud') {
    const { value, cloud, edge: seen } = action;
    const entry = { expected: { value }, expected_version: { cloud, edge: seen } };
    const resource = `device/default/${action.device}/twin/cloud_updated`;
    edge.cloudSays('update', resource, { event_id: 'c', twin: { [action.key]: entry } });
  } else if (action.do === 'attribute') {
    const entry = action.value === null ? null : { value: action.value };
    const attributes = { [action.key]: entry };
    edge.cloudSays('update', `device/default/${action.device}/updated`, { attributes });
  } else if (action.do === 'state') {
    const topic = `$hw/events/device/default/${action.device}/state/update`;
    edge.client(topic, { event_id: 'x', state: action.state });
  } else if (action.do !== 'kill') {
    const topic = `$hw/events/device/default/${action.device}/twin/update`;
    edge.client(topic, { event_id: 'x', twin: twinOf(action) });
  }
}

function twinOf(action: Action & { do: 'actual' | 'expected' | 'drop' | 'bad' }): unknown {
  if (action.do === 'bad') return 'not a twin';
  if (action.do === 'drop') return { [action.key]: null };
  return { [action.key]: { [action.do]: { value: action.value } } };
}

function tellObject(
  edge: TestEdge,
  action: Action & { do: 'spec' | 'gone' },
  uids: Map<string, number>,
): void {
  const name = action.device;
  const path = `default/device/${name}`;
  const generation = uids.get(name) ?? 0;
  const metadata = { name, namespace: 'default', uid: `${name}-${generation}` };
  if (action.do === 'gone') {
    hold(edge, metadata, undefined);
    uids.set(name, generation + 1);
    edge.object('delete', path, { metadata });
    return;
  }
  const properties = Object.entries(action.desired).map(([property, wanted]) => ({
    name: property,
    desired: { value: wanted },
  }));
  const object = { metadata, spec: { properties } };
  hold(edge, metadata, object);
  edge.object('update', path, object);
}

/** MetaManager stores before it forwards. */
function hold(edge: TestEdge, { name }: { name: string }, object: object | undefined): void {
  const others = edge.held.device.filter(
    (held) => !JSON.stringify(held).includes(`"name":"${name}","namespace"`),
  );
  edge.held.device = object === undefined ? others : [...others, object];
}

/** Updates that were answered with success: those of what nobody knows are refused without waiting for the disk. */
function successes(published: readonly Published[]): number {
  return published.filter(
    ({ topic, body }) =>
      topic.endsWith('/update/result') && !(body !== null && typeof body === 'object' && 'code' in body),
  ).length;
}

function succeeds(model: Model, action: Action): boolean {
  return (
    ['actual', 'expected', 'drop', 'state'].includes(action.do) &&
    'device' in action &&
    action.device in model
  );
}

test('what was answered survives, in order, and the cloud ends equal', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 60 }), async (actions) => {
      const edge = await new TestEdge().start();
      const told: Envelope[] = [];
      const uids = new Map<string, number>();
      const wished = actions.flatMap((it) => (it.do === 'cloud' ? [`${it.device} ${it.key}`] : []));
      const ownWords = new Set(wished);
      let model: Model = {};
      let burst: Action[] = [];
      for (const step of actions) {
        if (step.do !== 'kill') {
          perform(edge, step, uids);
          burst.push(step);
          continue;
        }
        const all = countSuccesses(model, burst);
        await edge.until(() => successes(edge.published) >= Math.min(step.afterAnswers, all));
        const answered = successes(edge.published);
        await edge.stop('crash');
        told.push(...edge.reports.splice(0));
        edge.published.length = 0;
        await edge.start();
        await edge.idle();
        model = expectPrefix(model, burst, answered, stored(edge));
        burst = [];
      }
      await edge.idle();
      expect(stored(edge)).toEqual(burst.reduce(apply, model));

      edge.cloud = () => 'confirm';
      edge.link(true);
      for (;;) {
        await edge.idle();
        if (edge.store.read(loadMarks).length === 0) break;
      }
      told.push(...edge.reports);
      expectToldLast(told, stored(edge), { uids, ownWords });
      await edge.end();
    }),
    { numRuns: 100 },
  );
});

function countSuccesses(before: Model, actions: readonly Action[]): number {
  let count = 0;
  actions.reduce((model, step) => {
    if (succeeds(model, step)) count += 1;
    return apply(model, step);
  }, before);
  return count;
}

/** The state after the restart, once it is found to be that of a long enough prefix. */
function expectPrefix(before: Model, burst: readonly Action[], answered: number, found: Model): Model {
  const candidates: Model[] = [];
  let state = before;
  let updates = 0;
  for (const [at, step] of [...burst, undefined].entries()) {
    // What MetaManager holds is made up for at the start: all specs of the burst count as done in the end.
    if (updates >= answered)
      candidates.push(names.reduce((twins, name) => madeUpFor(twins, name, burst.slice(at)), state));
    if (step === undefined) break;
    if (succeeds(state, step)) updates += 1;
    state = apply(state, step);
  }
  expect(candidates).toContainEqual(found);
  return found;
}

/** What a start learns from MetaManager of a device: the last spec, and that an earlier device is gone. */
function madeUpFor(model: Model, name: string, missed: readonly Action[]): Model {
  const ofDevice = missed.filter(
    (step) => (step.do === 'spec' || step.do === 'gone') && step.device === name,
  );
  const gone = ofDevice.filter((step) => step.do === 'gone').slice(-1);
  const last = ofDevice.slice(-1).filter((step) => step.do === 'spec');
  return [...gone, ...last].reduce(apply, model);
}

interface Exempt {
  readonly uids: ReadonlyMap<string, number>;
  /** What the cloud has wished itself, it need not be told. */
  readonly ownWords: ReadonlySet<string>;
}

function expectToldLast(told: readonly Envelope[], model: Model, { uids, ownWords }: Exempt): void {
  const cloud = new Map<string, { actual?: { value: string }; expected?: { value: string } }>();
  for (const { route, content } of told) {
    const name = /^device\/default\/(\w+)\/twin\/edge_updated$/.exec(route.resource)?.[1];
    if (name === undefined) continue;
    const { twin } = content as {
      twin: Record<string, { actual?: { value: string }; expected?: { value: string } }>;
    };
    for (const [property, entry] of Object.entries(twin)) cloud.set(`${name} ${property}`, entry);
  }
  for (const [name, twin] of Object.entries(model)) {
    // A device that was deleted and made again may hold what was told of the earlier one.
    if ((uids.get(name) ?? 0) > 0) continue;
    for (const [property, { deleted, ...sides }] of Object.entries(twin.properties)) {
      if (deleted) continue;
      for (const side of ['actual', 'expected'] as const) {
        const text = sides[side]?.value ?? '';
        if (text === '' || (side === 'expected' && ownWords.has(`${name} ${property}`))) continue;
        const said = cloud.get(`${name} ${property}`)?.[side]?.value;
        expect([name, property, side, said]).toEqual([name, property, side, text]);
      }
    }
  }
}
