/** The controllers as users meet them: over HTTPS, on a whole server. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type JsonObject, valueAt } from '../kube-object.ts';
import { RunningServer } from '../testing/running-server.ts';

let api: RunningServer;

beforeAll(async () => {
  api = await RunningServer.start();
});

afterAll(async () => {
  await api.close();
});

/** Waits for an event of a watch that begins with what is there. */
async function until(
  path: string,
  holds: (type: string, object: JsonObject) => boolean,
): Promise<JsonObject> {
  for await (const { type, object } of api.watch(`${path}?watch=1&timeoutSeconds=60`)) {
    if (holds(type, object)) return object;
  }
  throw new Error(`nothing that was waited for happened at ${path}`);
}

async function untilGone(collection: string, name: string): Promise<void> {
  const path = `${collection}?fieldSelector=metadata.name%3D${name}`;
  const list = (await api.get(path)).body;
  if ((list.items as unknown[]).length === 0) return;
  const from = valueAt(list, 'metadata', 'resourceVersion');
  for await (const { type } of api.watch(
    `${path}&watch=1&timeoutSeconds=60&resourceVersion=${String(from)}`,
  )) {
    if (type === 'DELETED') return;
  }
  throw new Error(`${path} is still there`);
}

const named = (name: string) => (type: string, object: JsonObject) =>
  type !== 'DELETED' && valueAt(object, 'metadata', 'name') === name;

const maps = '/api/v1/namespaces/default/configmaps';

async function owned(ownerName: string, name: string, more: JsonObject = {}): Promise<void> {
  const owner = (await api.get(`${maps}/${ownerName}`)).body;
  const uid = valueAt(owner, 'metadata', 'uid');
  const reference = { apiVersion: 'v1', kind: 'ConfigMap', name: ownerName, uid, ...more };
  await api.post(maps, { metadata: { name, ownerReferences: [reference] } });
}

describe('namespaces', () => {
  test('get an account and the CA, and get them back', async () => {
    await api.post('/api/v1/namespaces', { metadata: { name: 'one' } });
    const accounts = '/api/v1/namespaces/one/serviceaccounts';
    const first = await until(accounts, named('default'));
    await until('/api/v1/namespaces/one/configmaps', named('kube-root-ca.crt'));
    await api.delete(`${accounts}/default`);
    const uid = valueAt(first, 'metadata', 'uid');
    await until(
      accounts,
      (type, object) => named('default')(type, object) && valueAt(object, 'metadata', 'uid') !== uid,
    );
  });

  test('take their contents with them, and refuse new ones', async () => {
    await api.post('/api/v1/namespaces', { metadata: { name: 'two' } });
    const contents = '/api/v1/namespaces/two/configmaps';
    await api.post(contents, { metadata: { name: 'held', finalizers: ['example.com/hold'] } });
    const deleted = await api.delete('/api/v1/namespaces/two');
    expect(valueAt(deleted.body, 'status', 'phase')).toBe('Terminating');
    const refused = await api.post(contents, { metadata: { name: 'late' } });
    expect(refused.body).toMatchObject({
      code: 403,
      details: { causes: [{ reason: 'NamespaceTerminating' }] },
    });
    await until(contents, (_, object) => valueAt(object, 'metadata', 'deletionTimestamp') !== undefined);
    await api.patch(`${contents}/held`, 'merge', { metadata: { finalizers: null } });
    await untilGone('/api/v1/namespaces', 'two');
  });
});

describe('owners', () => {
  test('take their dependents with them in the background', async () => {
    await api.post(maps, { metadata: { name: 'parent' } });
    await owned('parent', 'child');
    await owned('child', 'grandchild');
    await api.delete(`${maps}/parent`);
    await untilGone(maps, 'grandchild');
    expect((await api.get(`${maps}/child`)).status).toBe(404);
  });

  test('wait for dependents that block them, in the foreground', async () => {
    await api.post(maps, { metadata: { name: 'waiting' } });
    await owned('waiting', 'blocking', { blockOwnerDeletion: true });
    await api.patch(`${maps}/blocking`, 'merge', { metadata: { finalizers: ['example.com/hold'] } });
    await api.delete(`${maps}/waiting?propagationPolicy=Foreground`);
    await until(
      maps,
      (type, object) =>
        named('blocking')(type, object) && valueAt(object, 'metadata', 'deletionTimestamp') !== undefined,
    );
    expect((await api.get(`${maps}/waiting`)).status).toBe(200);
    await api.patch(`${maps}/blocking`, 'merge', { metadata: { finalizers: null } });
    await untilGone(maps, 'waiting');
  });

  test('leave orphans behind when asked to', async () => {
    await api.post(maps, { metadata: { name: 'leaving' } });
    await owned('leaving', 'orphan');
    await api.delete(`${maps}/leaving?propagationPolicy=Orphan`);
    await untilGone(maps, 'leaving');
    const orphan = (await api.get(`${maps}/orphan`)).body;
    expect(valueAt(orphan, 'metadata', 'ownerReferences')).toBeUndefined();
  });
});

test('objects of a removed kind go with it, and the kind is served no more', async () => {
  const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  const version = (name: string, storage: boolean) => ({
    name,
    served: true,
    storage,
    schema: {
      openAPIV3Schema: {
        type: 'object',
        properties: { spec: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    },
  });
  const created = await api.post(definitions, {
    metadata: { name: 'toys.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Cluster',
      names: { plural: 'toys', kind: 'Toy' },
      versions: [version('v1', true), version('v1beta1', false)],
    },
  });
  expect(created.status).toBe(201);
  const toy = await api.post('/apis/example.com/v1/toys', {
    apiVersion: 'example.com/v1',
    kind: 'Toy',
    metadata: { name: 'bear' },
    spec: { a: 1 },
  });
  expect(toy.status).toBe(201);
  const older = (await api.get('/apis/example.com/v1beta1/toys/bear')).body;
  expect(older).toEqual({ ...toy.body, apiVersion: 'example.com/v1beta1' });
  await api.delete(`${definitions}/toys.example.com`);
  await untilGone(definitions, 'toys.example.com');
  expect((await api.get('/apis/example.com/v1/toys')).status).toBe(404);
});

test('a pod is put on a node, and told so', async () => {
  const pods = '/api/v1/namespaces/default/pods';
  await api.post(pods, { metadata: { name: 'homeless' }, spec: { containers: [{ name: 'c', image: 'i' }] } });
  const refused = await until(pods, (_, object) => JSON.stringify(object).includes('Unschedulable'));
  expect(JSON.stringify(refused)).toContain('no nodes available to schedule pods');
  await api.post('/api/v1/nodes', {
    metadata: { name: 'edge' },
    status: { conditions: [{ type: 'Ready', status: 'True' }] },
  });
  const placed = await until(pods, (_, object) => valueAt(object, 'spec', 'nodeName') === 'edge');
  expect(valueAt(placed, 'status', 'conditions')).toMatchObject([{ type: 'PodScheduled', status: 'True' }]);
  await until('/api/v1/namespaces/default/events', (_, object) => object.reason === 'Scheduled');
});
