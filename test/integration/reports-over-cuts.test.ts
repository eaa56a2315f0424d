/**
 * Devices whose link to the cloud is cut a hundred times while they report ten thousand numbered values and the
 * cloud changes its wishes: in the end both sides say the same, and on the way nothing older came after anything
 * newer. Whole edge and whole cloud on a network and a clock in memory; the moments come from a seed.
 */

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { ManualClock } from '#beehive/clock.ts';
import { type Random, seededRandom } from '#beehive/random.ts';
import type { ObjectRef, PatchType } from '#cloudcore/kube/kube-api.ts';
import { MemoryKubeApi } from '#cloudcore/kube/memory-kube-api.ts';
import { client, type TestClient } from '#edgecore/eventbus/test-bus.ts';
import { loadDevice, loadMarks } from '#edgecore/store/twin-store.ts';
import { connection } from '#protocol/names.ts';
import { deviceSchema } from '#protocol/resources/device.ts';
import { deviceStatusSchema } from '#protocol/resources/device-status.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { type Edge, givenCertificates, startEdge } from '#test/fixtures/edge.ts';
import { freePort } from '#test/free-port.ts';

const reports = 10_000;
const cuts = 100;
/** After each both sides must be equal. */
const rounds = 10;
const seed = 20_261_128;
const node = 'edge-1';
const names = ['a', 'b', 'c', 'd', 'e'];
const measured = ['t0', 't1', 't2', 't3'];
/** Wished by the spec only, and by both sides. */
const goal = 'goal';
const tuned = 'tuned';
const kind = (plural: string) => ({
  apiVersion: 'devices.kubeedge.io/v1beta1',
  plural,
  namespace: 'default',
});

const patchSchema = z.looseObject({
  status: z.looseObject({
    twins: z.array(
      z.looseObject({
        propertyName: z.string(),
        reported: z.looseObject({ value: z.string() }).optional(),
        observedDesired: z.looseObject({ value: z.string() }).optional(),
      }),
    ),
  }),
});
type Write = { readonly atMs: number; readonly device: string; readonly patch: z.infer<typeof patchSchema> };

/** Notes each write of a DeviceStatus and when it came. */
class NotingApi extends MemoryKubeApi {
  readonly writes: Write[] = [];
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    super({ clock });
    this.#clock = clock;
  }

  override async patch(ref: ObjectRef, type: PatchType, body: unknown, options?: object) {
    if (ref.plural === 'devicestatuses') {
      const patch = patchSchema.parse(body);
      this.writes.push({ atMs: this.#clock.monotonicMs(), device: ref.name, patch });
    }
    return super.patch(ref, type, body, options);
  }
}

interface World {
  readonly clock: ManualClock;
  readonly random: Random;
  readonly network: MemoryNetwork;
  readonly api: NotingApi;
  readonly cloud: Cloud;
  readonly edge: Edge;
  readonly mapper: TestClient;
}

test('10,000 numbered reports over 100 cuts: both sides end equal, nothing older after newer', async () => {
  const world = await begin();
  const { clock, edge, api } = world;
  const last = new Map<string, string>();
  let number = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const breaker = new Breaker(world, cuts / rounds);
    const lastOfRound = (round * reports) / rounds;
    // The last of a round flow over a link that holds, while earlier ones are on their way.
    while (breaker.left > 0 || breaker.isOpen || number < lastOfRound - 40) {
      number = await flow(world, number, lastOfRound - 40, { last, breaker, upToMs: 800 });
    }
    while (edge.news.at(-1) !== connection.connected) await pass(clock, 100);
    while (number < lastOfRound) number = await flow(world, number, lastOfRound, { last, upToMs: 100 });
    await settle(world);
    await expectEqual(world, last);
  }

  expect(edge.news.filter((it) => it === connection.disconnected)).toHaveLength(cuts);
  expectInOrder(api.writes);
  expectAtMostOnceASecond(api.writes);
  const written = api.writes.length;
  await pass(clock, 60_000);
  expect(api.writes).toHaveLength(written);
  await end(world);
});

interface Flow {
  readonly last: Map<string, string>;
  readonly breaker?: Breaker;
  readonly upToMs: number;
}

