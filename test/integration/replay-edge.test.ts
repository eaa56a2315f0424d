/**
 * The recorded KubeEdge edge, played at a whole cloudcore of ours: what it sends down is, per resource path, what the
 * recorded KubeEdge cloud sent, in the same order of first mention; what differs stands with its reason in
 * test/data/replay-edge-deviations.json, and nothing stands there that did not happen. What was done to the API from
 * outside (marks, scheduler, node controllers) is read from what the recorded cloud sent and the edge did not cause.
 */

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { systemClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { isNotFound, type ObjectRef } from '#cloudcore/kube/kube-api.ts';
import { isCachedType, resourceOf } from '#cloudcore/kube/objects.ts';
import { type Envelope, envelopeSchema, type Route } from '#protocol/message.ts';
import { parseObjectPath } from '#protocol/resource-path.ts';
import { type KubeObject, kubeObjectSchema } from '#protocol/resources/object.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { createComparison } from '#test/fixtures/compare-recording.ts';
import { plain } from '#test/fixtures/normal-form.ts';
import { ScriptedEdge } from '#test/fixtures/scripted-edge.ts';

const node = 'ke-edge-1';
/** Looks at what comes by itself, before it counts as not coming: so many, not so long, on a machine that is busy. */
const looksMax = 30;
const lookMs = 5;

const compareFrames = createComparison('replay-edge-deviations.json', normalForm);

const lineSchema = z.union([
  z.object({ mark: z.string() }),
  z.object({ dir: z.literal('connect') }),
  z.object({ dir: z.enum(['up', 'down']), frame: envelopeSchema }),
]);
type Line = z.infer<typeof lineSchema>;

function readLines(name: string): Line[] {
  const text = readFileSync(new URL(`../data/transcripts/${name}`, import.meta.url), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => lineSchema.parse(JSON.parse(line)));
}

const objectRespSchema = z.looseObject({ Object: z.looseObject({}).nullable(), Err: z.unknown() });
const failureSchema = z.looseObject({ ErrStatus: z.looseObject({ reason: z.string(), code: z.number() }) });

/** Beside ids, times, uids and versions: the wording of failures, and which cloudcore it was. */
function normalForm({ route, content }: Envelope): string {
  const { source, group, operation, resource } = route;
  const reply = objectRespSchema.safeParse(content).data;
  const failure = failureSchema.safeParse(reply?.Err).data?.ErrStatus;
  // KubeEdge's cloud leaves apiVersion and kind out of most of these.
  const { apiVersion: _version, kind: _kind, ...object } = reply?.Object ?? {};
  const said =
    failure !== undefined
      ? { failure: [failure.reason, failure.code] }
      : reply === undefined
        ? content
        : { object };
  return `${source} ${group} ${operation} ${resource} ${JSON.stringify(withoutMarks(plain(said)))}`;
}

/** Also what cloudcore notes on the Node: its address, and what rules asked of a KubeEdge edge. */
const fromApi: ReadonlySet<string> = new Set(['generation', 'selfLink', 'cloudcore', 'hawser.dev/rules']);
const presence: ReadonlySet<string> = new Set(['deletionTimestamp', 'deletionGracePeriodSeconds']);

const conditionsSchema = z.array(z.looseObject({ type: z.string(), status: z.string() })).min(1);

function withoutMarks(value: unknown): unknown {
  // The API in memory keeps conditions in the order in which they came.
  const conditions = conditionsSchema.safeParse(value).data;
  if (conditions !== undefined) return conditions.toSorted((a, b) => (a.type < b.type ? -1 : 1));
  if (Array.isArray(value)) return value.map(withoutMarks);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).filter(([key]) => !fromApi.has(key));
  return Object.fromEntries(
    entries.map(([key, inner]) => [key, presence.has(key) ? 'set' : withoutMarks(inner)]),
  );
}

const podPatchSchema = z.looseObject({
  status: z.looseObject({
    hostIPs: z.unknown().optional(),
    containerStatuses: z.array(z.looseObject({ volumeMounts: z.unknown().optional() })).optional(),
  }),
});

/** The API of the recording is older than its edge, and drops what it does not know. */
function asStored(patch: string): string {
  const { status, ...rest } = podPatchSchema.parse(JSON.parse(patch));
  const { hostIPs: _, containerStatuses, ...kept } = status;
  const statuses = containerStatuses?.map(({ volumeMounts: _mounts, ...one }) => one);
  return JSON.stringify({
    ...rest,
    status: { ...kept, ...(statuses === undefined ? {} : { containerStatuses: statuses }) },
  });
}

