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
  { weight: 2, arbitrary: fc.record({ do: fc.constant('link' as const), up: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('answers' as const), confirm: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), afterAnswers: fc.nat(6) }) },
);

interface Twin {
  actual: Record<string, string>;
  expected: Record<string, string>;
  /** What the spec wished last, per property that stands in it. */
  spec: Record<string, string>;
}
type Model = Record<string, Twin>;

/** The rules once more, as plainly as they can be said. */
function apply(model: Model, action: Action): Model {
  const next: Model = structuredClone(model);
  if (!('device' in action)) return next;
  const { device: id } = action;
  if (action.do === 'gone') delete next[id];
  else if (action.do === 'spec') {
    const twin = next[id] ?? { actual: {}, expected: {}, spec: {} };
    next[id] = twin;
    for (const gone of Object.keys(twin.spec).filter((name) => !(name in action.desired))) {
      delete twin.actual[gone];
      delete twin.expected[gone];
    }
    for (const [name, wanted] of Object.entries(action.desired)) {
      if (twin.spec[name] !== wanted) twin.expected[name] = wanted;
    }
    twin.spec = action.desired;
  } else {
    const twin = next[id];
    if (twin === undefined || action.do === 'bad') return next;
    if (action.do === 'drop') {
      delete twin.actual[action.key];
      delete twin.expected[action.key];
    } else twin[action.do][action.key] = action.value;
  }
  return next;
}

/** The same view of what is on the disk. */
function stored(edge: TestEdge): Model {
  const devices = edge.store.read(loadDevices);
  return Object.fromEntries(
    [...devices].map(([id, { twin }]) => {
      const side = (which: 'actual' | 'expected') =>
        Object.fromEntries(
          [...twin].flatMap(([name, property]) => {
            const text = property[which]?.value ?? '';
            return text === '' ? [] : [[name, text]];
          }),
        );
      const spec = [...twin].flatMap(([name, { appliedDesired }]) =>
        appliedDesired === undefined ? [] : [[name, appliedDesired]],
      );
      const view: Twin = {
        actual: side('actual'),
        expected: side('expected'),
        spec: Object.fromEntries(spec),
      };
      return [id.slice('default/'.length), view];
    }),
  );
}

function perform(edge: TestEdge, action: Action, uids: Map<string, number>): void {
  if (action.do === 'link') edge.link(action.up);
  else if (action.do === 'answers') edge.cloud = () => (action.confirm ? 'confirm' : 'silence');
  else if (action.do === 'spec' || action.do === 'gone') tellObject(edge, action, uids);
  else if (action.do !== 'kill') {
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
  return ['actual', 'expected', 'drop'].includes(action.do) && 'device' in action && action.device in model;
}

test('what was answered survives, in order, and the cloud ends equal', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 60 }), async (actions) => {
      const edge = await new TestEdge().start();
      const told: Envelope[] = [];
      const uids = new Map<string, number>();
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
      expectToldLast(told, stored(edge), uids);
      await edge.end();
    }),
    { numRuns: 60 },
  );
}, 120_000);

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

function expectToldLast(told: readonly Envelope[], model: Model, uids: ReadonlyMap<string, number>): void {
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
    for (const side of ['actual', 'expected'] as const) {
      for (const [property, text] of Object.entries(twin[side])) {
        expect([name, property, side, cloud.get(`${name} ${property}`)?.[side]?.value]).toEqual([
          name,
          property,
          side,
          text,
        ]);
      }
    }
  }
}