/** A few reports at once, and then some time. The number of the last one. */
async function flow(
  world: World,
  from: number,
  to: number,
  { last, breaker, upToMs }: Flow,
): Promise<number> {
  const { clock, random } = world;
  const burst: Promise<unknown>[] = [];
  let number = from;
  for (let left = upTo(random, 20); left >= 0 && number < to; left -= 1) {
    number += 1;
    const device = pick(random, names);
    const property = pick(random, measured);
    last.set(`${device} ${property}`, String(number));
    burst.push(reportOne(world, device, property, number), ...(await wishes(world, number)));
    if (breaker !== undefined && random.next() < (2 * cuts) / reports) breaker.cut();
  }
  if (number === to) breaker?.cut();
  await Promise.all(burst);
  const passMs = upTo(random, upToMs);
  await pass(clock, passMs);
  breaker?.passed(passMs);
  return number;
}

/** Cuts the link, only where there is one, and lets it come back after a while. */
class Breaker {
  left: number;
  readonly #network: MemoryNetwork;
  readonly #random: Random;
  readonly #edge: Edge;
  #healInMs = 0;

  constructor({ network, random, edge }: World, left: number) {
    this.#network = network;
    this.#random = random;
    this.#edge = edge;
    this.left = left;
  }

  get isOpen(): boolean {
    return this.#healInMs > 0;
  }

  cut(): void {
    const isUp = !this.isOpen && this.#edge.news.at(-1) === connection.connected;
    if (this.left === 0 || !isUp) return;
    this.left -= 1;
    const isSilent = this.#random.next() < 0.1;
    if (isSilent) this.#network.silence();
    else this.#network.cut();
    // Silence is noticed by its length only.
    this.#healInMs = isSilent ? 60_000 : 1 + upTo(this.#random, this.#random.next() < 0.2 ? 20_000 : 1_500);
  }

  passed(ms: number): void {
    this.#healInMs -= ms;
    if (!this.isOpen) this.#network.heal();
  }
}

