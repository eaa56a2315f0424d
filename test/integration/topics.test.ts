/**
 * Every MQTT topic of an edge, row by row: what is asked, what is answered or not, what is stored, what goes up.
 * Through a real broker of either kind, with the whole edge behind it and a whole cloud beyond. That the answers
 * are KubeEdge's, edgecore/devicetwin/transcript.test.ts shows on recorded ones.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { client, type TestClient } from '#edgecore/eventbus/test-bus.ts';
import { loadDevice } from '#edgecore/store/twin-store.ts';
import { newEnvelope } from '#protocol/message.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { describeUnless } from '#test/describe-unless.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { type Edge, givenCertificates, startEdge } from '#test/fixtures/edge.ts';
import { MosquittoBroker, mosquittoMissing } from '#test/fixtures/mosquitto.ts';
import { freePort } from '#test/free-port.ts';

const node = 'edge-1';
const nodeTopic = (rest: string) => `$hw/events/node/${node}/${rest}`;

/** Topics and bodies; `D` in them is the row's own device topic, `ID` its id. */
interface Row {
  readonly what: string;
  readonly namespace?: string;
  readonly before?: readonly (readonly [topic: string, body: unknown])[];
  readonly ask: readonly [topic: string, body: unknown];
  readonly answers?: readonly [topic: string, body: unknown][];
  /** `expected/actual type` of each property; left out: none. */
  readonly stored?: Record<string, string>;
  readonly state?: string;
  /** Resource and content of what goes up. */
  readonly up?: readonly [resource: string, content: unknown][];
}

const event = (id: string, more: object = {}) => ({ event_id: id, timestamp: 0, ...more });
const side = (value: string) => ({ value, metadata: {} });
const report = (value: string, edgeVersion = 1) => ({
  actual: side(value),
  actual_version: { cloud: 0, edge: edgeVersion },
});
const int = { optional: true, metadata: { type: 'int' } };
const text = { optional: true, metadata: { type: 'string' } };
const update = (twin: unknown): Row['ask'] => ['D/twin/update', event('u', { twin })];
const error = (topic: string, code: number, reason: string, id = 'u'): [string, unknown] => [
  topic,
  { event_id: id, code, reason: expect.stringContaining(reason) },
];
const unreadable = (reason: string, id = 'u') => [
  error('$hw/events/device//twin/update/result', 400, reason, ''),
  error('D/twin/update/result', 400, reason, id),
];
const seven = update({ t: { actual: { value: '7' }, metadata: { type: 'int' } } });
const wrongValue = { t: { actual: { value: 'hot' } } };
const edgeUpdated = (twin: object): [string, unknown] => [
  'device/ID/twin/edge_updated',
  { event_id: 'new', twin },
];
const online = { name: 'NAME', state: 'online', lastOnlineTime: 'time' };

const twinGet: readonly Row[] = [
  {
    what: 'twin/get of a device without properties',
    ask: ['D/twin/get', event('g')],
    answers: [['D/twin/get/result', { event_id: 'g', twin: {} }]],
  },
  {
    what: 'twin/get of a property',
    before: [seven],
    ask: ['D/twin/get', event('g')],
    answers: [['D/twin/get/result', { event_id: 'g', twin: { t: { actual: side('7'), ...int } } }]],
    stored: { t: '/7 int' },
    up: [],
  },
  {
    what: 'twin/get of a device that is not here',
    ask: ['$hw/events/device/default/nobody/twin/get', event('g')],
    answers: [error('$hw/events/device/default/nobody/twin/get/result', 404, 'not found', 'g')],
  },
  {
    what: 'twin/get with a list for a body',
    ask: ['D/twin/get', []],
    answers: [error('D/twin/get/result', 400, 'Unmarshal twin info', '')],
  },
  {
    what: 'twin/get with no JSON for a body',
    ask: ['D/twin/get', '{'],
    answers: [error('D/twin/get/result', 400, 'Unmarshal twin info', '')],
  },
];