class Replay {
  readonly down: Envelope[] = [];
  /** Changes from outside, as `<what> <path>`. */
  readonly outside: string[] = [];
  readonly #transport = new MemoryNetwork({ clock: systemClock, random: seededRandom(1) });
  readonly #recordedAnswers: ReadonlyMap<string, Envelope>;
  readonly #uids = new Map<string, string>();
  #cloud: Cloud;
  #edge: ScriptedEdge | undefined;

  private constructor(lines: readonly Line[], cloud: Cloud, transport: MemoryNetwork) {
    this.#cloud = cloud;
    this.#transport = transport;
    const downs = lines.flatMap((line) => ('frame' in line && line.dir === 'down' ? [line.frame] : []));
    this.#recordedAnswers = new Map(downs.map((frame) => [frame.header.parent_msg_id ?? '', frame]));
  }

  static async start(lines: readonly Line[]): Promise<Replay> {
    const transport = new MemoryNetwork({ clock: systemClock, random: seededRandom(1) });
    return new Replay(lines, await startCloud({ transport }), transport);
  }

  async close(): Promise<void> {
    this.#keepDown();
    await this.#edge?.connection.close();
    await this.#cloud.close();
  }

  async connect(): Promise<void> {
    this.#keepDown();
    const identity = await this.#cloud.identity(node);
    const options = { transport: this.#transport, port: this.#cloud.port, node, identity };
    this.#edge = await ScriptedEdge.connect({ ...options, session: 'kubeedge' });
  }

  /** Changes the API while no cloudcore runs. */
  async whileAway(change: () => Promise<void>): Promise<void> {
    await this.#notesWritten();
    const before = await this.#cloud.stop();
    await change();
    this.#cloud = await startCloud({ transport: this.#transport, before });
  }

  /** What the recorded edge asked and reported; its acknowledgements are the scripted edge's own. */
  async up({ header, route, content }: Envelope): Promise<void> {
    if (route.operation === 'response' || this.#edge === undefined) return;
    const recorded = this.#recordedAnswers.get(header.msg_id);
    if (route.operation === 'query' && recorded !== undefined) await this.#provide(recorded);
    if (recorded !== undefined) this.#learnUid(recorded);
    const id = await this.#edge.say(route, await this.#translated(route, content));
    if (recorded === undefined || !(await this.#within(() => this.#answer(id) !== undefined))) return;
    // As the recorded edge does for what it then stores.
    const answer = this.#answer(id);
    if (route.operation === 'query' && answer !== undefined)
      await this.#edge.say({ ...answer.route, operation: 'response' }, 'OK', answer.header.msg_id);
  }

  /** Waits for what the recorded cloud pushed; what does not come by itself was caused from outside. */
  async pushed(frame: Envelope): Promise<void> {
    const { route, content } = frame;
    const object = kubeObjectSchema.safeParse(content).data;
    if (frame.header.parent_msg_id) return;
    if (await this.#within(() => this.#hasSent(frame))) return this.#learnUid(frame);
    if (object === undefined || route.group !== 'resource') return;
    await this.outsideChange(frame);
    await this.#within(() => this.#hasSent(frame));
    this.#learnUid(frame);
  }

  async outsideChange({ route, content }: Envelope): Promise<void> {
    const path = parseObjectPath(route.resource);
    if (!isCachedType(path.type)) return;
    const ref = { ...resourceOf[path.type], namespace: path.namespace, name: path.name ?? '' };
    const object = kubeObjectSchema.parse(content);
    if (route.operation === 'delete') {
      this.outside.push(`deleted ${route.resource}`);
      await this.removed(ref);
    } else this.outside.push(`${await this.#put(ref, object)} ${route.resource}`);
  }

  /** Both ways, and a message by the first. */
  async addRules(): Promise<void> {
    const { api, routerPort } = this.#cloud;
    const of = (plural: string) => ({ apiVersion: 'rules.kubeedge.io/v1', plural, namespace: 'default' });
    for (const [name, ruleEndpointType] of [
      ['cloud', 'rest'],
      ['mqtt', 'eventbus'],
    ])
      await api.create(of('ruleendpoints'), { metadata: { name }, spec: { ruleEndpointType } });
    const up = {
      source: 'mqtt',
      sourceResource: { topic: 'up', node_name: node },
      target: 'cloud',
      targetResource: { resource: 'http://127.0.0.1:1/nobody' },
    };
    const cmd = {
      source: 'cloud',
      sourceResource: { path: '/cmd' },
      target: 'mqtt',
      targetResource: { topic: 'cmd' },
    };
    await api.create(of('rules'), { metadata: { name: 'up' }, spec: up });
    await api.create(of('rules'), { metadata: { name: 'cmd' }, spec: cmd });
    await expect.poll(() => routerPort()).not.toBe(0);
    const url = `http://127.0.0.1:${routerPort()}/${node}/default/cmd`;
    const say = async () => (await fetch(url, { method: 'POST', body: 'hello edge' })).status;
    await expect.poll(say).toBe(200);
  }

  /** The Lease that the edge is about to renew. */
  async lease({ route, content }: Envelope): Promise<void> {
    const { namespace } = parseObjectPath(route.resource);
    const { metadata, ...lease } = kubeObjectSchema.parse(content);
    const { uid: _uid, resourceVersion: _version, ...kept } = metadata;
    const collection = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases', namespace };
    await this.#cloud.api.create(collection, { ...lease, metadata: kept });
  }

  async removed(ref: ObjectRef): Promise<void> {
    try {
      await this.#cloud.api.delete(ref, { gracePeriodSeconds: 0 });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async settled(): Promise<void> {
    for (let looks = 0; looks < 2 * looksMax; looks += 1) await systemClock.sleep(lookMs);
  }

  forget(): void {
    this.#edge?.down.splice(0);
    this.down.splice(0);
    this.outside.splice(0);
  }

  async #put(ref: ObjectRef, object: KubeObject): Promise<string> {
    const { api } = this.#cloud;
    const {
      uid,
      resourceVersion: _v,
      creationTimestamp: _t,
      deletionTimestamp,
      ...metadata
    } = object.metadata;
    const { name: _, ...collection } = ref;
    const whole = { ...object, metadata: { ...metadata, deletionGracePeriodSeconds: undefined } };
    try {
      const stored = await api.get(ref);
      if (deletionTimestamp) {
        await api.delete(ref, { gracePeriodSeconds: 30 });
        return 'deleting';
      }
      await api.replace(ref, { ...whole, metadata: { ...whole.metadata, uid: stored.metadata.uid } });
      await api.replace(ref, whole, { subresource: 'status' });
      return 'changed';
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    const made = await api.create(collection, whole);
    if (uid !== undefined) this.#uids.set(uid, made.metadata.uid ?? '');
    return 'created';
  }

  /** An object that the edge asks for was there before it asked. */
  async #provide({ route, content }: Envelope): Promise<void> {
    const object = kubeObjectSchema.safeParse(content).data;
    const path = parseObjectPath(route.resource);
    if (object === undefined || !isCachedType(path.type)) return;
    const ref = { ...resourceOf[path.type], namespace: path.namespace, name: path.name ?? '' };
    try {
      await this.#cloud.api.get(ref);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      this.outside.push(`${await this.#put(ref, object)} ${route.resource}`);
    }
  }

  #learnUid({ route, content }: Envelope): void {
    const recorded = kubeObjectSchema.safeParse(content).data?.metadata.uid;
    const ours = this.#edge?.down.findLast(
      (one) => one.route.resource === route.resource && kubeObjectSchema.safeParse(one.content).success,
    );
    const uid = kubeObjectSchema.safeParse(ours?.content).data?.metadata.uid;
    if (recorded !== undefined && uid !== undefined) this.#uids.set(recorded, uid);
  }

  async #translated({ operation, resource }: Route, content: unknown): Promise<unknown> {
    let text = JSON.stringify(content);
    for (const [recorded, own] of this.#uids) text = text.replaceAll(recorded, own);
    const value: unknown = JSON.parse(text);
    if (resource.includes('/podpatch/') && typeof value === 'string') return asStored(value);
    const path = resource.includes('/lease/') ? parseObjectPath(resource) : undefined;
    if (path === undefined || operation !== 'update') return value;
    const lease = kubeObjectSchema.parse(value);
    const { metadata } = await this.#cloud.api.get({
      apiVersion: 'coordination.k8s.io/v1',
      plural: 'leases',
      namespace: path.namespace,
      name: path.name ?? '',
    });
    return { ...lease, metadata: { ...lease.metadata, resourceVersion: metadata.resourceVersion } };
  }

  #hasSent(frame: Envelope): boolean {
    const wanted = normalForm(frame);
    return this.#edge?.down.some((one) => normalForm(one) === wanted) ?? false;
  }

