/**
 * What a node may, kind by kind: an edge with a real certificate at a real CloudHub, EdgeController and
 * DeviceController says each thing once about what is its own and once about what is another's.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { certificateRows } from '#cloudcore/edgecontroller/upstream-certificates.ts';
import { eventRows } from '#cloudcore/edgecontroller/upstream-events.ts';
import { nodeRows } from '#cloudcore/edgecontroller/upstream-nodes.ts';
import { podRows } from '#cloudcore/edgecontroller/upstream-pods.ts';
import { queryRows } from '#cloudcore/edgecontroller/upstream-queries.ts';
import type { Envelope } from '#protocol/message.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { createTestAuthority } from '#test/certificates.ts';
import { type Cloud, startCloud } from '#test/fixtures/cloud.ts';
import { ScriptedEdge } from '#test/fixtures/scripted-edge.ts';

const core = (plural: string, namespace?: string) => ({ apiVersion: 'v1', plural, namespace });
const devicesApi = (plural: string) => ({
  apiVersion: 'devices.kubeedge.io/v1beta1',
  plural,
  namespace: 'default',
});
const leases = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases', namespace: 'kube-node-lease' };

interface Said {
  readonly resource: string;
  readonly content?: unknown;
}

type Shape = 'objectResp' | 'error' | 'none';

interface Case {
  /** `<type>/<operation>`, as in upstream.ts */
  readonly kind: string;
  /** How a refusal looks. */
  readonly shape: Shape;
  readonly own: Said;
  readonly others: readonly Said[];
}

const uids = new Map<string, string>();
const uid = (name: string) => uids.get(name) ?? '';

const nodeObject = (name: string) => ({ metadata: { name, labels: { 'node-role.kubernetes.io/edge': '' } } });
const lease = (holder: string) => ({
  metadata: { name: holder, namespace: 'kube-node-lease', resourceVersion: uid(`lease-${holder}-version`) },
  spec: { holderIdentity: holder },
});
const mirror = (
  node: string,
  more: object = {},
  annotations: object = { 'kubernetes.io/config.mirror': 'x' },
) => ({
  metadata: { name: 'static', namespace: 'default', annotations },
  spec: { nodeName: node, containers: [{ name: 'c', image: 'i' }], ...more },
});
const statusText = (pod: string) =>
  JSON.stringify({ metadata: { uid: uid(pod) }, status: { phase: 'Running' } });
const tokenFor = (pod: string, podUid = uid(pod)) => ({
  spec: { audiences: null, expirationSeconds: 3607, boundObjectRef: { kind: 'Pod', name: pod, uid: podUid } },
});
const event = (node: string, name: string) => ({
  metadata: { name, namespace: 'default' },
  involvedObject: { kind: 'Pod', namespace: 'default', name: 'pod-a' },
  reason: 'Started',
  source: { component: 'kubelet', host: node },
});
const eventPatch = (node: string, name: string) => ({
  event: event(node, name),
  patchData: JSON.stringify({ count: 2 }),
});
const csr = (node: string) => ({
  metadata: { name: `metaserver-csr-${node}` },
  spec: {
    request: 'bm90IGEgcmVxdWVzdA==',
    signerName: 'kubernetes.io/kubelet-serving',
    usages: ['server auth'],
  },
});

