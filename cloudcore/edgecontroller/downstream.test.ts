import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KubeObject } from '#protocol/resources/object.ts';
import { type ControllerFixture, startController } from '#test/fixtures/controller.ts';
import { createEdgeController, edgeControllerInbox } from './edgecontroller.ts';

const node = 'edge-1';
const core = (plural: string) => ({ apiVersion: 'v1', plural, namespace: 'default' });
const pods = core('pods');
const maps = core('configmaps');
const secrets = core('secrets');

const podOf = (name: string, on = node, more = {}) => ({
  metadata: { name },
  spec: {
    nodeName: on,
    containers: [
      { name: 'c', envFrom: [{ configMapRef: { name: 'map' } }, { secretRef: { name: 'secret' } }] },
    ],
    ...more,
  },
});

let fixture: ControllerFixture;
let epoch: string;

beforeEach(async () => {
  fixture = await startController('edgecontroller', edgeControllerInbox, (components) =>
    createEdgeController({}, components),
  );
  epoch = fixture.cache.epoch ?? '';
  await fixture.addNode(node);
  await fixture.api.create(maps, { metadata: { name: 'map' }, data: {} });
  await fixture.api.create(secrets, { metadata: { name: 'secret' }, data: {} });
  await fixture.settle();
});
afterEach(() => fixture.close());

const heldOf = async (
  path: string,
  ref: { apiVersion: string; plural: string; namespace?: string; name: string },
) => {
  const { metadata } = await fixture.api.get(ref);
  return { path, uid: metadata.uid, resourceVersion: metadata.resourceVersion };
};