  #answer(id: string): Envelope | undefined {
    return this.#edge?.down.find(({ header }) => header.parent_msg_id === id);
  }

  async #within(isSo: () => boolean): Promise<boolean> {
    for (let looks = 0; looks < looksMax; looks += 1) {
      if (isSo()) return true;
      await systemClock.sleep(lookMs);
    }
    return isSo();
  }

  /** Acknowledged versions reach the API within about a second. */
  async #notesWritten(): Promise<void> {
    const plurals = ['objectsyncs', 'clusterobjectsyncs'];
    const unwritten = async () => {
      const lists = plurals.map((plural) =>
        this.#cloud.api.list({ apiVersion: 'reliablesyncs.kubeedge.io/v1alpha1', plural }),
      );
      const all = (await Promise.all(lists)).flatMap(({ items }) => items);
      return all.filter(({ status }) => status === undefined).length;
    };
    await expect.poll(unwritten).toBe(0);
  }

  #keepDown(): void {
    this.down.push(...(this.#edge?.down ?? []));
  }
}

type Marks = Readonly<Record<string, (replay: Replay) => Promise<void>>>;

async function play(replay: Replay, lines: readonly Line[], marks: Marks): Promise<void> {
  for (const line of lines) {
    if ('mark' in line) {
      const key = Object.keys(marks).find((start) => line.mark.startsWith(start));
      if (key !== undefined) await marks[key]?.(replay);
    } else if (line.dir === 'connect') await replay.connect();
    else if (line.dir === 'up') await replay.up(line.frame);
    else await replay.pushed(line.frame);
  }
  await replay.settled();
}