/** In this order: what ends a pod comes last. */
const cases = (): readonly Case[] => [
  {
    kind: 'node/insert',
    shape: 'objectResp',
    own: { resource: 'null/node/edge-a', content: nodeObject('edge-a') },
    others: [{ resource: 'null/node/edge-c', content: nodeObject('edge-c') }],
  },
  {
    kind: 'node/query',
    shape: 'error',
    own: { resource: 'null/node/edge-a' },
    others: [{ resource: 'null/node/edge-b' }],
  },
  {
    kind: 'node/update',
    shape: 'error',
    own: { resource: 'null/node/edge-a', content: nodeObject('edge-a') },
    others: [
      { resource: 'null/node/edge-b', content: { metadata: { name: 'edge-b', labels: { mine: 'now' } } } },
    ],
  },
  {
    kind: 'nodepatch/patch',
    shape: 'objectResp',
    own: { resource: 'null/nodepatch/edge-a', content: '{"status":{"conditions":[]}}' },
    others: [{ resource: 'null/nodepatch/edge-b', content: '{"status":{"conditions":[]}}' }],
  },
  {
    kind: 'nodestatus/insert',
    shape: 'error',
    own: { resource: 'default/nodestatus/edge-a', content: nodeObject('edge-a') },
    others: [{ resource: 'default/nodestatus/edge-c', content: nodeObject('edge-c') }],
  },
  {
    kind: 'nodestatus/update',
    shape: 'error',
    own: { resource: 'default/nodestatus/edge-a', content: { UID: '', Status: {} } },
    others: [{ resource: 'default/nodestatus/edge-b', content: { UID: '', Status: {} } }],
  },
  {
    kind: 'lease/query',
    shape: 'objectResp',
    own: { resource: 'kube-node-lease/lease/edge-a' },
    others: [{ resource: 'kube-node-lease/lease/edge-b' }, { resource: 'kube-system/lease/edge-a' }],
  },
  {
    kind: 'lease/insert',
    shape: 'objectResp',
    own: { resource: 'kube-node-lease/lease/edge-a', content: lease('edge-a') },
    others: [{ resource: 'kube-node-lease/lease/edge-c', content: lease('edge-c') }],
  },
  {
    kind: 'lease/update',
    shape: 'objectResp',
    own: { resource: 'kube-node-lease/lease/edge-a', content: lease('edge-a') },
    others: [{ resource: 'kube-node-lease/lease/edge-b', content: lease('edge-b') }],
  },
  {
    kind: 'podpatch/patch',
    shape: 'objectResp',
    own: { resource: 'default/podpatch/pod-a', content: statusText('pod-a') },
    others: [{ resource: 'default/podpatch/pod-b', content: statusText('pod-b') }],
  },
  {
    kind: 'podstatus/update',
    shape: 'error',
    own: { resource: 'default/podstatus', content: [{ UID: uid('pod-a'), Name: 'pod-a', Status: {} }] },
    others: [
      { resource: 'default/podstatus', content: [{ UID: uid('pod-b'), Name: 'pod-b', Status: {} }] },
      // The path names an own pod, the body another's.
      { resource: 'default/podstatus/pod-a', content: { UID: uid('pod-b'), Name: 'pod-b', Status: {} } },
    ],
  },
  {
    kind: 'pod/insert',
    shape: 'objectResp',
    own: { resource: 'default/pod/static', content: mirror('edge-a') },
    others: [
      { resource: 'default/pod/static-b', content: mirror('edge-b') },
      { resource: 'default/pod/static-c', content: mirror('edge-a', {}, {}) },
      {
        resource: 'default/pod/static-d',
        content: mirror('edge-a', { volumes: [{ name: 'v', secret: { secretName: 'secret-b' } }] }),
      },
      { resource: 'default/pod/static-e', content: mirror('edge-a', { serviceAccountName: 'robot-b' }) },
    ],
  },
  {
    kind: 'configmap/query',
    shape: 'error',
    own: { resource: 'default/configmap/config-a' },
    others: [{ resource: 'default/configmap/config-b' }, { resource: 'kube-system/configmap/config-a' }],
  },
  {
    kind: 'secret/query',
    shape: 'error',
    own: { resource: 'default/secret/secret-a' },
    others: [
      { resource: 'default/secret/secret-b' },
      { resource: 'default/secret/unused' },
      { resource: 'kubeedge/secret/casecret' },
      { resource: 'kubeedge/secret/tokensecret' },
    ],
  },
  {
    kind: 'persistentvolumeclaim/query',
    shape: 'error',
    own: { resource: 'default/persistentvolumeclaim/claim-a' },
    others: [{ resource: 'default/persistentvolumeclaim/claim-b' }],
  },
  {
    kind: 'persistentvolume/query',
    shape: 'error',
    own: { resource: 'null/persistentvolume/volume-a' },
    others: [
      { resource: 'null/persistentvolume/volume-b' },
      { resource: 'null/persistentvolume/volume-free' },
    ],
  },
  {
    kind: 'volumeattachment/query',
    shape: 'error',
    own: { resource: 'default/volumeattachment/attachment-a' },
    others: [{ resource: 'default/volumeattachment/attachment-b' }],
  },
  {
    kind: 'serviceaccounttoken/query',
    shape: 'error',
    own: { resource: 'default/serviceaccounttoken/robot-a', content: tokenFor('pod-a') },
    others: [
      { resource: 'default/serviceaccounttoken/robot-b', content: tokenFor('pod-b') },
      // Another account for the own pod, the own account for another's pod, a pod that is not, and no pod at all.
      { resource: 'default/serviceaccounttoken/robot-b', content: tokenFor('pod-a') },
      { resource: 'default/serviceaccounttoken/robot-a', content: tokenFor('pod-b') },
      { resource: 'default/serviceaccounttoken/robot-a', content: tokenFor('pod-a', uid('pod-b')) },
      { resource: 'default/serviceaccounttoken/robot-a', content: { spec: { audiences: null } } },
    ],
  },
  {
    kind: 'certificatesigningrequest/insert',
    shape: 'objectResp',
    own: { resource: 'default/certificatesigningrequest/metaserver-csr-edge-a', content: csr('edge-a') },
    others: [{ resource: 'default/certificatesigningrequest/metaserver-csr-edge-b', content: csr('edge-b') }],
  },
  {
    kind: 'certificatesigningrequest/query',
    shape: 'error',
    own: { resource: 'default/certificatesigningrequest/metaserver-csr-edge-a' },
    others: [{ resource: 'default/certificatesigningrequest/metaserver-csr-edge-b' }],
  },
  {
    kind: 'event/insert',
    shape: 'none',
    own: { resource: 'default/event/new-a', content: event('edge-a', 'new-a') },
    others: [{ resource: 'default/event/new-b', content: event('edge-b', 'new-b') }],
  },
  {
    kind: 'event/update',
    shape: 'none',
    own: { resource: 'default/event/event-a', content: event('edge-a', 'event-a') },
    others: [
      { resource: 'default/event/event-b', content: event('edge-b', 'event-b') },
      // It says that it is its own; what is stored says otherwise.
      { resource: 'default/event/event-b', content: event('edge-a', 'event-b') },
    ],
  },
  {
    kind: 'event/patch',
    shape: 'none',
    own: { resource: 'default/event/event-a', content: eventPatch('edge-a', 'event-a') },
    others: [
      { resource: 'default/event/event-b', content: eventPatch('edge-b', 'event-b') },
      { resource: 'default/event/event-b', content: eventPatch('edge-a', 'event-b') },
    ],
  },
  {
    kind: 'pod/delete',
    shape: 'error',
    own: {
      resource: 'default/pod/pod-a',
      content: { gracePeriodSeconds: 0, preconditions: { uid: uid('pod-a') } },
    },
    others: [
      {
        resource: 'default/pod/pod-b',
        content: { gracePeriodSeconds: 0, preconditions: { uid: uid('pod-b') } },
      },
      { resource: 'default/pod/pod-b', content: uid('pod-b') },
    ],
  },
];

