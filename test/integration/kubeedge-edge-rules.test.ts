/**
 * What a KubeEdge edge relies on, row by row: the checklist for a cloudcore (wire 12), what crashes or blocks such an
 * edge (wire 6), and delivery to it (wire 5, DESIGN 5). A scripted edge at a real CloudHub, controllers and cache,
 * over a network and an API in memory.
 */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { deliveryLimits } from '#protocol/limits.ts';
import type { Envelope } from '#protocol/message.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { type Cloud, kubernetesCa, startCloud } from '#test/fixtures/cloud.ts';
import { ScriptedEdge } from '#test/fixtures/scripted-edge.ts';
import { signingRequest } from '#test/fixtures/signing-request.ts';

const node = 'edge-1';
const core = (plural: string, namespace: string | undefined = 'default') => ({
  apiVersion: 'v1',
  plural,
  ...(namespace === '' ? {} : { namespace }),
});
const pods = core('pods');
const maps = core('configmaps');
const nodes = core('nodes', '');
const devicesOf = (plural: string) => ({
  apiVersion: 'devices.kubeedge.io/v1beta1',
  plural,
  namespace: 'default',
});
const syncsOf = (plural: string, namespace?: string) => ({
  apiVersion: 'reliablesyncs.kubeedge.io/v1alpha1',
  plural,
  ...(namespace === undefined ? {} : { namespace }),
});

let transport: MemoryNetwork;
let cloud: Cloud;
let edge: ScriptedEdge;
/** All that any edge was sent in this test, for the rules about every frame. */
let everyFrame: Envelope[];

beforeEach(async () => {
  everyFrame = [];
  transport = new MemoryNetwork({ clock: systemClock, random: seededRandom(1) });
  cloud = await startCloud({ transport });
  await cloud.addNode(node);
});

afterEach(async () => {
  everyFrame.push(...(edge?.down ?? []));
  for (const frame of everyFrame) checkFrame(frame);
  await edge?.connection.close();
  await cloud.close();
});

async function connect(
  session: 'hawser' | 'kubeedge' = 'kubeedge',
  acknowledges = true,
): Promise<ScriptedEdge> {
  if (edge !== undefined) everyFrame.push(...edge.down);
  const identity = await cloud.identity(node);
  edge = await ScriptedEdge.connect({ transport, port: cloud.port, node, identity, session, acknowledges });
  return edge;
}

async function restart(change: () => Promise<void>): Promise<void> {
  const before = await cloud.stop();
  await change();
  cloud = await startCloud({ transport, before });
}

const ask = async (operation: string, resource: string, content: unknown = null) =>
  await edge.answerTo(await edge.say({ source: 'edged', group: 'meta', operation, resource }, content));

const isPush = ({ header, route }: Envelope) => !header.parent_msg_id && route.group === 'resource';
const pushes = () => edge.down.filter(isPush).map(({ route }) => `${route.operation} ${route.resource}`);
const pushed = async (push: string, times = 1) => {
  await edge.until(() => pushes().filter((one) => one === push).length >= times);
  const found = edge.down.filter(
    (frame) => isPush(frame) && `${frame.route.operation} ${frame.route.resource}` === push,
  );
  return found[times - 1] ?? expect.fail(push);
};
const acknowledge = async ({ header, route }: Envelope) =>
  await edge.say({ ...route, operation: 'response' }, 'OK', header.msg_id);
/** Until all that was to be sent has been sent: an answer to a question comes behind it or not at all. */
const settled = async () => {
  for (let n = 0; n < 3; n += 1) {
    await ask('query', `kube-node-lease/lease/${node}`);
    await systemClock.sleep(20);
  }
};

async function addPod(name: string, spec: object = {}): Promise<KubeObject> {
  const containers = [{ name: 'c', image: 'i', envFrom: [{ configMapRef: { name: 'map' } }] }];
  return await cloud.api.create(pods, { metadata: { name }, spec: { nodeName: node, containers, ...spec } });
}

async function addDevice(name: string, more: object = {}): Promise<void> {
  const spec = {
    deviceModelRef: { name: 'thermo' },
    nodeName: node,
    properties: [{ name: 'temp' }],
    ...more,
  };
  await cloud.api.create(devicesOf('devices'), { metadata: { name }, spec });
}