describe('EdgeController, down, to an edge of ours', () => {
  it('sends nothing before the edge says what it holds, then answers with the epoch and sends it all', async () => {
    await fixture.api.create(pods, podOf('web'));
    fixture.connect(node, 'hawser');
    await fixture.settle();
    expect(fixture.pushes()).toEqual([]);
    const answer = await fixture.answerTo(fixture.sayHeld(node, null, []));
    expect(answer).toMatchObject({
      route: { group: 'session', operation: 'response', resource: 'node/edge-1/session/held' },
      content: { epoch },
    });
    await fixture.settle();
    expect(fixture.pushes()).toEqual([
      'update edge-1/null/node/edge-1',
      'update edge-1/default/configmap/map',
      'update edge-1/default/secret/secret',
      'update edge-1/default/pod/web',
    ]);
  });

  it('sends upserts without a body and with their version, deletions with a skeleton', async () => {
    const pod = await fixture.api.create(pods, podOf('web'));
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld(node, epoch, []));
    await fixture.settle();
    const upsert = fixture.sent.find(({ route }) => route.resource.endsWith('/pod/web'));
    expect(upsert?.content).toBeUndefined();
    expect(upsert?.header.resourceversion).toBe(pod.metadata.resourceVersion);
    expect(upsert?.route).toMatchObject({ source: 'edgecontroller', group: 'resource' });
    fixture.sent.length = 0;
    await fixture.api.delete({ ...pods, name: 'web' }, { gracePeriodSeconds: 0 });
    await fixture.settle();
    const removal = fixture.sent.find(({ route }) => route.operation === 'delete');
    expect(removal?.content).toEqual({
      metadata: { name: 'web', namespace: 'default', uid: pod.metadata.uid },
    });
  });

  it('sends only the difference to what is held', async () => {
    await fixture.api.create(pods, podOf('same'));
    await fixture.api.create(pods, podOf('changed'));
    await fixture.api.create(pods, podOf('new'));
    await fixture.settle();
    const objects = [
      await heldOf('null/node/edge-1', { apiVersion: 'v1', plural: 'nodes', name: node }),
      await heldOf('default/configmap/map', { ...maps, name: 'map' }),
      await heldOf('default/secret/secret', { ...secrets, name: 'secret' }),
      await heldOf('default/pod/same', { ...pods, name: 'same' }),
      { ...(await heldOf('default/pod/changed', { ...pods, name: 'changed' })), resourceVersion: '99999' },
      { path: 'default/pod/gone', uid: 'gone', resourceVersion: '5' },
      { path: 'default/configmap/released', uid: 'released', resourceVersion: '5' },
      { path: 'default/device/not-mine', uid: 'x', resourceVersion: '5' },
      { path: 'nonsense', uid: 'x', resourceVersion: '5' },
    ];
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld(node, epoch, objects));
    await fixture.settle();
    expect(fixture.pushes()).toEqual([
      'delete edge-1/default/configmap/released',
      'delete edge-1/default/pod/gone',
      'update edge-1/default/pod/changed',
      'update edge-1/default/pod/new',
    ]);
  });

  it('removes nothing that another cluster gave, and sends what this one has', async () => {
    await fixture.api.create(pods, podOf('web'));
    await fixture.settle();
    const objects = [{ path: 'default/pod/foreign', uid: 'foreign', resourceVersion: '1' }];
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld(node, 'another-epoch', objects));
    await fixture.settle();
    const pushes = fixture.pushes();
    expect(pushes.filter((push) => push.startsWith('delete'))).toEqual([]);
    expect(pushes).toContain('update edge-1/default/pod/web');
  });

  it('says on the Node how to confirm the move, and removes what is foreign once that is done', async () => {
    const objects = [{ path: 'default/pod/foreign', uid: 'foreign', resourceVersion: '1' }];
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld(node, 'another-epoch', objects));
    await fixture.settle();
    const [event] = (await fixture.api.list(core('events'))).items;
    const command = 'kubectl annotate node edge-1 --overwrite hawser.dev/accept-epoch=another-epoch';
    expect(event).toMatchObject({
      reason: 'ForeignObjects',
      involvedObject: { kind: 'Node', name: node },
      message: expect.stringContaining(command),
    });
    const annotate = async (value: string) => {
      const own = { apiVersion: 'v1', plural: 'nodes', name: node };
      const annotations = { 'hawser.dev/accept-epoch': value };
      await fixture.api.patch(own, 'merge', { metadata: { annotations } });
      await fixture.settle();
    };
    await annotate('some-third-epoch');
    expect(fixture.pushes().filter((push) => push.startsWith('delete'))).toEqual([]);
    await annotate('another-epoch');
    expect(fixture.pushes()).toContain('delete edge-1/default/pod/foreign');
    // The next time the edge is told, and takes the epoch of this cluster.
    const answer = await fixture.answerTo(fixture.sayHeld(node, 'another-epoch', []));
    expect(answer.content).toEqual({ epoch, accepted: 'another-epoch', pods: [] });
  });

  it('knows its own objects at an edge that a KubeEdge cloud served before, and removes what went meanwhile', async () => {
    await fixture.api.create(pods, podOf('web'));
    await fixture.settle();
    const gone = { path: 'default/pod/gone', uid: 'gone', resourceVersion: '5' };
    const web = await heldOf('default/pod/web', { ...pods, name: 'web' });
    fixture.connect(node, 'hawser');
    const answer = await fixture.answerTo(fixture.sayHeld(node, 'unknown', [gone, web]));
    expect(answer.content).toEqual({ epoch, accepted: 'unknown', pods: [web.uid] });
    await fixture.settle();
    expect(fixture.pushes()).toContain('delete edge-1/default/pod/gone');
  });

  it('removes nothing of an unknown cluster whose objects it does not know', async () => {
    await fixture.api.create(pods, podOf('web'));
    await fixture.settle();
    const objects = [
      { path: 'default/pod/gone', uid: 'gone', resourceVersion: '5' },
      { path: 'default/pod/web', uid: 'another', resourceVersion: '5' },
      { path: 'nonsense', uid: 'x', resourceVersion: '5' },
    ];
    fixture.connect(node, 'hawser');
    const answer = await fixture.answerTo(fixture.sayHeld(node, 'unknown', objects));
    expect(answer.content).not.toHaveProperty('accepted');
    await fixture.settle();
    expect(fixture.pushes().filter((push) => push.startsWith('delete'))).toEqual([]);
    const [event] = (await fixture.api.list(core('events'))).items;
    expect(event).toMatchObject({ message: expect.stringContaining('hawser.dev/accept-epoch=unknown') });
  });

  it('pushes changes of pods and of what they name, and releases what none names', async () => {
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld(node, epoch, []));
    await fixture.settle();
    fixture.pushes();
    await fixture.api.create(pods, podOf('web'));
    await fixture.settle();
    expect(fixture.pushes()).toHaveLength(3);
    await fixture.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '1' } });
    await fixture.settle();
    expect(fixture.pushes()).toEqual(['update edge-1/default/configmap/map']);
    await fixture.api.delete({ ...pods, name: 'web' });
    await fixture.settle();
    expect(fixture.pushes()).toEqual(['update edge-1/default/pod/web']);
    await fixture.api.delete({ ...pods, name: 'web' }, { gracePeriodSeconds: 0 });
    await fixture.settle();
    expect(fixture.pushes().sort()).toEqual([
      'delete edge-1/default/configmap/map',
      'delete edge-1/default/pod/web',
      'delete edge-1/default/secret/secret',
    ]);
  });

  it('keeps claims and volumes that the edge asked for up to date, and releases them with the last pod', async () => {
    const claims = core('persistentvolumeclaims');
    const persistent = { apiVersion: 'v1', plural: 'persistentvolumes' };
    await fixture.api.create(claims, { metadata: { name: 'data' }, spec: {} });
    await fixture.api.create(persistent, {
      metadata: { name: 'v1' },
      spec: { claimRef: { namespace: 'default', name: 'data' } },
    });
    const volumes = [{ name: 'd', persistentVolumeClaim: { claimName: 'data' } }];
    const pod = { metadata: { name: 'web' }, spec: { nodeName: node, containers: [{ name: 'c' }], volumes } };
    await fixture.api.create(pods, pod);
    await fixture.settle();
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld(node, epoch, []));
    await fixture.settle();
    expect(fixture.pushes()).toEqual(['update edge-1/null/node/edge-1', 'update edge-1/default/pod/web']);
    await fixture.answerTo(fixture.ask(node, 'query', 'default/persistentvolumeclaim/data'));
    await fixture.answerTo(fixture.ask(node, 'query', 'null/persistentvolume/v1'));
    await fixture.settle();
    expect(fixture.pushes()).toEqual([]);
    await fixture.api.patch({ ...claims, name: 'data' }, 'merge', { spec: { volumeName: 'v1' } });
    await fixture.api.patch({ ...persistent, name: 'v1' }, 'merge', { spec: { capacity: {} } });
    await fixture.settle();
    expect(fixture.pushes().sort()).toEqual([
      'update edge-1/default/persistentvolumeclaim/data',
      'update edge-1/null/persistentvolume/v1',
    ]);
    await fixture.api.delete({ ...pods, name: 'web' }, { gracePeriodSeconds: 0 });
    await fixture.settle();
    expect(fixture.pushes().sort()).toEqual([
      'delete edge-1/default/persistentvolumeclaim/data',
      'delete edge-1/default/pod/web',
      'delete edge-1/null/persistentvolume/v1',
    ]);
  });

  it("does not send an edge's own status reports back", async () => {
    await fixture.api.create(pods, podOf('web'));
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld(node, epoch, []));
    await fixture.settle();
    fixture.pushes();
    const status = { status: { conditions: [{ type: 'Ready', status: 'True' }] } };
    await fixture.api.patch({ ...pods, name: 'web' }, 'strategic', status, { subresource: 'status' });
    const own = { apiVersion: 'v1', plural: 'nodes', name: node };
    await fixture.api.patch(own, 'strategic', status, { subresource: 'status' });
    await fixture.settle();
    expect(fixture.pushes()).toEqual([]);
  });

  it('replaces a pod that took the name of another: first the removal, then the new one', async () => {
    await fixture.api.create(pods, podOf('web'));
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld(node, epoch, []));
    await fixture.settle();
    fixture.pushes();
    await fixture.api.delete({ ...pods, name: 'web' }, { gracePeriodSeconds: 0 });
    await fixture.api.create(pods, podOf('web', node, { restartPolicy: 'Never' }));
    await fixture.settle();
    const aboutPod = fixture.pushes().filter((push) => push.endsWith('pod/web'));
    expect(aboutPod).toEqual(['delete edge-1/default/pod/web', 'update edge-1/default/pod/web']);
  });

  it('pushes its Node when the control plane takes it for silent, and not when it reports otherwise', async () => {
    fixture.connect(node, 'hawser');
    fixture.sayHeld(node, epoch, []);
    await fixture.settle();
    fixture.pushes();
    const ready = async (status: string, lastHeartbeatTime: string) => {
      const conditions = [{ type: 'Ready', status, lastHeartbeatTime }];
      const ref = { apiVersion: 'v1', plural: 'nodes', name: node };
      await fixture.api.patch(ref, 'merge', { status: { conditions } }, { subresource: 'status' });
      await fixture.settle();
      return fixture.pushes();
    };
    expect(await ready('True', '2026-01-01T00:00:00Z')).toEqual([]);
    expect(await ready('Unknown', '2026-01-01T00:00:00Z')).toEqual(['update edge-1/null/node/edge-1']);
    expect(await ready('Unknown', '2026-01-01T00:01:00Z')).toEqual([]);
    expect(await ready('True', '2026-01-01T00:02:00Z')).toEqual([]);
  });

  it('sends nothing to a node without the edge label, and removes nothing when the label goes', async () => {
    await fixture.addNode('plain', {});
    await fixture.api.create(pods, podOf('web', 'plain'));
    await fixture.api.create(pods, podOf('own'));
    fixture.connect('plain', 'hawser');
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld('plain', epoch, []));
    await fixture.answerTo(fixture.sayHeld(node, epoch, []));
    await fixture.settle();
    expect(fixture.pushes().filter((push) => push.includes('plain/'))).toEqual([]);
    const own = { apiVersion: 'v1', plural: 'nodes', name: node };
    await fixture.api.patch(own, 'merge', { metadata: { labels: null } });
    await fixture.settle();
    expect(fixture.pushes()).toEqual([]);
  });

  it('forgets at the disconnect, and starts again from what is held', async () => {
    await fixture.api.create(pods, podOf('web'));
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld(node, epoch, []));
    await fixture.settle();
    fixture.disconnect(node);
    await fixture.settle();
    fixture.pushes();
    await fixture.api.create(pods, podOf('unseen'));
    await fixture.settle();
    expect(fixture.pushes()).toEqual([]);
    fixture.connect(node, 'hawser');
    await fixture.answerTo(fixture.sayHeld(node, epoch, []));
    await fixture.settle();
    expect(fixture.pushes()).toContain('update edge-1/default/pod/unseen');
  });
});