/** Kinds that name nothing of a node: the same for everybody. */
const forEverybody = ['ca.crt/query'];

async function fill({ api, addNode }: Cloud): Promise<void> {
  for (const which of ['a', 'b']) {
    const node = `edge-${which}`;
    await addNode(node);
    const made = async (
      ref: Parameters<typeof api.create>[0],
      object: { metadata: object & { name: string }; [key: string]: unknown },
    ) => {
      const { metadata } = await api.create(ref, object);
      uids.set(metadata.name, metadata.uid ?? '');
      return metadata;
    };
    const written = await made(leases, { metadata: { name: `${node}` }, spec: { holderIdentity: node } });
    uids.set(`lease-${node}-version`, written.resourceVersion ?? '');
    await made(core('configmaps', 'default'), { metadata: { name: `config-${which}` } });
    await made(core('secrets', 'default'), { metadata: { name: `secret-${which}` } });
    await made(core('persistentvolumeclaims', 'default'), { metadata: { name: `claim-${which}` } });
    const claimRef = { namespace: 'default', name: `claim-${which}` };
    await made(core('persistentvolumes'), { metadata: { name: `volume-${which}` }, spec: { claimRef } });
    await made(
      { apiVersion: 'storage.k8s.io/v1', plural: 'volumeattachments' },
      { metadata: { name: `attachment-${which}` }, spec: { nodeName: node } },
    );
    await made(core('serviceaccounts', 'default'), { metadata: { name: `robot-${which}` } });
    await made(core('events', 'default'), event(node, `event-${which}`));
    await made(
      { apiVersion: 'certificates.k8s.io/v1', plural: 'certificatesigningrequests' },
      { metadata: { name: `metaserver-csr-${node}` }, spec: {} },
    );
    await made(core('pods', 'default'), {
      metadata: { name: `pod-${which}` },
      spec: {
        nodeName: node,
        serviceAccountName: `robot-${which}`,
        containers: [{ name: 'c', envFrom: [{ configMapRef: { name: `config-${which}` } }] }],
        volumes: [
          { name: 's', secret: { secretName: `secret-${which}` } },
          { name: 'p', persistentVolumeClaim: { claimName: `claim-${which}` } },
        ],
      },
    });
    await made(devicesApi('devices'), {
      metadata: { name: `device-${which}` },
      spec: { nodeName: node, properties: [{ name: 'temp' }] },
    });
  }
  await api.create(core('secrets', 'default'), { metadata: { name: 'unused' } });
  await api.create(core('persistentvolumes'), { metadata: { name: 'volume-free' }, spec: {} });
}