const twinUpdate: readonly Row[] = [
  {
    what: 'twin/update of a new property',
    ask: seven,
    answers: [
      ['D/twin/update/result', { event_id: 'u', twin: { t: { actual: side('7'), ...int } } }],
      [
        'D/twin/update/document',
        { event_id: 'u', twin: { t: { last: null, current: { actual: side('7'), ...int } } } },
      ],
    ],
    stored: { t: '/7 int' },
    up: [edgeUpdated({ t: { ...report('7'), ...int } })],
  },
  {
    what: 'twin/update of expected: a delta too',
    ask: update({ t: { expected: { value: '8' } } }),
    answers: [
      ['D/twin/update/result', { event_id: 'u', twin: { t: { expected: side('8'), ...text } } }],
      [
        'D/twin/update/document',
        { event_id: 'u', twin: { t: { last: null, current: { expected: side('8'), ...text } } } },
      ],
      [
        'D/twin/update/delta',
        { event_id: 'new', twin: { t: { expected: side('8'), ...text } }, delta: { t: '8' } },
      ],
    ],
    stored: { t: '8/ string' },
    up: [edgeUpdated({ t: { expected: side('8'), expected_version: { cloud: 0, edge: 1 }, ...text } })],
  },
  {
    what: 'twin/update with null: gone',
    before: [seven],
    ask: update({ t: null }),
    answers: [
      ['D/twin/update/result', { event_id: 'u', twin: { t: null } }],
      [
        'D/twin/update/document',
        { event_id: 'u', twin: { t: { last: { actual: side('7'), ...int }, current: null } } },
      ],
    ],
    stored: { t: '/ deleted' },
    up: [edgeUpdated({ t: { ...report('', 2), optional: true, metadata: { type: 'deleted' } } })],
  },
  {
    what: 'twin/update of a value that does not fit',
    before: [seven],
    ask: update(wrongValue),
    answers: [error('D/twin/update/result', 400, 'the value is not int or integer')],
    stored: { t: '/7 int' },
    up: [],
  },
  {
    what: 'twin/update with a value of characters that no twin takes',
    ask: update({ t: { actual: { value: 'very hot' } } }),
    answers: unreadable('The value of twin must only include'),
  },
  {
    what: 'twin/update with a key of such characters',
    ask: update({ 'a key': { actual: { value: '1' } } }),
    answers: unreadable('The key of twin must only include'),
  },
  {
    what: 'twin/update without a twin',
    ask: ['D/twin/update', event('u')],
    answers: unreadable('Update twin error, key:twin does not exist'),
  },
  {
    what: 'twin/update with no JSON for a body',
    ask: ['D/twin/update', 'not json'],
    answers: unreadable('Unmarshal update request body failed', ''),
  },
  {
    what: 'twin/update of a device that is not here',
    ask: ['$hw/events/device/default/nobody/twin/update', event('u', { twin: wrongValue })],
    answers: [error('$hw/events/device/default/nobody/twin/update/result', 404, 'update rejected')],
  },
  {
    what: 'twin/update where the namespace is a word of the topic',
    namespace: 'device',
    ask: seven,
    answers: [
      ['D/twin/update/result', { event_id: 'u', twin: { t: { actual: side('7'), ...int } } }],
      [
        'D/twin/update/document',
        { event_id: 'u', twin: { t: { last: null, current: { actual: side('7'), ...int } } } },
      ],
    ],
    stored: { t: '/7 int' },
    up: [edgeUpdated({ t: { ...report('7'), ...int } })],
  },
];

const states: readonly Row[] = [
  {
    what: 'state/update',
    ask: ['D/state/update', event('s', { state: 'online' })],
    answers: [['D/state/update/result', { event_id: 'new', device: online }]],
    state: 'online',
    up: [['device/ID/state/update', { event_id: 'new', device: online }]],
  },
  {
    what: 'state/update with the field as DMI writes it, and not online',
    ask: ['D/state/update', event('s', { State: 'OFFLINE' })],
    answers: [['D/state/update/result', { event_id: 'new', device: { name: 'NAME', state: 'OFFLINE' } }]],
    state: 'OFFLINE',
    up: [['device/ID/state/update', { event_id: 'new', device: { name: 'NAME', state: 'OFFLINE' } }]],
  },
  { what: 'state/update of a state that is none', ask: ['D/state/update', event('s', { state: 'bogus' })] },
  { what: 'state/update with no JSON for a body', ask: ['D/state/update', 'online'] },
  {
    what: 'state/update of a device that is not here',
    ask: ['$hw/events/device/default/nobody/state/update', event('s', { state: 'online' })],
  },
];

const membership: readonly Row[] = [
  {
    what: 'membership/get, whichever node it names',
    ask: ['$hw/events/node/another/membership/get', event('m')],
    answers: [
      // Which ones, the test is not begun without.
      [nodeTopic('membership/get/result'), { event_id: 'm', devices: expect.any(Array) }],
    ],
  },
  {
    what: 'membership/get with no JSON for a body',
    ask: [nodeTopic('membership/get'), 'x'],
    answers: [error(nodeTopic('membership/get/result'), 400, 'Unmarshal membership request', '')],
  },
];

