/**
 * Delivery to a KubeEdge edge (wire 5, DESIGN 5): window, order, what it was ever sent, and deletes that reach it
 * later. A scripted edge at a real CloudHub, controllers and cache, over a network and an API in memory.
 */

import { describe, expect, test } from 'vitest';
import { deliveryLimits } from '#protocol/limits.ts';
import type { Envelope } from '#protocol/message.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import {
  core,
  devicesOf,
  kubeEdgeCase,
  maps,
  node,
  nodes,
  pods,
  syncsOf,
} from '#test/fixtures/kubeedge-case.ts';

const at = kubeEdgeCase();
const { acknowledge, addDevice, addPod, ask, connect, deletePod, pushed, pushes, restart, settled } = at;

describe('delivery to a KubeEdge edge', () => {
  const notes = async () =>
    new Map(
      [
        ...(await at.cloud.api.list(syncsOf('objectsyncs'))).items,
        ...(await at.cloud.api.list(syncsOf('clusterobjectsyncs'))).items,
      ].map(({ metadata, spec, status }) => [metadata.name, { spec, status }]),
    );

  test('32 messages without acknowledgement, one a path, and no more', async () => {
    for (let n = 0; n < 60; n += 1) await addPod(`pod-${n}`);
    await connect('kubeedge', false);
    await at.edge.until(() => pushes().length === deliveryLimits.windowMax);
    await settled();
    expect(pushes()).toHaveLength(deliveryLimits.windowMax);
    await at.cloud.api.patch({ ...pods, name: 'pod-0' }, 'merge', { metadata: { labels: { a: 'b' } } });
    await settled();
    expect(pushes()).toHaveLength(deliveryLimits.windowMax);
    await acknowledge(await pushed(`update null/node/${node}`));
    await at.edge.until(() => pushes().length === deliveryLimits.windowMax + 1);
    expect(new Set(pushes()).size).toBe(pushes().length);
  });

  test('the delete of the old uid is acknowledged before the new one comes', async () => {
    const old = await addPod('web');
    await connect();
    await pushed('update default/pod/web');
    await settled();
    at.edge.acknowledges = false;
    await deletePod('web');
    const renewed = await addPod('web');
    const removal = await pushed('delete default/pod/web');
    expect(removal.content).toMatchObject({ metadata: { uid: old.metadata.uid } });
    await settled();
    expect(pushes().at(-1)).toBe('delete default/pod/web');
    await acknowledge(removal);
    expect((await pushed('update default/pod/web', 2)).content).toMatchObject({
      metadata: { uid: renewed.metadata.uid },
    });
  });

  test('membership, then the model, and the device only once the model is acknowledged', async () => {
    await connect();
    await settled();
    at.edge.acknowledges = false;
    await at.cloud.api.create(devicesOf('devicemodels'), { metadata: { name: 'thermo' }, spec: {} });
    await addDevice('d1');
    const model = await pushed('insert default/devicemodel/thermo');
    await settled();
    expect(pushes()).not.toContain('insert default/device/d1');
    expect(at.edge.down.findIndex(({ route }) => route.resource === 'membership')).toBeLessThan(
      at.edge.down.indexOf(model),
    );
    await acknowledge(model);
    await pushed('insert default/device/d1');
  });

  test('ObjectSyncs name what was sent, with "0" before and the version after the acknowledgement', async () => {
    await at.cloud.api.create(maps, { metadata: { name: 'map' }, data: {} });
    const pod = await addPod('web');
    await connect('kubeedge', false);
    const frame = await pushed('update default/pod/web');
    const name = `${node}.${pod.metadata.uid}`;
    const spec = { objectAPIVersion: 'v1', objectKind: 'Pod', objectName: 'web' };
    await expect.poll(notes).toSatisfy((found: Awaited<ReturnType<typeof notes>>) => {
      const { status } = found.get(name) ?? {};
      return JSON.stringify(status) === '{"objectResourceVersion":"0"}';
    });
    expect((await notes()).get(name)?.spec).toEqual(spec);
    await restart(async () => {});
    await connect();
    await pushed('update default/pod/web');
    await expect
      .poll(async () => (await notes()).get(name)?.status)
      .toEqual({
        objectResourceVersion: frame.header.resourceversion,
      });
    const map = (await ask('query', 'default/configmap/map')) as Envelope & { content: KubeObject };
    await at.edge.say({ ...map.route, operation: 'response' }, 'OK', map.header.msg_id);
    await expect
      .poll(async () => (await notes()).get(`${node}.${map.content.metadata.uid}`)?.status)
      .toEqual({ objectResourceVersion: map.header.resourceversion });
    await deletePod('web');
    await pushed('delete default/pod/web');
    await expect.poll(async () => (await notes()).has(name)).toBe(false);
  });

  test('what cannot be noted is not sent, but later', async () => {
    await connect();
    await settled();
    at.cloud.api.failNext((verb, { plural }) => verb === 'create' && plural === 'objectsyncs');
    const pod = await addPod('web');
    await settled();
    expect(pushes()).not.toContain('update default/pod/web');
    await pushed('update default/pod/web');
    expect([...(await notes()).keys()]).toContain(`${node}.${pod.metadata.uid}`);
  });

  test('a configMap is pushed after it was asked for, goes with its last reference, and not before', async () => {
    await at.cloud.api.create(maps, { metadata: { name: 'map' }, data: {} });
    await addPod('one');
    await addPod('two');
    await connect();
    await pushed('update default/pod/two');
    await at.cloud.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '1' } });
    await settled();
    expect(pushes()).not.toContain('update default/configmap/map');
    await ask('query', 'default/configmap/map');
    await at.cloud.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '2' } });
    expect((await pushed('update default/configmap/map')).content).toMatchObject({ data: { a: '2' } });
    await deletePod('one');
    await settled();
    expect(pushes()).not.toContain('delete default/configmap/map');
    await deletePod('two');
    await pushed('delete default/configmap/map');
  });

  test('claims and volumes are kept up to date, too', async () => {
    const claim = await at.cloud.api.create(core('persistentvolumeclaims'), {
      metadata: { name: 'data' },
      spec: {},
    });
    const claimRef = { namespace: 'default', name: 'data', uid: claim.metadata.uid };
    await at.cloud.api.create(core('persistentvolumes', ''), {
      metadata: { name: 'v1' },
      spec: { claimRef },
    });
    await addPod('web', { volumes: [{ name: 'd', persistentVolumeClaim: { claimName: 'data' } }] });
    await connect();
    await pushed('update default/pod/web');
    expect((await ask('query', 'default/persistentvolumeclaim/data')).content).toMatchObject({
      kind: 'PersistentVolumeClaim',
    });
    expect((await ask('query', 'null/persistentvolume/v1')).content).toMatchObject({
      kind: 'PersistentVolume',
    });
    await at.cloud.api.patch({ ...core('persistentvolumes', ''), name: 'v1' }, 'merge', {
      spec: { capacity: {} },
    });
    expect((await pushed('update null/persistentvolume/v1')).content).toMatchObject({
      spec: { capacity: {} },
    });
    await at.cloud.api.patch({ ...core('persistentvolumeclaims'), name: 'data' }, 'merge', {
      spec: { volumeName: 'v1' },
    });
    await pushed('update default/persistentvolumeclaim/data');
    await settled();
    await deletePod('web');
    await pushed('delete null/persistentvolume/v1');
    await pushed('delete default/persistentvolumeclaim/data');
  });

  test('what changed and went while the edge was away reaches it, also past a restart of cloudcore', async () => {
    await at.cloud.api.create(maps, { metadata: { name: 'map' }, data: {} });
    await at.cloud.api.create(devicesOf('devicemodels'), { metadata: { name: 'thermo' }, spec: {} });
    for (const name of ['gone', 'replaced', 'same']) await addPod(name);
    await addDevice('d1');
    await addDevice('d2');
    await connect();
    for (const name of ['gone', 'replaced', 'same']) await pushed(`update default/pod/${name}`);
    await pushed('insert default/device/d2');
    const map = await ask('query', 'default/configmap/map');
    await at.edge.say({ ...map.route, operation: 'response' }, 'OK', map.header.msg_id);
    // Acknowledged versions are written within about a second.
    await expect
      .poll(async () => [...(await notes()).values()].filter(({ status }) => status !== undefined).length)
      .toBe(8);
    await settled();
    let renewed: KubeObject | undefined;
    await restart(async () => {
      await deletePod('gone');
      await deletePod('replaced');
      renewed = await addPod('replaced');
      await at.cloud.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '1' } });
      await at.cloud.api.delete({ ...devicesOf('devices'), name: 'd2' });
      await at.cloud.api.patch({ ...devicesOf('devices'), name: 'd1' }, 'merge', {
        spec: { properties: [{ name: 'temp', desired: { value: '5' } }] },
      });
    });
    await connect();
    await pushed('delete default/pod/gone');
    await pushed('delete default/device/d2');
    expect((await pushed('update default/configmap/map')).content).toMatchObject({ data: { a: '1' } });
    expect((await pushed('update default/pod/replaced')).content).toMatchObject({
      metadata: { uid: renewed?.metadata.uid },
    });
    // A fault of the original mended: from edgecontroller it would not reach the mapper.
    expect((await pushed('update default/device/d1')).route.source).toBe('devicecontroller');
    await settled();
    expect(pushes().indexOf('delete default/pod/replaced')).toBeLessThan(
      pushes().indexOf('update default/pod/replaced'),
    );
    expect(pushes()).not.toContain('update default/pod/same');
    expect(pushes()).not.toContain('update default/devicemodel/thermo');
  });

  test('an edge of ours takes the node over for a while: the KubeEdge edge that comes back is brought up to date', async () => {
    await at.cloud.api.create(maps, { metadata: { name: 'map' }, data: {} });
    for (const name of ['gone', 'same']) await addPod(name);
    await connect();
    for (const name of ['gone', 'same']) await pushed(`update default/pod/${name}`);
    const map = await ask('query', 'default/configmap/map');
    await at.edge.say({ ...map.route, operation: 'response' }, 'OK', map.header.msg_id);
    await settled();
    await at.edge.connection.close();

    await connect('hawser');
    const route = { source: 'metamanager', group: 'session', operation: 'update', resource: 'session/held' };
    await at.edge.answerTo(await at.edge.say(route, { epoch: null, objects: [] }));
    await pushed('update default/configmap/map');
    await deletePod('gone');
    await pushed('delete default/pod/gone');
    await at.cloud.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '1' } });
    await pushed('update default/configmap/map', 2);
    await settled();
    at.edge.down.splice(0);
    await at.edge.connection.close();

    await connect();
    await pushed('delete default/pod/gone');
    expect((await pushed('update default/configmap/map')).content).toMatchObject({ data: { a: '1' } });
    await settled();
    expect(pushes()).not.toContain('update default/pod/same');
  });

  test('an edge that starts again gets all of it again: it may have lost its store', async () => {
    await at.cloud.api.create(devicesOf('devicemodels'), { metadata: { name: 'thermo' }, spec: {} });
    await addPod('web');
    await addDevice('d1');
    await connect();
    await pushed('update default/pod/web');
    await pushed('insert default/device/d1');
    await settled();
    await connect();
    await pushed(`update null/node/${node}`);
    await settled();
    expect(pushes()).toEqual([`update null/node/${node}`]);
    await ask('insert', `null/node/${node}`, { metadata: { name: node } });
    for (const path of ['pod/web', 'devicemodel/thermo', 'device/d1']) await pushed(`update default/${path}`);
  });

  test('who has no Node any more is sent away, and its ObjectSyncs go', async () => {
    await addPod('web');
    await connect();
    await pushed('update default/pod/web');
    expect((await notes()).size).toBe(2);
    await at.cloud.api.delete({ ...nodes, name: node });
    await at.edge.connection.closed;
    await expect.poll(async () => (await notes()).size).toBe(0);
  });

  test('nothing an object is written for an edge of ours, and it is never spoken to before it has said what it holds', async () => {
    await addPod('web');
    await connect('hawser');
    const route = { source: 'metamanager', group: 'session', operation: 'update', resource: 'session/held' };
    await at.edge.answerTo(await at.edge.say(route, { epoch: null, objects: [] }));
    await pushed('update default/pod/web');
    await settled();
    expect((await notes()).size).toBe(0);
    at.edge.down.splice(0);
  });
});