async function begin(): Promise<World> {
  const clock = new ManualClock(Date.now());
  const random = seededRandom(seed);
  const network = new MemoryNetwork({ clock, random: seededRandom(seed + 1) });
  const api = new NotingApi(clock);
  const dir = await mkdtemp(join(tmpdir(), 'hawser-cuts-'));
  const cloud = await startCloud({ transport: network, clock, before: { api, dir } });
  const properties = [...measured, goal, tuned];
  await api.create(kind('devicemodels'), {
    metadata: { name: 'm' },
    spec: { properties: properties.map((name) => ({ name, type: 'INT' })) },
  });
  for (const name of names)
    await api.create(kind('devices'), {
      metadata: { name },
      spec: {
        nodeName: node,
        deviceModelRef: { name: 'm' },
        properties: properties.map((property) => ({
          name: property,
          ...(measured.includes(property) ? {} : { desired: { value: '0' } }),
        })),
      },
    });
  const port = await freePort();
  const edge = await startEdge({
    nodeName: node,
    transport: network,
    server: `127.0.0.1:${cloud.port}`,
    certificates: givenCertificates(await cloud.identity(node)),
    clock,
    mqtt: { mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${port}` },
  });
  const mapper = await client(port);
  const known = () =>
    names.every((name) => edge.store.read((sql) => loadDevice(sql, `default/${name}`))?.twin.has(goal));
  while (!known()) await pass(clock, 100);
  return { clock, random, network, api, cloud, edge, mapper };
}

async function end({ mapper, edge, cloud, clock }: World): Promise<void> {
  mapper.mqtt.end(true);
  const closed = Promise.all([edge.close(), cloud.close()]);
  await pass(clock, 10_000);
  await closed;
}

function reportOne({ mapper }: World, device: string, property: string, number: number): Promise<unknown> {
  return report(mapper, device, { [property]: { actual: { value: String(number) } } });
}

/** What the cloud, and now and then somebody at the edge, wishes beside report `number`. */
async function wishes(world: World, number: number): Promise<Promise<unknown>[]> {
  const { random, mapper } = world;
  if (number % 40 === 0) await wish(world, pick(random, names), goal, number);
  if (number % 50 === 0) await wish(world, pick(random, names), tuned, number);
  if (number % 45 !== 0) return [];
  return [report(mapper, pick(random, names), { [tuned]: { expected: { value: String(number) } } })];
}

function report({ mqtt }: TestClient, device: string, twin: object): Promise<unknown> {
  const topic = `$hw/events/device/default/${device}/twin/update`;
  return mqtt.publishAsync(topic, JSON.stringify({ event_id: 'r', timestamp: 0, twin }), { qos: 1 });
}

/** As `kubectl patch` does it. */
async function wish({ api }: World, name: string, property: string, value: number): Promise<void> {
  const ref = { ...kind('devices'), name };
  const { spec } = deviceSchema.parse(await api.get(ref));
  const properties = spec?.properties?.map((it) =>
    it.name === property ? { ...it, desired: { value: String(value) } } : it,
  );
  await api.patch(ref, 'merge', { spec: { properties } });
}

/** Until the edge has nothing unconfirmed and holds all that is wished. */
async function settle(world: World): Promise<void> {
  const { clock, edge } = world;
  const isQuiet = async () =>
    edge.bus.depths().get('twin') === 0 &&
    edge.store.read(loadMarks).length === 0 &&
    (await Promise.all(names.map((name) => isWished(world, name)))).every(Boolean);
  for (let passedMs = 0; !(await isQuiet()); passedMs += 100) {
    if (passedMs > 600_000) throw new Error('the two sides did not come to rest in ten minutes');
    await pass(clock, 100);
  }
}

async function isWished({ api, edge }: World, name: string): Promise<boolean> {
  const twin = edge.store.read((sql) => loadDevice(sql, `default/${name}`))?.twin;
  const { spec } = deviceSchema.parse(await api.get({ ...kind('devices'), name }));
  return (spec?.properties ?? []).every(
    ({ name: property, desired }) => twin?.get(property)?.appliedDesired === desired?.value,
  );
}

async function expectEqual({ api, edge }: World, last: ReadonlyMap<string, string>): Promise<void> {
  for (const name of names) {
    const twin = edge.store.read((sql) => loadDevice(sql, `default/${name}`))?.twin;
    const { status } = deviceStatusSchema.parse(await api.get({ ...kind('devicestatuses'), name }));
    const cloudSays = new Map(status?.twins?.map((it) => [it.propertyName, it]));
    const values = [...(twin ?? [])].map(([property, { actual, expected }]) => [
      property,
      actual?.value,
      expected?.value,
    ]);
    expect(
      values.map(([property = '']) => {
        const { reported, observedDesired } = cloudSays.get(property) ?? {};
        return [property, reported?.value, observedDesired?.value];
      }),
      name,
    ).toEqual(values);
    for (const property of measured)
      expect(twin?.get(property)?.actual?.value, `${name} ${property}`).toBe(last.get(`${name} ${property}`));
    expect(twin?.get(goal)?.expected?.value).toBe(twin?.get(goal)?.appliedDesired);
  }
}

function expectInOrder(writes: readonly Write[]): void {
  const newest = new Map<string, number>();
  for (const { device, patch } of writes)
    for (const { propertyName, reported, observedDesired } of patch.status.twins)
      for (const [side, value] of Object.entries({ reported, observedDesired })) {
        // What both sides wish goes back and forth by its nature.
        if (value === undefined || propertyName === tuned) continue;
        const key = `${device} ${propertyName} ${side}`;
        expect(Number(value.value), key).toBeGreaterThanOrEqual(newest.get(key) ?? 0);
        newest.set(key, Number(value.value));
      }
  expect(newest.size).toBe(names.length * (measured.length + 1));
}

function expectAtMostOnceASecond(writes: readonly Write[]): void {
  for (const name of names) {
    const times = writes.filter(({ device }) => device === name).map(({ atMs }) => atMs);
    const pauses = times.slice(1).map((atMs, at) => atMs - (times[at] ?? 0));
    expect(Math.min(...pauses), name).toBeGreaterThanOrEqual(1_000);
  }
}

/** Time passes, and all that waits only for its turn has it. */
async function pass(clock: ManualClock, ms: number): Promise<void> {
  await clock.advance(ms);
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function upTo(random: Random, max: number): number {
  return Math.floor(random.next() * (max + 1));
}

function pick(random: Random, from: readonly string[]): string {
  return from[upTo(random, from.length - 1)] ?? '';
}