const route = (resource: string, operation: string) => ({
  source: 'edged',
  group: 'meta',
  operation,
  resource,
});

function refusalOf({ route: { operation }, content }: Envelope): string | undefined {
  if (operation === 'error') return String(content);
  const failure = content as {
    Object?: unknown;
    Err?: { ErrStatus?: { reason?: string; message?: string } };
  };
  return failure.Err?.ErrStatus?.reason === 'Forbidden' ? failure.Err.ErrStatus.message : undefined;
}

describe.each(['hawser', 'kubeedge'] as const)('a %s edge', (session) => {
  const transport = new MemoryNetwork({ clock: systemClock, random: seededRandom(1) });
  let cloud: Cloud;
  let edge: ScriptedEdge;
  let table: readonly Case[];

  beforeAll(async () => {
    cloud = await startCloud({ transport });
    await fill(cloud);
    table = cases();
    const identity = await cloud.identity('edge-a');
    edge = await ScriptedEdge.connect({ transport, port: cloud.port, node: 'edge-a', identity, session });
    const { cache } = cloud;
    while (
      !cache.references('edge-a', 'default/secret/secret-a') ||
      cache.get('device', 'default', 'device-b') === undefined
    )
      await systemClock.sleep(5);
    await edge.until(
      () =>
        edge.down.some(({ route: { resource } }) => resource === 'default/pod/pod-a') || session === 'hawser',
    );
    // What CloudHub writes on its Node at connect is no answer to anything here.
    const annotated = async () => {
      const { metadata } = await cloud.api.get({ ...core('nodes'), name: 'edge-a' });
      return metadata.annotations?.cloudcore !== undefined;
    };
    while (!(await annotated())) await systemClock.sleep(5);
  });
  afterAll(async () => {
    await edge?.connection.close();
    await cloud?.close();
  });

  const writes = () =>
    cloud.api.calls.filter((call) =>
      /^(create|createToken|replace|patch|delete) (?!(cluster)?objectsyncs)/.test(call),
    );
  /** Kinds without an answer are followed by one with an answer: a node's messages keep their order. */
  const settled = async () => {
    const id = await edge.say(route('default/secret/unused', 'query'), null);
    await edge.answerTo(id);
  };

  test.each(cases().map(({ kind }) => kind))('%s: its own, and of no other', async (kind) => {
    const row = table.find((one) => one.kind === kind);
    if (row === undefined) throw new Error(kind);
    const operation = kind.split('/')[1] ?? '';
    for (const other of row.others) {
      const before = writes();
      const id = await edge.say(route(other.resource, operation), other.content ?? null);
      if (row.shape === 'none') await settled();
      else {
        const answer = await edge.answerTo(id);
        expect(refusalOf(answer), `${kind} ${other.resource}`).toMatch(/edge-a|may not name/);
        expect(answer.route.operation).toBe(row.shape === 'error' ? 'error' : 'response');
        expect(answer.route).toMatchObject({ group: 'resource', resource: other.resource });
        if (row.shape === 'objectResp') expect(answer.content).toMatchObject({ Object: null });
        expect(JSON.stringify(answer.content)).not.toContain('"spec"');
      }
      expect(writes().slice(before.length), `${kind} ${other.resource}`).toEqual([]);
    }
    const before = writes().length;
    const id = await edge.say(route(row.own.resource, operation), row.own.content ?? null);
    if (row.shape === 'none') {
      await settled();
      expect(writes().length).toBeGreaterThan(before);
      return;
    }
    const answer = await edge.answerTo(id);
    const exists = String(answer.content).endsWith('already exists');
    expect(exists || (answer.route.operation === 'response' && refusalOf(answer) === undefined)).toBe(true);
  });

  test('no kind is without a row here', () => {
    const handled = Object.keys({ ...nodeRows, ...podRows, ...queryRows, ...certificateRows, ...eventRows });
    expect([...table.map(({ kind }) => kind), ...forEverybody].sort()).toEqual(handled.sort());
  });

  test.each(['clusterrole', 'namespace', 'objectsync', '__proto__', 'constructor', 'pod/exec'])(
    'has no business with %s',
    async (type) => {
      const before = writes();
      for (const operation of ['query', 'insert', 'update', 'patch', 'delete']) {
        await edge.say(route(`kube-system/${type}/x`, operation), {});
      }
      await settled();
      expect(writes()).toEqual(before);
    },
  );

  test.each([
    'node/edge-b/default/podpatch/pod-b',
    'node/edge-b/kube-node-lease/lease/edge-b',
    '/',
    '//pod//',
    'a',
  ])('cannot say by the path %s that it is another', async (resource) => {
    const before = writes();
    await edge.say(route(resource, 'patch'), statusText('pod-b'));
    await edge.say(route(resource, 'update'), lease('edge-b'));
    await edge.say(route(resource, 'delete'), { preconditions: { uid: uid('pod-b') } });
    await settled();
    expect(writes()).toEqual(before);
  });

  test.each(['edgecontroller', 'devicecontroller', 'cloudhub', 'synccontroller'])(
    'cannot speak as %s of the cloud',
    async (source) => {
      const before = writes();
      await edge.say(
        { source, group: 'meta', operation: 'patch', resource: 'null/nodepatch/edge-a' },
        '{"status":{}}',
      );
      await settled();
      expect(writes()).toEqual(before);
    },
  );

  test.each([
    ['twin/edge_updated', { twin: { temp: { actual: { value: '1' }, metadata: { type: 'string' } } } }],
    ['state/update', JSON.stringify({ device: { name: 'x', state: 'online' } })],
  ])('%s: of its own devices only', async (what, content) => {
    const twin = (device: string) => ({
      source: 'twin',
      group: 'resource',
      operation: 'update',
      resource: `device/default/${device}/${what}`,
    });
    const before = writes();
    const refused = await edge.answerTo(await edge.say(twin('device-b'), content));
    expect([refused.route.operation, refused.route.group]).toEqual(['error', 'twin']);
    expect(String(refused.content)).toContain('not of this node');
    expect(writes()).toEqual(before);
    const taken = await edge.answerTo(await edge.say(twin('device-a'), content));
    expect([taken.route.operation, taken.route.group, taken.content]).toEqual(['response', 'twin', 'OK']);
    expect(writes().length).toBeGreaterThan(before.length);
  });

  test('membership/detail: it hears of its own devices only', async () => {
    const resource = 'membership/detail';
    const id = await edge.say(
      { source: 'twin', group: 'resource', operation: 'get', resource },
      '{"group_id":"edge-b"}',
    );
    await edge.answerTo(id);
    await edge.until(() => edge.down.some(({ route: { resource: at } }) => at === 'membership'));
    const memberships = JSON.stringify(
      edge.down.filter(({ route: { resource: at } }) => at === 'membership'),
    );
    expect(memberships).toContain('default/device-a');
    expect(memberships).not.toContain('device-b');
  });

  test('session/held: to hold what is another’s brings nothing of it', async () => {
    const objects = ['pod/pod-b', 'secret/secret-b', 'configmap/config-b', 'device/device-b'].map((path) => ({
      path: `default/${path}`,
      uid: uid(path.split('/')[1] ?? ''),
      resourceVersion: '1',
    }));
    await edge.say(
      { source: 'metamanager', group: 'session', operation: 'update', resource: 'session/held' },
      { epoch: null, objects },
    );
    await settled();
    await systemClock.sleep(50);
    const brought = edge.down.filter(({ route: { operation } }) => operation !== 'delete');
    expect(JSON.stringify(brought)).not.toMatch(/"name":"(pod|secret|config|device)-b"/);
  });

  test('nothing of all that has reached another’s objects', async () => {
    const { api } = cloud;
    expect((await api.get({ ...core('pods', 'default'), name: 'pod-b' })).status).toBeUndefined();
    const { metadata } = await api.get({ ...core('nodes'), name: 'edge-b' });
    expect(metadata.labels).toEqual({ 'node-role.kubernetes.io/edge': '' });
    const held = await api.get({ ...leases, name: 'edge-b' });
    expect(held.metadata.resourceVersion).toBe(uid('lease-edge-b-version'));
  });
});

