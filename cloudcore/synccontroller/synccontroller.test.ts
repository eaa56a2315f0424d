import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { failureStatus, KubeError } from '#cloudcore/kube/kube-api.ts';
import { MemoryKubeApi } from '#cloudcore/kube/memory-kube-api.ts';
import { ObjectCache } from '#cloudcore/kube/objects.ts';
import { CancelledError } from '#protocol/errors.ts';
import { parseObjectPath } from '#protocol/resource-path.ts';
import { kubeObjectSchema } from '#protocol/resources/object.ts';
import { movedAnnotation, movedLimits } from './moved-nodes.ts';
import { SyncController, syncLimits } from './synccontroller.ts';

const apiVersion = 'reliablesyncs.kubeedge.io/v1alpha1';
const syncs = { apiVersion, plural: 'objectsyncs', namespace: 'default' };
const clusterSyncs = { apiVersion, plural: 'clusterobjectsyncs' };
const nodes = { apiVersion: 'v1', plural: 'nodes' };
const pod = parseObjectPath('default/pod/web');
const ownNode = parseObjectPath('null/node/edge-1');

let clock: ManualClock;
let api: MemoryKubeApi;
let ledger: SyncController;
let stop: () => Promise<void>;

async function settle(): Promise<void> {
  for (let n = 0; n < 30; n += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function start(): Promise<void> {
  const parts = { api, clock, random: seededRandom(1), log: silentLog };
  const cache = new ObjectCache(parts);
  ledger = new SyncController({ ...parts, cache });
  const controller = new AbortController();
  const running = Promise.all([cache.run(controller.signal), ledger.run(controller.signal, () => {})]);
  stop = async () => {
    controller.abort();
    await running;
  };
  await ledger.whenSynced(controller.signal);
}

/** From now on what is created is answered when the test says so. */
function slowCreation() {
  const create = api.create.bind(api);
  const waiting: { go: () => void; fail: (error: Error) => void }[] = [];
  let started = 0;
  let isSlow = true;
  api.create = async (...args) => {
    started += 1;
    if (isSlow) await new Promise<void>((go, fail) => waiting.push({ go, fail }));
    return await create(...args);
  };
  const each = (end: (one: (typeof waiting)[number]) => void) => {
    isSlow = false;
    for (const one of waiting) end(one);
  };
  return {
    started: () => started,
    go: () => each(({ go }) => go()),
    fail: () =>
      each(({ fail }) =>
        fail(new KubeError('unreachable', failureStatus(503, 'ServiceUnavailable', 'away'))),
      ),
  };
}

const statusOf = async (name: string, ref: typeof syncs | typeof clusterSyncs = syncs) =>
  (await api.get({ ...ref, name })).status;
const namesOf = async (ref: typeof syncs | typeof clusterSyncs = syncs) =>
  (await api.list(ref)).items.map(({ metadata }) => metadata.name);
const callsOf = (verb: string) =>
  api.calls.filter((call) => call.startsWith(`${verb} `) && call.endsWith('syncs'));

beforeEach(async () => {
  clock = new ManualClock();
  api = new MemoryKubeApi({ clock });
  await api.create(nodes, { metadata: { name: 'edge-1' } });
  await start();
});
afterEach(async () => await stop());

describe('SyncController writes', () => {
  it('a note before the object is sent, in the form of KubeEdge', async () => {
    await ledger.intend('edge-1', pod, 'u1');
    expect(await api.get({ ...syncs, name: 'edge-1.u1' })).toMatchObject({
      apiVersion,
      kind: 'ObjectSync',
      metadata: { namespace: 'default' },
      spec: { objectAPIVersion: 'v1', objectKind: 'Pod', objectName: 'web' },
    });
    await ledger.intend('edge-1', ownNode, 'n1');
    expect(await api.get({ ...clusterSyncs, name: 'edge-1.n1' })).toMatchObject({
      kind: 'ClusterObjectSync',
      spec: { objectAPIVersion: 'v1', objectKind: 'Node', objectName: 'edge-1' },
    });
  });

  it('version "0" while none is acknowledged, then the acknowledged one', async () => {
    await ledger.intend('edge-1', pod, 'u1');
    await clock.advance(syncLimits.settleMs);
    await settle();
    expect(await statusOf('edge-1.u1')).toEqual({ objectResourceVersion: '0' });
    ledger.acknowledged('edge-1', pod, 'u1', '77');
    await clock.advance(syncLimits.writeEveryMs);
    await settle();
    expect(await statusOf('edge-1.u1')).toEqual({ objectResourceVersion: '77' });
  });

  it('once for a creation and all versions acknowledged in a second, then at most once in ten', async () => {
    await ledger.intend('edge-1', ownNode, 'n1');
    for (let version = 1; version <= 600; version += 1) {
      ledger.acknowledged('edge-1', ownNode, 'n1', String(version));
      await clock.advance(100);
      await settle();
    }
    await clock.advance(syncLimits.writeEveryMs);
    await settle();
    expect(await statusOf('edge-1.n1', clusterSyncs)).toEqual({ objectResourceVersion: '600' });
    expect(callsOf('create')).toHaveLength(1);
    // A minute of heartbeats ten times a second.
    expect(callsOf('patch').length).toBeLessThanOrEqual(8);
  });

  it('nothing for an acknowledgement of what was replaced, or of types that are not noted', async () => {
    await ledger.intend('edge-1', parseObjectPath('default/lease/l'), 'l1');
    ledger.acknowledged('edge-1', pod, 'never-sent', '5');
    ledger.removed('edge-1', pod, 'never-sent');
    await clock.advance(60_000);
    expect(callsOf('create')).toEqual([]);
    expect(callsOf('patch')).toEqual([]);
  });

  it('removes the note when the edge has acknowledged the deletion', async () => {
    await ledger.intend('edge-1', pod, 'u1');
    ledger.removed('edge-1', pod, 'u1');
    await settle();
    expect(await namesOf()).toEqual([]);
    expect(ledger.heldBy('edge-1').size).toBe(0);
    await clock.advance(60_000);
    await settle();
    expect(await namesOf()).toEqual([]);
  });

  it('has the old note of a name gone before it makes the new one', async () => {
    await ledger.intend('edge-1', pod, 'u1');
    ledger.removed('edge-1', pod, 'u1');
    await ledger.intend('edge-1', pod, 'u2');
    expect(await namesOf()).toEqual(['edge-1.u2']);
    // The same object is released and sent again.
    ledger.removed('edge-1', pod, 'u2');
    await ledger.intend('edge-1', pod, 'u2');
    await settle();
    expect(await namesOf()).toEqual(['edge-1.u2']);
  });

  it('fails while the API is away, so that nothing is sent unnoted', async () => {
    api.failNext((verb, { plural }) => verb === 'create' && plural === 'objectsyncs', 'unreachable');
    await expect(ledger.intend('edge-1', pod, 'u1')).rejects.toMatchObject({ code: 'unreachable' });
    expect(ledger.heldBy('edge-1').size).toBe(0);
    await ledger.intend('edge-1', pod, 'u1');
    expect(await namesOf()).toEqual(['edge-1.u1']);
  });

  it('does not hold a pod up when the API is slow, and makes the note as soon as it can', async () => {
    const slow = slowCreation();
    const first = ledger.intend('edge-1', pod, 'u1');
    await clock.advance(syncLimits.noteWaitMs - 1);
    expect(await Promise.race([first.then(() => 'sent'), settle()])).toBeUndefined();
    await clock.advance(1);
    await first;
    expect(ledger.heldBy('edge-1').get('default/pod/web')).toEqual({ uid: 'u1', version: '' });
    ledger.acknowledged('edge-1', pod, 'u1', '7');
    slow.fail();
    await settle();
    expect(await namesOf()).toEqual(['edge-1.u1']);
    await clock.advance(syncLimits.settleMs);
    await settle();
    expect(await statusOf('edge-1.u1')).toEqual({ objectResourceVersion: '7' });
  });

  it.each(['default/device/web', 'default/configmap/web', 'default/secret/web', 'default/devicemodel/web'])(
    'has %s, which no report would show, wait for its note however slow the API is',
    async (text) => {
      const slow = slowCreation();
      const sent = ledger.intend('edge-1', parseObjectPath(text), 'u1').then(() => 'sent');
      await clock.advance(60_000);
      expect(await Promise.race([sent, settle()])).toBeUndefined();
      slow.go();
      expect(await sent).toBe('sent');
      expect(await namesOf()).toEqual(['edge-1.u1']);
    },
  );

  it('makes the note that an object waits for before those of pods that have gone', async () => {
    const slow = slowCreation();
    const pods = Array.from({ length: 3 * syncLimits.notesAtOnceMax }, (_, at) =>
      ledger.intend('edge-1', parseObjectPath(`default/pod/p${at}`), `u${at}`),
    );
    await clock.advance(syncLimits.noteWaitMs);
    await Promise.all(pods);
    const device = ledger.intend('edge-1', parseObjectPath('default/device/d'), 'device');
    await settle();
    slow.go();
    await device;
    await settle();
    const made = (await api.list(syncs)).items.map(({ metadata }) => metadata);
    made.sort((a, b) => Number(a.resourceVersion) - Number(b.resourceVersion));
    expect(made).toHaveLength(pods.length + 1);
    expect(made[syncLimits.notesAtOnceMax]?.name).toBe('edge-1.device');
  });

  it('sends nothing that waits for its note when it stops', async () => {
    const slow = slowCreation();
    const sent = ledger.intend('edge-1', parseObjectPath('default/device/d'), 'u1');
    const refused = expect(sent).rejects.toThrow(CancelledError);
    await settle();
    const stopping = stop();
    // Also when it was sent: the stop waits for the note.
    await refused.finally(slow.go);
    await stopping;
  });

  it('waits with its stop for the notes of what has been sent', async () => {
    const slow = slowCreation();
    const sent = ledger.intend('edge-1', pod, 'u1');
    await clock.advance(syncLimits.noteWaitMs);
    await sent;
    const stopping = stop();
    await settle();
    slow.go();
    await stopping;
    expect(await namesOf()).toEqual(['edge-1.u1']);
  });

  it('makes few notes at once', async () => {
    const slow = slowCreation();
    const many = Array.from({ length: 3 * syncLimits.notesAtOnceMax }, (_, at) =>
      ledger.intend('edge-1', parseObjectPath(`default/pod/p${at}`), `u${at}`),
    );
    await settle();
    expect(slow.started()).toBe(syncLimits.notesAtOnceMax);
    slow.go();
    await Promise.all(many);
    expect(await namesOf()).toHaveLength(many.length);
  });

  it('goes on where the API takes no note, and remembers itself', async () => {
    api.failNext((verb, { plural }) => verb === 'create' && plural === 'objectsyncs', 'forbidden');
    await ledger.intend('edge-1', pod, 'u1');
    expect(ledger.heldBy('edge-1').get('default/pod/web')).toEqual({ uid: 'u1', version: '' });
  });
});

describe('SyncController reads', () => {
  it('after a restart what was sent, and the version that was acknowledged', async () => {
    await ledger.intend('edge-1', pod, 'u1');
    await ledger.intend('edge-1', parseObjectPath('default/secret/s'), 'u2');
    ledger.acknowledged('edge-1', pod, 'u1', '77');
    await clock.advance(syncLimits.settleMs);
    await settle();
    await stop();
    await start();
    expect([...ledger.heldBy('edge-1')].sort()).toEqual([
      ['default/pod/web', { uid: 'u1', version: '77' }],
      ['default/secret/s', { uid: 'u2', version: '' }],
    ]);
  });

  it('what a KubeEdge cloudcore left', async () => {
    const file = new URL('../../test/data/transcripts/kubeedge-v1.23.1-objectsync.json', import.meta.url);
    const lists = z.object({
      objectsyncs: z.array(kubeObjectSchema),
      clusterobjectsyncs: z.array(kubeObjectSchema),
    });
    const recorded = lists.parse(JSON.parse(await readFile(file, 'utf8')));
    await stop();
    await api.create(nodes, { metadata: { name: 'ke-edge-1' } });
    for (const object of recorded.objectsyncs) await put(syncs, object);
    for (const object of recorded.clusterobjectsyncs) await put(clusterSyncs, object);
    await start();
    expect([...ledger.heldBy('ke-edge-1').keys()].sort()).toEqual([
      'default/configmap/app-config',
      'default/device/thermo-1',
      'default/devicemodel/thermo',
      'default/pod/gone',
      'default/pod/web',
      'default/secret/app-secret',
      'default/secret/default-token-cblxd',
      'null/node/ke-edge-1',
    ]);
    expect(ledger.heldBy('ke-edge-1').get('default/pod/web')).toEqual({
      uid: 'ac6fcf8e-64b9-47ae-a82e-88d882378ec8',
      version: '439',
    });
  });

  async function put(
    ref: typeof syncs | typeof clusterSyncs,
    { metadata, spec, status }: z.infer<typeof kubeObjectSchema>,
  ) {
    await api.create(ref, { metadata: { name: metadata.name }, spec });
    await api.patch({ ...ref, name: metadata.name }, 'merge', { status }, { subresource: 'status' });
  }

  it('of two notes about one name the one with the newer version, and removes the other', async () => {
    await stop();
    const spec = { objectAPIVersion: 'v1', objectKind: 'Pod', objectName: 'web' };
    for (const [uid, version] of [
      ['old', '5'],
      ['new', '30'],
      ['never', '0'],
    ] as const)
      await put(syncs, {
        metadata: { name: `edge-1.${uid}` },
        spec,
        status: { objectResourceVersion: version },
      });
    await start();
    await settle();
    expect(ledger.heldBy('edge-1').get('default/pod/web')).toEqual({ uid: 'new', version: '30' });
    expect(await namesOf()).toEqual(['edge-1.new']);
  });

  it('that an operator removed a note: the object is to be sent again', async () => {
    const lost: string[] = [];
    ledger.onLost((node, path) => lost.push(`${node} ${path}`));
    await ledger.intend('edge-1', pod, 'u1');
    ledger.acknowledged('edge-1', pod, 'u1', '77');
    await settle();
    await api.delete({ ...syncs, name: 'edge-1.u1' });
    await settle();
    expect(lost).toEqual(['edge-1 default/pod/web']);
    expect(ledger.heldBy('edge-1').get('default/pod/web')).toEqual({ uid: 'u1', version: '' });
    await ledger.intend('edge-1', pod, 'u1');
    expect(await namesOf()).toEqual(['edge-1.u1']);
  });
});

describe('SyncController and nodes', () => {
  it('removes the notes of nodes that are no more, at the start and later', async () => {
    await ledger.intend('edge-1', pod, 'u1');
    await ledger.intend('edge-1', ownNode, 'n1');
    const spec = { objectAPIVersion: 'v1', objectKind: 'Service', objectName: 'svc' };
    await api.create(syncs, { metadata: { name: 'gone.with.dots.u9' }, spec });
    await stop();
    await start();
    await settle();
    expect(await namesOf()).toEqual(['edge-1.u1']);
    await api.delete({ ...nodes, name: 'edge-1' });
    await settle();
    expect(await namesOf()).toEqual([]);
    expect(await namesOf(clusterSyncs)).toEqual([]);
    expect(ledger.heldBy('edge-1').size).toBe(0);
  });

  describe('when a node has an edge of ours after one of KubeEdge', () => {
    const dayMs = 86_400_000;
    const since = async () =>
      (await api.get({ ...nodes, name: 'edge-1' })).metadata.annotations?.[movedAnnotation];
    /** Days pass, and cloudcore starts anew each day. */
    const pass = async (days: number) => {
      for (let day = 0; day < days; day += 1) {
        await stop();
        await clock.advance(dayMs);
        await start();
        await settle();
      }
    };

    beforeEach(async () => {
      await ledger.intend('edge-1', pod, 'u1');
      ledger.served('edge-1', 'kubeedge');
      await settle();
      expect(await since()).toBeUndefined();
      ledger.served('edge-1', 'hawser');
      await settle();
    });

    it('the notes stay for a week, over restarts, and then go', async () => {
      expect(await since()).toBe(new Date(clock.now()).toISOString());
      await pass(6);
      expect([await namesOf(), ledger.heldBy('edge-1').size]).toEqual([['edge-1.u1'], 1]);
      await clock.advance(dayMs + movedLimits.checkEveryMs);
      await settle();
      expect([await namesOf(), ledger.heldBy('edge-1').size, await since()]).toEqual([[], 0, undefined]);
    });

    it('the way back keeps them for good', async () => {
      await pass(6);
      ledger.served('edge-1', 'kubeedge');
      await settle();
      expect(await since()).toBeUndefined();
      await pass(9);
      expect([await namesOf(), ledger.heldBy('edge-1').size]).toEqual([['edge-1.u1'], 1]);
    });
  });

  it('leaves those of a node that is there, also of kinds that are not known here', async () => {
    const spec = { objectAPIVersion: 'v1', objectKind: 'Service', objectName: 'svc' };
    await api.create(syncs, { metadata: { name: 'edge-1.u9' }, spec });
    await stop();
    await start();
    await settle();
    expect(await namesOf()).toEqual(['edge-1.u9']);
    expect(ledger.heldBy('edge-1').size).toBe(0);
  });
});