const deletePod = async (name: string) =>
  await cloud.api.delete({ ...pods, name }, { gracePeriodSeconds: 0 });

const headerKeys = new Set(['msg_id', 'parent_msg_id', 'timestamp', 'resourceversion']);

/** Rules that every frame to a KubeEdge edge keeps, whatever it is about. */
function checkFrame({ header, route, content }: Envelope): void {
  const at = `${route.source} ${route.group} ${route.operation} ${route.resource}`;
  // Never `sync` or `type`: a phantom waiter would get the object (wire 3.1).
  expect(
    Object.keys(header).filter((key) => !headerKeys.has(key)),
    at,
  ).toEqual([]);
  expect(route.resource, at).not.toMatch(/^node\//);
  // Group `session` is ours, `taskmanager` an unknown action would crash, others have no handler at the edge.
  expect(['resource', 'twin'], at).toContain(route.group);
  if (route.group === 'twin') return;
  const isObject = !header.parent_msg_id;
  // No list form: MetaManager would store it and break its next start (wire 4.5).
  if (isObject) expect(route.resource.split('/'), at).toHaveLength(3);
  const type = route.resource.split('/')[1];
  // Another type from devicecontroller crashes devicetwin; and devices from another source miss their mappers.
  expect(route.source === 'devicecontroller', at).toBe(type === 'device' || type === 'devicemodel');
  if (!isObject) return;
  const object = content as KubeObject;
  expect(object.metadata, at).toMatchObject({ name: expect.any(String), uid: expect.any(String) });
  if (route.operation === 'delete') return;
  expect(header.resourceversion, at).toMatch(/^\d+$/);
  expect(object.apiVersion, at).toBeTruthy();
  expect(object.kind?.toLowerCase(), at).toBe(type);
}

describe('checklist of wire 12', () => {
  test('the own Node is pushed after each connect', async () => {
    await connect();
    await pushed(`update null/node/${node}`);
    await settled();
    await connect();
    await pushed(`update null/node/${node}`);
  });

  test('replies carry group resource, source edgecontroller, the request as parent and its resource', async () => {
    await connect();
    for (const [operation, resource] of [
      ['insert', `null/node/${node}`],
      ['query', `kube-node-lease/lease/${node}`],
      ['query', 'default/secret/none'],
      ['patch', 'default/podpatch/none'],
      ['update', `null/node/${node}`],
    ] as const) {
      const answer = await ask(
        operation,
        resource,
        operation === 'patch' ? '{}' : { metadata: { name: node } },
      );
      expect(answer.route).toMatchObject({ source: 'edgecontroller', group: 'resource', resource });
    }
  });

  test('ObjectResp has both keys, of success and of failure', async () => {
    await connect();
    const patched = await ask('patch', `null/nodepatch/${node}`, '{"status":{}}');
    expect(patched.content).toMatchObject({ Object: { kind: 'Node' }, Err: null });
    const failed = await ask('patch', 'default/podpatch/none', '{"status":{}}');
    expect(failed.content).toMatchObject({
      Object: null,
      Err: { ErrStatus: { status: 'Failure', reason: 'NotFound', code: 404, message: expect.any(String) } },
    });
  });

  test('a missing lease is NotFound inside of ObjectResp', async () => {
    await connect();
    const answer = await ask('query', `kube-node-lease/lease/${node}`);
    expect(answer.route.operation).toBe('response');
    expect(answer.content).toMatchObject({ Object: null, Err: { ErrStatus: { reason: 'NotFound' } } });
  });

  test('apiVersion and kind stand on every object, from lists, watches and queries', async () => {
    await cloud.api.create(maps, { metadata: { name: 'map' }, data: {} });
    await addPod('listed');
    await cloud.api.create(devicesOf('devicemodels'), { metadata: { name: 'thermo' }, spec: {} });
    await restart(async () => await addDevice('listed'));
    await connect();
    await addPod('watched');
    await addDevice('watched');
    const answer = await ask('query', 'default/configmap/map');
    expect(answer.content).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap' });
    expect(answer.header.resourceversion).toMatch(/^\d+$/);
    await cloud.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '1' } });
    for (const path of ['pod/listed', 'pod/watched', 'configmap/map']) await pushed(`update default/${path}`);
    for (const path of ['devicemodel/thermo', 'device/listed', 'device/watched'])
      await pushed(`insert default/${path}`);
    // checkFrame looks at each of them.
    expect(edge.down.filter(isPush).length).toBeGreaterThanOrEqual(7);
  });

  test('deletes carry the full object, or name, namespace and uid', async () => {
    const whole = await addPod('whole');
    await addPod('away');
    await connect();
    await pushed('update default/pod/whole');
    await pushed('update default/pod/away');
    await deletePod('whole');
    expect((await pushed('delete default/pod/whole')).content).toMatchObject({
      kind: 'Pod',
      metadata: { uid: whole.metadata.uid },
      spec: { nodeName: node },
    });
    await settled();
    await restart(async () => await deletePod('away'));
    await connect();
    const { content } = await pushed('delete default/pod/away');
    expect(content).toEqual({ metadata: { name: 'away', namespace: 'default', uid: expect.any(String) } });
  });

  test('a socket that is not let in is closed with a reason, never left open', async () => {
    const identity = await cloud.identity('edge-2');
    const stolen = ScriptedEdge.connect({ transport, port: cloud.port, node, identity, session: 'kubeedge' });
    await expect(stolen).rejects.toMatchObject({
      detail: { status: 403, body: expect.stringContaining('edge-2') },
    });
  });

  test('acknowledgements count by message id: what is not acknowledged comes again under its id', async () => {
    await addPod('web');
    await connect('kubeedge', false);
    const first = await pushed('update default/pod/web');
    await acknowledge({ ...first, header: { ...first.header, msg_id: 'another' } });
    const again = await pushed('update default/pod/web', 2);
    expect(again).toEqual(first);
    expect(deliveryLimits.resendAfterMs).toBe(5_000);
  });
});