function compare(transcript: string, lines: readonly Line[], ours: readonly Envelope[]): void {
  const theirs = lines.flatMap((line) => ('frame' in line && line.dir === 'down' ? [line.frame] : []));
  compareFrames({ transcript, theirs, ours });
}

const devices = { apiVersion: 'devices.kubeedge.io/v1beta1', plural: 'devices', namespace: 'default' };
const nodes = { apiVersion: 'v1', plural: 'nodes' };

/** Distinct, in the order of their first mention. */
const distinct = (all: readonly string[]) => [...new Set(all)];

test('the life of a node', async () => {
  const transcript = 'kubeedge-v1.23.1.jsonl';
  const lines = readLines(transcript);
  const replay = await Replay.start(lines);
  try {
    await play(replay, lines, {
      'rule: rest to eventbus': (of) => of.addRules(),
      'device deleted': async () => await replay.removed({ ...devices, name: 'thermo-1' }),
      'node deleted': async () => await replay.removed({ ...nodes, name: node }),
    });
  } finally {
    await replay.close();
  }
  // What people and controllers did; all else came by itself.
  expect(distinct(replay.outside)).toEqual([
    'changed null/node/ke-edge-1',
    'created default/pod/web',
    'created default/configmap/app-config',
    'created default/secret/default-token-7tpx5',
    'created default/secret/app-secret',
    'changed default/configmap/app-config',
    'changed default/secret/app-secret',
    'changed default/pod/web',
    'created default/devicemodel/thermo',
    'created default/device/thermo-1',
    'changed default/device/thermo-1',
    'deleting default/pod/web',
  ]);
  compare(transcript, lines, replay.down);
});

test('a cloud that stops and comes back', async () => {
  const transcript = 'kubeedge-v1.23.1-reconnect.jsonl';
  const lines = readLines(transcript);
  const stopped = lines.findIndex((line) => 'mark' in line && line.mark.startsWith('cloudcore stopped'));
  const first = (resource: string, from: number) => {
    const found = lines.slice(from).find((line) => 'frame' in line && line.frame.route.resource === resource);
    return found !== undefined && 'frame' in found ? found.frame : expect.fail(resource);
  };
  const replay = await Replay.start(lines);
  try {
    // As the first recording left it.
    await replay.outsideChange(first(`null/node/${node}`, stopped));
    await replay.lease(first(`kube-node-lease/lease/${node}`, 0));
    await replay.connect();
    await replay.settled();
    replay.forget();
    await play(replay, lines, {
      'cloudcore stopped': async () =>
        await replay.whileAway(async () => {
          for (const path of ['configmap/app-config', 'pod/gone', 'pod/extra', 'device/thermo-1'])
            await replay.outsideChange(first(`default/${path}`, stopped));
        }),
    });
  } finally {
    await replay.close();
  }
  compare(transcript, lines, replay.down);
});