describe('EdgeController, down, to a KubeEdge edge', () => {
  it('pushes its node and pods at once, configMaps and secrets only after it asked', async () => {
    await fixture.api.create(pods, podOf('web'));
    fixture.connect(node, 'kubeedge');
    await fixture.settle();
    expect(fixture.pushes()).toEqual(['update edge-1/null/node/edge-1', 'update edge-1/default/pod/web']);
    await fixture.answerTo(fixture.ask(node, 'query', 'default/configmap/map'));
    await fixture.settle();
    expect(fixture.pushes()).toEqual([]);
    await fixture.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '1' } });
    await fixture.api.patch({ ...secrets, name: 'secret' }, 'merge', { data: { a: 'MQ==' } });
    await fixture.settle();
    expect(fixture.pushes()).toEqual(['update edge-1/default/configmap/map']);
  });

  it('pushes every change of its node', async () => {
    fixture.connect(node, 'kubeedge');
    await fixture.settle();
    fixture.pushes();
    const own = { apiVersion: 'v1', plural: 'nodes', name: node };
    await fixture.api.patch(own, 'strategic', { status: { phase: 'x' } }, { subresource: 'status' });
    await fixture.settle();
    expect(fixture.pushes()).toEqual(['update edge-1/null/node/edge-1']);
  });

  /** What CloudHub notes when it sends, and when the edge acknowledges. */
  const delivered = async (kind: string, object: KubeObject, acknowledged = true) => {
    const { namespace, name, uid = '', resourceVersion = '' } = object.metadata;
    const path = { namespace, type: kind, name };
    await fixture.ledger.intend(node, path, uid);
    if (acknowledged) fixture.ledger.acknowledged(node, path, uid, resourceVersion);
  };

  it('removes at the next connect what went meanwhile, sends what changed or was not acknowledged, and its Node', async () => {
    await delivered('pod', await fixture.api.create(pods, podOf('gone')));
    await delivered('pod', await fixture.api.create(pods, podOf('same')));
    await delivered('pod', await fixture.api.create(pods, podOf('kept')), false);
    await delivered('node', await fixture.api.get({ apiVersion: 'v1', plural: 'nodes', name: node }));
    await delivered('configmap', await fixture.api.get({ ...maps, name: 'map' }));
    await fixture.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '2' } });
    await fixture.api.delete({ ...pods, name: 'gone' }, { gracePeriodSeconds: 0 });
    await fixture.settle();
    fixture.connect(node, 'kubeedge');
    await fixture.settle();
    expect(fixture.pushes()).toEqual([
      'delete edge-1/default/pod/gone',
      'update edge-1/null/node/edge-1',
      'update edge-1/default/configmap/map',
      'update edge-1/default/pod/kept',
    ]);
  });
});