describe('what crashes or blocks a KubeEdge edge (wire 6)', () => {
  test('an edge with an empty store gets its Node right after AlreadyExists', async () => {
    await connect();
    await pushed(`update null/node/${node}`);
    await settled();
    const before = pushes().length;
    const answer = await ask('insert', `null/node/${node}`, { metadata: { name: node } });
    expect(answer.content).toMatchObject({ Object: null, Err: { ErrStatus: { reason: 'AlreadyExists' } } });
    await edge.until(() => pushes().length > before);
    expect(pushes().slice(before)).toEqual([`update null/node/${node}`]);
  });

  test.each([
    [
      'the API cannot be reached',
      async () => {
        cloud.api.failNext((verb, { plural }) => verb === 'patch' && plural === 'nodes', 'unreachable', '');
        return await ask('patch', `null/nodepatch/${node}`, '{"status":{}}');
      },
    ],
    ['the content is nonsense', async () => await ask('insert', `null/node/${node}`, ['nonsense'])],
    ['the patch is no JSON', async () => await ask('patch', `null/nodepatch/${node}`, '{')],
    ['the kind is unknown', async () => await ask('insert', 'default/nonsense/x', {})],
  ] as const)('no null Object with an empty Err, when %s', async (_why, say) => {
    await connect();
    await settled();
    const { content } = await say();
    expect(content).toMatchObject({
      Object: null,
      Err: { ErrStatus: { status: 'Failure', reason: expect.stringMatching(/./), code: expect.any(Number) } },
    });
  });

  test('a failed query is an error with text, which the edge does not store', async () => {
    await connect();
    const answer = await ask('query', 'default/configmap/none');
    expect(answer.route.operation).toBe('error');
    expect(answer.content).toEqual(expect.stringMatching(/./));
    expect(answer.content).not.toBe('OK');
  });

  test('k8s/ca.crt is PEM text from cloudhub', async () => {
    await connect();
    const route = { source: 'metamanager', group: 'meta', operation: 'query', resource: 'k8s/ca.crt' };
    const answer = await edge.answerTo(await edge.say(route, null));
    expect(answer.route).toEqual({ ...route, source: 'cloudhub', group: 'resource', operation: 'response' });
    expect(answer.content).toBe(kubernetesCa);
    // This one source is the exception to what checkFrame says of replies.
    expect(answer.header.parent_msg_id).toBeTruthy();
  });

  test('the certificate of the MetaServer is asked for, approved when it is the node’s own, and fetched', async () => {
    await connect();
    const path = `default/certificatesigningrequest/metaserver-csr-${node}`;
    const csr = async (subject: string, names: readonly string[]) => ({
      metadata: { name: `metaserver-csr-${node}` },
      spec: {
        request: Buffer.from(await signingRequest(subject, names)).toString('base64'),
        signerName: 'kubernetes.io/kubelet-serving',
        usages: ['digital signature', 'key encipherment', 'server auth'],
      },
    });
    const approved = { status: { conditions: [{ type: 'Approved', status: 'True' }] } };
    const own = `O=system:nodes, CN=system:node:${node}`;
    const good = await ask('insert', path, await csr(own, ['127.0.0.1', '169.254.30.10']));
    expect(good.content).toMatchObject({
      Object: { kind: 'CertificateSigningRequest', ...approved },
      Err: null,
    });
    expect((await ask('query', path)).content).toMatchObject({
      apiVersion: 'certificates.k8s.io/v1',
      ...approved,
    });
    for (const [subject, names] of [
      ['O=system:nodes, CN=system:node:edge-2', ['127.0.0.1']],
      ['O=system:masters, CN=system:node:edge-1', ['127.0.0.1']],
      [own, ['kubernetes.default']],
      [own, ['10.0.0.1']],
    ] as const) {
      const answer = await ask('insert', path, await csr(subject, names));
      expect(answer.content).toMatchObject({ Object: { kind: 'CertificateSigningRequest' }, Err: null });
      expect(answer.content).not.toMatchObject({ Object: approved });
    }
    const request = await csr(own, []);
    const signer = {
      ...request,
      spec: { ...request.spec, signerName: 'kubernetes.io/kube-apiserver-client' },
    };
    expect((await ask('insert', path, signer)).content).toMatchObject({ Object: null });
    const foreign = 'default/certificatesigningrequest/metaserver-csr-edge-2';
    expect((await ask('insert', foreign, request)).content).toMatchObject({
      Err: { ErrStatus: { reason: 'Forbidden' } },
    });
  });

  test('what is not supported is answered too: nobody waits a minute', async () => {
    await connect();
    expect((await ask('query', 'default/nonsense/x')).route.operation).toBe('error');
  });

  test('reports of an unknown device and membership/detail are confirmed, and not repeated for ever', async () => {
    await connect();
    const say = async (operation: string, resource: string, content: unknown) =>
      await edge.answerTo(
        await edge.say({ source: 'twin', group: 'resource', operation, resource }, content),
      );
    const twin = { temp: { actual: { value: '21', metadata: { timestamp: 1 } } } };
    const unknown = await say('update', 'device/default/nobody/twin/edge_updated', {
      event_id: 'e',
      timestamp: 1,
      twin,
    });
    expect(unknown.route).toMatchObject({ source: 'devicecontroller', group: 'twin', resource: 'twin' });
    expect(unknown.content).toBe('OK');
    const detail = {
      event_type: 'group_membership_event',
      event_id: 'e',
      operation: 'detail',
      group_id: node,
    };
    const answer = await say('get', 'membership/detail', JSON.stringify({ ...detail, timestamp: 1 }));
    expect(answer.route.group).toBe('twin');
  });
});

