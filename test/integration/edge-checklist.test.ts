/**
 * What a KubeEdge cloud relies on in an edge, a test each: a whole edge of ours at a cloud that the test plays frame
 * by frame. (Certificate and token: edgecore/edgehub/joining.test.ts; a dead link: edgehub.test.ts and link.test.ts.)
 */

import 'reflect-metadata';
import { Pkcs10CertificateRequest } from '@peculiar/x509';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { seededRandom } from '#beehive/random.ts';
import { newCertificateRequest } from '#edgecore/edgehub/certificate-request.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { MemoryNetwork } from '#protocol/transport/memory.ts';
import type { Connection, Listener, UpgradeRequest } from '#protocol/transport/transport.ts';
import { type Edge, givenCertificates, startEdge } from '#test/fixtures/edge.ts';

type Answer = { readonly content: unknown; readonly operation?: string };

const failure = (reason: string, code: number) => ({
  ErrStatus: { metadata: {}, status: 'Failure', reason, message: `it is ${reason}`, code },
});
const answered = (object: unknown): Answer => ({ content: { Object: object, Err: null } });
const refused = (reason: string, code: number): Answer => ({
  content: { Object: null, Err: failure(reason, code) },
});
const node = {
  kind: 'Node',
  apiVersion: 'v1',
  metadata: { name: 'edge-1', uid: 'n', resourceVersion: '5' },
  spec: {},
};

let edge: Edge;
let listener: Listener;
let connection: Connection;
let upgrade: UpgradeRequest | undefined;
let up: Envelope[];
/** By `operation type`; a missing one is not answered. */
let answers: Map<string, (asked: Envelope) => Answer | undefined>;
const watchers = new Set<() => void>();

async function start(change: (known: typeof answers) => void = () => {}): Promise<void> {
  const network = new MemoryNetwork({ clock: systemClock, random: seededRandom(1) });
  up = [];
  answers = new Map([
    ['insert node', () => answered(node)],
    ['patch nodepatch', () => answered(node)],
    ['query lease', () => refused('NotFound', 404)],
    ['insert lease', ({ content }: Envelope) => answered(content)],
    ['update lease', ({ content }: Envelope) => answered(content)],
    ['delete pod', () => ({ content: 'OK' })],
  ]);
  change(answers);
  listener = await network.listen({
    host: 'cloud',
    port: 10000,
    connectionsMax: 2,
    frameBytesMax: 1e6,
    admit: (request) => {
      upgrade = request;
      return { accept: true };
    },
  });
  const connected = accept();
  edge = await startEdge({
    nodeName: 'edge-1',
    transport: network,
    server: 'cloud:10000',
    certificates: givenCertificates({ ca: '', cert: 'c', key: '' }),
  });
  await connected;
}

async function stop(): Promise<void> {
  await edge.close();
  await listener.close();
}

beforeEach(() => start());
afterEach(stop);

async function accept(): Promise<void> {
  for await (const one of listener.connections) {
    connection = one;
    void read(one).catch(() => {
      // The link ended with the test.
    });
    return;
  }
}

async function read(one: Connection): Promise<void> {
  for await (const frame of one.frames) {
    up.push(frame);
    for (const look of watchers) look();
    const { operation, resource } = frame.route;
    const answer = answers.get(`${operation} ${resource.split('/')[1]}`)?.(frame);
    if (answer === undefined || frame.header.parent_msg_id) continue;
    const route = {
      source: 'edgecontroller',
      group: 'resource',
      operation: answer.operation ?? 'response',
      resource,
    };
    await one.send(newEnvelope(route, answer.content, { parentId: frame.header.msg_id }));
  }
}

function said(passes: (frame: Envelope) => boolean): Promise<Envelope> {
  return new Promise((resolve) => {
    const look = () => {
      const found = up.find(passes);
      if (found === undefined) return;
      watchers.delete(look);
      resolve(found);
    };
    watchers.add(look);
    look();
  });
}
const saidOf = (operation: string, resource: string) =>
  said(({ route }) => route.operation === operation && route.resource === resource);