const quiet: readonly Row[] = [
  ['state/get, which nobody answers', 'D/state/get'],
  ['a client that speaks for the cloud', 'D/twin/cloud_updated'],
  ['a client that reports for the edge', 'D/twin/edge_updated'],
  ['an answer that a client gives', 'D/twin/update/result'],
  ['attributes of a client', 'D/updated'],
  ['a member list of a client', nodeTopic('membership/updated')],
  ['membership/detail', nodeTopic('membership/detail')],
  ['authInfo', nodeTopic('authInfo/get/result')],
  ['a connect', `$hw/events/connected/${node}`],
  ['a disconnect', `$hw/events/disconnected/${node}`],
  ['the data topic of old mappers', '$ke/events/device/ID/data/update'],
  ['a device topic with a part too few', '$hw/events/device/NAME/twin/update'],
  ['a device topic with a part too many', 'D/twin/update/more'],
  ['a topic that nobody listens to', 'sensors/1'],
].map(([what = '', topic = '']) => ({
  what,
  ask: [
    topic,
    event('q', {
      state: 'online',
      twin: { t: { actual: { value: '1' }, actual_version: { cloud: 1, edge: 0 } } },
    }),
  ],
}));

const uploads: readonly Row[] = ['SYS/dis/upload_records', '$hw/events/upload/x/y', 'default/user/x'].map(
  (topic) => ({ what: `an upload on ${topic}`, ask: [topic, 'any text'], up: [[topic, 'any text']] }),
);

const rows = [...twinGet, ...twinUpdate, ...states, ...membership, ...quiet, ...uploads].map((row, at) => ({
  ...row,
  namespace: row.namespace ?? 'default',
  name: `thing-${at}`,
}));
type NamedRow = (typeof rows)[number];

for (const { broker, missing } of [
  { broker: 'embedded', missing: undefined },
  { broker: 'mosquitto', missing: mosquittoMissing },
] as const)
  describeUnless(missing, `topics, ${broker} broker`, () => {
    let dir: string;
    let cloud: Cloud;
    let edge: Edge;
    let mapper: TestClient;
    let mosquitto: MosquittoBroker | undefined;

    beforeAll(async () => {
      dir = mkdtempSync(join(tmpdir(), 'hawser-topics-'));
      const port = await freePort();
      if (broker === 'mosquitto') {
        mosquitto = new MosquittoBroker(port, dir);
        await mosquitto.start();
      }
      const network = new MemoryNetwork({ clock: systemClock, random: seededRandom(1) });
      cloud = await startCloud({ transport: network });
      const kind = { apiVersion: 'devices.kubeedge.io/v1beta1', plural: 'devices' };
      for (const { namespace, name } of rows)
        await cloud.api.create({ ...kind, namespace }, { metadata: { name }, spec: { nodeName: node } });
      edge = await startEdge({
        nodeName: node,
        transport: network,
        server: `127.0.0.1:${cloud.port}`,
        certificates: givenCertificates(await cloud.identity(node)),
        mqtt:
          broker === 'mosquitto'
            ? { mqttMode: 2, mqttServerExternal: `tcp://127.0.0.1:${port}` }
            : { mqttMode: 0, mqttServerInternal: `tcp://127.0.0.1:${port}` },
      });
      mapper = await client(port);
      await mapper.mqtt.subscribeAsync('$hw/events/#', { qos: 1 });
      const all = rows.map(({ namespace, name }) => ({ id: `${namespace}/${name}`, name }));
      const isMissing = ({ id }: { id: string }, devices: readonly unknown[]) =>
        !devices.some((it) => JSON.stringify(it).includes(`"${id}"`));
      for (let devices: readonly unknown[] = []; all.some((it) => isMissing(it, devices)); )
        devices = (await fence(mapper)).devices;
    });
    afterAll(async () => {
      mapper.mqtt.end(true);
      await edge.close();
      await cloud.close();
      await mosquitto?.stop();
      rmSync(dir, { recursive: true, force: true });
    });

    test.each(rows.map((row): [string, NamedRow] => [row.what, row]))('%s', async (_, row) => {
      const own = <T>(value: T): T => ofRow(row, value);
      const id = `${row.namespace}/${row.name}`;
      for (const [topic, body] of own(row.before ?? [])) await say(mapper, topic, body);
      await isConfirmed(edge, id);
      await fence(mapper);
      const sentBefore = edge.sent.length;
      const [topic, body] = own(row.ask);
      const answers = await asked(mapper, topic, body);
      expect(answers).toEqual(own(row.answers ?? []));

      const device = edge.store.read((sql) => loadDevice(sql, id));
      const stored = [...(device?.twin ?? [])].map(([name, { expected, actual, type }]) => [
        name,
        `${expected?.value ?? ''}/${actual?.value ?? ''} ${type}`,
      ]);
      expect(Object.fromEntries(stored)).toEqual(row.stored ?? {});
      expect(device?.state ?? '').toBe(row.state ?? '');

      const up = edge.sent
        .slice(sentBefore)
        .filter(({ to, envelope: { route } }) => to === 'edgehub' && ['twin', 'bus'].includes(route.source))
        .map(({ envelope: { route, content } }) => [route.resource, plain(parsed(content))]);
      expect(up).toEqual(own(row.up ?? []));
    });

    test('what the edge says of itself: devices that come and go, and their attributes', async () => {
      const from = { source: 'devicecontroller', group: 'twin', operation: 'update' };
      const tell = (resource: string, content: object) =>
        edge.bus.send('twin', newEnvelope({ ...from, resource }, content));
      const guest = { id: 'default/guest', name: 'guest' };
      await fence(mapper);
      tell('membership', { event_id: 'c', added_devices: [guest], removed_devices: null });
      tell('device/default/guest/updated', { attributes: { place: { value: 'hall' } } });
      tell('membership', { event_id: 'c', added_devices: null, removed_devices: [guest] });
      await mapper.until(3);
      expect(
        mapper.messages.splice(0).map(({ topic, payload }) => [topic, plain(JSON.parse(payload))]),
      ).toEqual([
        [nodeTopic('membership/updated'), { event_id: 'new', added_devices: [guest], removed_devices: null }],
        [
          '$hw/events/device/default/guest/updated',
          { event_id: '', attributes: { place: { value: 'hall', ...text } } },
        ],
        [nodeTopic('membership/updated'), { event_id: 'new', added_devices: null, removed_devices: [guest] }],
      ]);
    });
  });