describe('delivery to a KubeEdge edge', () => {
  const notes = async () =>
    new Map(
      [
        ...(await cloud.api.list(syncsOf('objectsyncs'))).items,
        ...(await cloud.api.list(syncsOf('clusterobjectsyncs'))).items,
      ].map(({ metadata, spec, status }) => [metadata.name, { spec, status }]),
    );

  test('32 messages without acknowledgement, one a path, and no more', async () => {
    for (let n = 0; n < 60; n += 1) await addPod(`pod-${n}`);
    await connect('kubeedge', false);
    await edge.until(() => pushes().length === deliveryLimits.windowMax);
    await settled();
    expect(pushes()).toHaveLength(deliveryLimits.windowMax);
    await cloud.api.patch({ ...pods, name: 'pod-0' }, 'merge', { metadata: { labels: { a: 'b' } } });
    await settled();
    expect(pushes()).toHaveLength(deliveryLimits.windowMax);
    await acknowledge(await pushed(`update null/node/${node}`));
    await edge.until(() => pushes().length === deliveryLimits.windowMax + 1);
    expect(new Set(pushes()).size).toBe(pushes().length);
  });

  test('the delete of the old uid is acknowledged before the new one comes', async () => {
    const old = await addPod('web');
    await connect();
    await pushed('update default/pod/web');
    await settled();
    edge.acknowledges = false;
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
    edge.acknowledges = false;
    await cloud.api.create(devicesOf('devicemodels'), { metadata: { name: 'thermo' }, spec: {} });
    await addDevice('d1');
    const model = await pushed('insert default/devicemodel/thermo');
    await settled();
    expect(pushes()).not.toContain('insert default/device/d1');
    expect(edge.down.findIndex(({ route }) => route.resource === 'membership')).toBeLessThan(
      edge.down.indexOf(model),
    );
    await acknowledge(model);
    await pushed('insert default/device/d1');
  });

  test('ObjectSyncs name what was sent, with "0" before and the version after the acknowledgement', async () => {
    await cloud.api.create(maps, { metadata: { name: 'map' }, data: {} });
    const pod = await addPod('web');
    await connect('kubeedge', false);
    const frame = await pushed('update default/pod/web');
    const name = `${node}.${pod.metadata.uid}`;
    const spec = { objectAPIVersion: 'v1', objectKind: 'Pod', objectName: 'web' };
    await expect.poll(notes, { timeout: 5_000 }).toSatisfy((found: Awaited<ReturnType<typeof notes>>) => {
      const { status } = found.get(name) ?? {};
      return JSON.stringify(status) === '{"objectResourceVersion":"0"}';
    });
    expect((await notes()).get(name)?.spec).toEqual(spec);
    await restart(async () => {});
    await connect();
    await pushed('update default/pod/web');
    await expect
      .poll(async () => (await notes()).get(name)?.status, { timeout: 5_000 })
      .toEqual({
        objectResourceVersion: frame.header.resourceversion,
      });
    const map = (await ask('query', 'default/configmap/map')) as Envelope & { content: KubeObject };
    await edge.say({ ...map.route, operation: 'response' }, 'OK', map.header.msg_id);
    await expect
      .poll(async () => (await notes()).get(`${node}.${map.content.metadata.uid}`)?.status, {
        timeout: 5_000,
      })
      .toEqual({ objectResourceVersion: map.header.resourceversion });
    await deletePod('web');
    await pushed('delete default/pod/web');
    await expect.poll(async () => (await notes()).has(name), { timeout: 5_000 }).toBe(false);
  });

  test('a configMap is pushed after it was asked for, goes with its last reference, and not before', async () => {
    await cloud.api.create(maps, { metadata: { name: 'map' }, data: {} });
    await addPod('one');
    await addPod('two');
    await connect();
    await pushed('update default/pod/two');
    await cloud.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '1' } });
    await settled();
    expect(pushes()).not.toContain('update default/configmap/map');
    await ask('query', 'default/configmap/map');
    await cloud.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '2' } });
    expect((await pushed('update default/configmap/map')).content).toMatchObject({ data: { a: '2' } });
    await deletePod('one');
    await settled();
    expect(pushes()).not.toContain('delete default/configmap/map');
    await deletePod('two');
    await pushed('delete default/configmap/map');
  });

  test('claims and volumes are kept up to date, too', async () => {
    const claim = await cloud.api.create(core('persistentvolumeclaims'), {
      metadata: { name: 'data' },
      spec: {},
    });
    const claimRef = { namespace: 'default', name: 'data', uid: claim.metadata.uid };
    await cloud.api.create(core('persistentvolumes', ''), { metadata: { name: 'v1' }, spec: { claimRef } });
    await addPod('web', { volumes: [{ name: 'd', persistentVolumeClaim: { claimName: 'data' } }] });
    await connect();
    await pushed('update default/pod/web');
    expect((await ask('query', 'default/persistentvolumeclaim/data')).content).toMatchObject({
      kind: 'PersistentVolumeClaim',
    });
    expect((await ask('query', 'null/persistentvolume/v1')).content).toMatchObject({
      kind: 'PersistentVolume',
    });
    await cloud.api.patch({ ...core('persistentvolumes', ''), name: 'v1' }, 'merge', {
      spec: { capacity: {} },
    });
    expect((await pushed('update null/persistentvolume/v1')).content).toMatchObject({
      spec: { capacity: {} },
    });
    await cloud.api.patch({ ...core('persistentvolumeclaims'), name: 'data' }, 'merge', {
      spec: { volumeName: 'v1' },
    });
    await pushed('update default/persistentvolumeclaim/data');
    await settled();
    await deletePod('web');
    await pushed('delete null/persistentvolume/v1');
    await pushed('delete default/persistentvolumeclaim/data');
  });

  test('what changed and went while the edge was away reaches it, also past a restart of cloudcore', async () => {
    await cloud.api.create(maps, { metadata: { name: 'map' }, data: {} });
    await cloud.api.create(devicesOf('devicemodels'), { metadata: { name: 'thermo' }, spec: {} });
    for (const name of ['gone', 'replaced', 'same']) await addPod(name);
    await addDevice('d1');
    await addDevice('d2');
    await connect();
    for (const name of ['gone', 'replaced', 'same']) await pushed(`update default/pod/${name}`);
    await pushed('insert default/device/d2');
    const map = await ask('query', 'default/configmap/map');
    await edge.say({ ...map.route, operation: 'response' }, 'OK', map.header.msg_id);
    // Acknowledged versions are written within about a second.
    await expect
      .poll(async () => [...(await notes()).values()].filter(({ status }) => status !== undefined).length, {
        timeout: 5_000,
      })
      .toBe(8);
    await settled();
    let renewed: KubeObject | undefined;
    await restart(async () => {
      await deletePod('gone');
      await deletePod('replaced');
      renewed = await addPod('replaced');
      await cloud.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '1' } });
      await cloud.api.delete({ ...devicesOf('devices'), name: 'd2' });
      await cloud.api.patch({ ...devicesOf('devices'), name: 'd1' }, 'merge', {
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

  test('an edge that starts again gets all of it again: it may have lost its store', async () => {
    await cloud.api.create(devicesOf('devicemodels'), { metadata: { name: 'thermo' }, spec: {} });
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
    await cloud.api.delete({ ...nodes, name: node });
    await edge.connection.closed;
    await expect.poll(async () => (await notes()).size, { timeout: 5_000 }).toBe(0);
  });

  test('nothing an object is written for an edge of ours, and it is never spoken to before it has said what it holds', async () => {
    await addPod('web');
    await connect('hawser');
    const route = { source: 'metamanager', group: 'session', operation: 'update', resource: 'session/held' };
    await edge.answerTo(await edge.say(route, { epoch: null, objects: [] }));
    await pushed('update default/pod/web');
    await settled();
    expect((await notes()).size).toBe(0);
    edge.down.splice(0);
  });
});

describe('reports of a KubeEdge edge', () => {
  test('the first value of a property is in DeviceStatus with the first report', async () => {
    await cloud.api.create(devicesOf('devicemodels'), { metadata: { name: 'thermo' }, spec: {} });
    await addDevice('d1');
    await connect();
    await pushed('insert default/device/d1');
    const twin = { temp: { actual: { value: '21', metadata: { timestamp: 5 } }, metadata: { type: 'int' } } };
    const resource = 'device/default/d1/twin/edge_updated';
    const route = { source: 'twin', group: 'resource', operation: 'update', resource };
    const answer = await edge.answerTo(await edge.say(route, { event_id: 'e', timestamp: 1, twin }));
    expect(answer.content).toBe('OK');
    expect((await cloud.api.get({ ...devicesOf('devicestatuses'), name: 'd1' })).status).toMatchObject({
      twins: [{ propertyName: 'temp', reported: { value: '21' } }],
    });
  });
});