async function push(operation: string, resource: string, content: unknown, source = 'edgecontroller') {
  const frame = newEnvelope({ source, group: 'resource', operation, resource }, content);
  await connection.send(frame);
  return frame;
}
const acked = ({ header }: Envelope) => said((frame) => frame.header.parent_msg_id === header.msg_id);

const pod = (name: string, spec: object = {}, meta: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default', uid: `${name}-uid`, resourceVersion: '7', ...meta },
  spec: { nodeName: 'edge-1', containers: [{ name: 'main', image: 'i', command: ['run'] }], ...spec },
});
const running = async () =>
  (await edge.runtime.listContainers()).filter(({ state }) => state === 'running').length;

test('the upgrade: the three headers, and the path', () => {
  expect(upgrade?.headers).toMatchObject({ node_id: 'edge-1', project_id: 'project', connectionuse: 'msg' });
  expect(upgrade?.path).toBe('/project/edge-1/events');
});

test('the certificate request: CN system:node:<node>, O system:nodes', async () => {
  const { request } = await newCertificateRequest('edge-1');
  const { subject } = new Pkcs10CertificateRequest(Uint8Array.from(request));
  expect(subject).toBe('O=system:nodes, CN=system:node:edge-1');
});

test('the first frame is a keepalive, and sync and type are never set', async () => {
  await saidOf('insert', 'null/node/edge-1');
  expect(up[0]).toMatchObject({
    route: { source: 'websocket', operation: 'keepalive', resource: 'node' },
    content: 'ping',
  });
  for (const { header, route } of up) {
    expect(header, route.resource).not.toHaveProperty('sync');
    expect(header, route.resource).not.toHaveProperty('type');
  }
});

test('the node says that it is an edge', async () => {
  const { content } = await saidOf('insert', 'null/node/edge-1');
  expect(content).toMatchObject({ metadata: { labels: { 'node-role.kubernetes.io/edge': '' } } });
});

test.each([
  ['insert', 'default/pod/a', pod('a')],
  [
    'update',
    'default/configmap/c',
    { kind: 'ConfigMap', apiVersion: 'v1', metadata: { name: 'c', namespace: 'default' } },
  ],
  [
    'update',
    'default/secret/s',
    { kind: 'Secret', apiVersion: 'v1', metadata: { name: 's', namespace: 'default' } },
  ],
  ['update', 'null/node/edge-1', node],
  [
    'update',
    'null/persistentvolume/v',
    { kind: 'PersistentVolume', apiVersion: 'v1', metadata: { name: 'v' } },
  ],
  [
    'insert',
    'default/devicemodel/m',
    { kind: 'DeviceModel', metadata: { name: 'm', namespace: 'default' }, spec: {} },
  ],
  ['insert', 'default/device/d', { kind: 'Device', metadata: { name: 'd', namespace: 'default' }, spec: {} }],
  ['insert', 'default/serviceaccountaccess/x', { metadata: { name: 'x', namespace: 'default' } }],
  ['insert', 'default/endpointslice/e', { metadata: { name: 'e', namespace: 'default' } }],
  ['delete', 'default/pod/never-seen', { metadata: { name: 'never-seen', namespace: 'default', uid: 'x' } }],
  [
    'delete',
    'default/configmap/never-seen',
    { metadata: { name: 'never-seen', namespace: 'default', uid: 'x' } },
  ],
])('an acknowledgement for %s %s, and again for the same id', async (operation, resource, content) => {
  const frame = await push(operation, resource, content);
  expect(await acked(frame)).toMatchObject({
    route: { source: 'edgecontroller', group: 'resource', operation: 'response', resource },
    content: 'OK',
  });
  up.length = 0;
  await connection.send(frame);
  expect((await acked(frame)).content).toBe('OK');
});