describe('over TLS', () => {
  const transport = createWebSocketTransport({ clock: systemClock });
  let cloud: Cloud;
  const port = () => cloud.port;

  beforeAll(async () => {
    cloud = await startCloud({ transport });
    await fill(cloud);
  });
  afterAll(() => cloud?.close());

  test('the certificate of one node opens no connection as another, and says why', async () => {
    const identity = await cloud.identity('edge-a');
    const as = (node: string) =>
      ScriptedEdge.connect({ transport, port: port(), node, identity, session: 'kubeedge' });
    await expect(as('edge-b')).rejects.toMatchObject({
      detail: {
        code: 'refused',
        status: 403,
        body: expect.stringContaining('the certificate is of node edge-a'),
      },
    });
    const own = await as('edge-a');
    const answer = await own.answerTo(await own.say(route('default/secret/secret-b', 'query'), null));
    expect(refusalOf(answer)).toContain('no pod of node "edge-a" names secret default/secret-b');
    await own.connection.close();
  });

  test('no certificate, one of another CA, an expired one: nowhere', async () => {
    const foreign = await createTestAuthority('CN=KubeEdge');
    const own = await cloud.identity('edge-a');
    const theirs = await foreign.issue('CN=system:node:edge-a,O=system:nodes');
    const expired = await cloud.identity('edge-a', { days: 1, fromMs: Date.now() - 3 * 86_400_000 });
    const withTls = (identity?: typeof own) =>
      ScriptedEdge.connect({
        transport,
        port: port(),
        node: 'edge-a',
        session: 'hawser',
        ...(identity === undefined ? {} : { identity }),
      });
    await expect(withTls()).rejects.toMatchObject({ code: 'unreachable' });
    await expect(withTls({ ...own, cert: theirs.cert, key: theirs.key })).rejects.toMatchObject({
      code: 'unreachable',
    });
    await expect(withTls(expired)).rejects.toMatchObject({ code: 'unreachable' });
    expect((await withTls(own)).connection.peerCertificate).toBeDefined();
  });

  test('the certificate that cloudcore serves with is nobody’s to come with', async () => {
    const { ca } = await cloud.identity('edge-a');
    const cert = await readFile(join(cloud.dir, 'server.crt'), 'utf8');
    const key = await readFile(join(cloud.dir, 'server.key'), 'utf8');
    const options = { transport, port: port(), node: 'edge-a', session: 'hawser' } as const;
    const refused = ScriptedEdge.connect({ ...options, identity: { ca, cert, key } });
    await expect(refused).rejects.toMatchObject({ code: 'unreachable' });
  });
});