async function say({ mqtt }: TestClient, topic: string, body: unknown): Promise<void> {
  await mqtt.publishAsync(topic, typeof body === 'string' ? body : JSON.stringify(body), { qos: 1 });
}

let fences = 0;
/**
 * What was asked before it has been answered when it is. Everything heard until then, less its own; and which
 * devices there are.
 */
async function fence(
  mapper: TestClient,
): Promise<{ heard: TestClient['messages']; devices: readonly unknown[] }> {
  fences += 1;
  const id = `fence-${fences}`;
  const isAnswer = ({ topic, payload }: TestClient['messages'][number]) =>
    topic.endsWith('membership/get/result') && payload.includes(`"${id}"`);
  await say(mapper, nodeTopic('membership/get'), { event_id: id });
  for (let seen = 0; !mapper.messages.some(isAnswer); seen = mapper.messages.length)
    await mapper.until(seen + 1);
  const all = mapper.messages.splice(0);
  const heard = all.filter((it) => !it.payload.includes(`"${id}"`));
  return { heard, devices: JSON.parse(all.find(isAnswer)?.payload ?? '').devices };
}

/** What is published in answer, without what the test itself said. */
async function asked(mapper: TestClient, topic: string, body: unknown): Promise<[string, unknown][]> {
  await say(mapper, topic, body);
  const { heard } = await fence(mapper);
  return heard
    .filter((it) => it.topic !== topic)
    .map((it): [string, unknown] => [it.topic, plain(JSON.parse(it.payload))]);
}

/** Nothing of the device is on its way to the cloud: what is reported next goes up at once. */
async function isConfirmed(edge: Edge, id: string): Promise<void> {
  const waiting = () =>
    edge.store.read((sql) => sql.all('SELECT 1 FROM twin_unsynced WHERE deviceid = ?', id)).length;
  await expect.poll(waiting).toBe(0);
}

function parsed(content: unknown): unknown {
  if (typeof content !== 'string') return content;
  try {
    return JSON.parse(content);
  } catch {
    return content;
  }
}

/** Without times, and ids that are new called so. */
function plain(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value;
  const seen = JSON.stringify(value, (key, field) => {
    if (key === 'timestamp') return undefined;
    if (key === 'event_id' && /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(String(field))) return 'new';
    if (key === 'lastOnlineTime' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(String(field))) return 'time';
    return field;
  });
  return JSON.parse(seen);
}

/** With the row's device in place of `D`, `ID` and `NAME`; matchers of the test runner stay what they are. */
function ofRow<T>({ namespace, name }: NamedRow, value: T): T {
  const fill = (part: unknown): unknown => {
    if (typeof part === 'string') {
      return part
        .replace(/^D\//, `$hw/events/device/${namespace}/${name}/`)
        .replace(/\bID\b/, `${namespace}/${name}`)
        .replace(/\bNAME\b/, name);
    }
    if (Array.isArray(part)) return part.map(fill);
    if (part === null || typeof part !== 'object' || Object.getPrototypeOf(part) !== Object.prototype) {
      return part;
    }
    return Object.fromEntries(Object.entries(part).map(([key, field]) => [key, fill(field)]));
  };
  return fill(value) as T;
}