test('update means upsert: a pod comes first as an update', async () => {
  await acked(await push('update', 'default/pod/web', pod('web')));
  await expect.poll(running).toBe(1);
});

test('a delete by skeleton is by uid: the pod of another uid stays, the right one goes', async () => {
  await acked(await push('update', 'default/pod/web', pod('web')));
  await expect.poll(running).toBe(1);
  const skeleton = (uid: string) => ({ metadata: { name: 'web', namespace: 'default', uid } });
  await acked(await push('delete', 'default/pod/web', skeleton('an-older-one')));
  await systemClock.sleep(50);
  expect(await running()).toBe(1);
  await acked(await push('delete', 'default/pod/web', skeleton('web-uid')));
  await expect.poll(running).toBe(0);
});

test('patches are text; that of a pod carries its uid', async () => {
  await push('update', 'default/pod/web', pod('web'));
  const ofPod = await saidOf('patch', 'default/podpatch/web');
  expect(JSON.parse(String(ofPod.content))).toMatchObject({ metadata: { uid: 'web-uid' }, status: {} });
  const ofNode = await saidOf('patch', 'null/nodepatch/edge-1');
  expect(JSON.parse(String(ofNode.content))).toHaveProperty('status');
});

test('the end of a pod is DeleteOptions with its uid', async () => {
  answers.set('patch podpatch', () => answered(pod('web')));
  await push('update', 'default/pod/web', pod('web', { terminationGracePeriodSeconds: 1 }));
  await expect.poll(running).toBe(1);
  const meta = {
    deletionTimestamp: new Date().toISOString(),
    deletionGracePeriodSeconds: 1,
    resourceVersion: '8',
  };
  answers.set('patch podpatch', () => answered(pod('web', {}, meta)));
  await push('update', 'default/pod/web', pod('web', { terminationGracePeriodSeconds: 1 }, meta));
  const { content } = await saidOf('delete', 'default/pod/web');
  expect(content).toEqual({ gracePeriodSeconds: 0, preconditions: { uid: 'web-uid' } });
});

test.each([
  ['{"ErrStatus"}', { content: failure('Forbidden', 403) }],
  ['{}', { content: {} }],
  ['an error text', { content: 'no such configMap', operation: 'error' }],
  ['an error with a null object', refused('NotFound', 404)],
  ['"OK"', { content: 'OK' }],
  ['null', { content: null }],
])('%s is no configMap: it is not stored, the pod waits, and asks again', async (_, wrong: Answer) => {
  let asked = 0;
  const object = {
    kind: 'ConfigMap',
    apiVersion: 'v1',
    metadata: { name: 'c', namespace: 'default', uid: 'c' },
    data: { k: 'v' },
  };
  answers.set('query configmap', () => {
    asked += 1;
    return asked === 1 ? wrong : { content: object };
  });
  const envFrom = [{ configMapRef: { name: 'c' } }];
  const containers = [{ name: 'main', image: 'i', command: ['run'], envFrom }];
  await push('update', 'default/pod/web', pod('web', { containers }));
  await saidOf('query', 'default/configmap/c');
  await expect.poll(running, { interval: 50 }).toBe(1);
  expect(asked).toBe(2);
  await said(
    ({ route, content, header }) =>
      Boolean(header.parent_msg_id) && route.resource === 'default/configmap/c' && content === 'OK',
  );
});

test('a node that exists already: the edge goes on once the cloud has pushed it', async () => {
  await stop();
  await start((known) => known.set('insert node', () => refused('AlreadyExists', 409)));
  await saidOf('insert', 'null/node/edge-1');
  await push('update', 'null/node/edge-1', node);
  const { content } = await saidOf('insert', 'kube-node-lease/lease/edge-1');
  expect(content).toMatchObject({
    metadata: { ownerReferences: [{ kind: 'Node', name: 'edge-1', uid: 'n' }] },
  });
  await saidOf('patch', 'null/nodepatch/edge-1');
});
