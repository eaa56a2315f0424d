/** The REST API over real HTTPS. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { valueAt } from '../kube-object.ts';
import { configMap, configMaps, pod, pods } from '../testing/objects.ts';
import { RunningServer } from '../testing/running-server.ts';

let api: RunningServer;

beforeAll(async () => {
  api = await RunningServer.start();
});

afterAll(async () => {
  await api.close();
});

describe('objects', () => {
  test('create, get, update, delete', async () => {
    const created = await api.post(configMaps, configMap('crud', { a: '1' }));
    expect(created.status).toBe(201);
    expect(created.body.metadata).toMatchObject({
      name: 'crud',
      namespace: 'default',
      uid: expect.any(String),
    });
    expect((await api.get(`${configMaps}/crud`)).body).toEqual(created.body);

    const changed = await api.put(`${configMaps}/crud`, { ...created.body, data: { a: '2' } });
    expect(changed.body.data).toEqual({ a: '2' });
    const stale = await api.put(`${configMaps}/crud`, { ...created.body, data: { a: '3' } });
    expect(stale.status).toBe(409);
    expect(stale.body).toMatchObject({
      kind: 'Status',
      reason: 'Conflict',
      code: 409,
      message:
        'Operation cannot be fulfilled on configmaps "crud": the object has been modified; please apply your changes to the latest version and try again',
    });

    const deleted = await api.delete(`${configMaps}/crud`);
    expect(deleted.body).toMatchObject({ status: 'Success', details: { name: 'crud', kind: 'configmaps' } });
    const gone = await api.get(`${configMaps}/crud`);
    expect(gone.body).toEqual({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: 'configmaps "crud" not found',
      reason: 'NotFound',
      details: { name: 'crud', kind: 'configmaps' },
      code: 404,
    });
  });

  test('a write that changes nothing writes nothing', async () => {
    const { body } = await api.post(configMaps, configMap('same', { a: '1' }));
    const again = await api.patch(`${configMaps}/same`, 'merge', { data: { a: '1' } });
    expect(valueAt(again.body, 'metadata', 'resourceVersion')).toBe(
      valueAt(body, 'metadata', 'resourceVersion'),
    );
  });

  test('names: twice, generated, wrong, in another namespace', async () => {
    await api.post(configMaps, configMap('twice'));
    expect((await api.post(configMaps, configMap('twice'))).body.reason).toBe('AlreadyExists');
    const generated = await api.post(configMaps, { metadata: { generateName: 'made-' } });
    expect(valueAt(generated.body, 'metadata', 'name')).toMatch(/^made-[a-z0-9]{5}$/);
    const wrong = await api.post(configMaps, configMap('Not_a_name'));
    expect(wrong.status).toBe(422);
    expect(valueAt(wrong.body, 'details', 'causes')).toMatchObject([{ field: 'metadata.name' }]);
    const elsewhere = { ...configMap('x'), metadata: { name: 'x', namespace: 'kube-system' } };
    expect((await api.post(configMaps, elsewhere)).status).toBe(400);
    const missing = await api.post('/api/v1/namespaces/nowhere/configmaps', configMap('x'));
    expect(missing.body.message).toBe('namespaces "nowhere" not found');
  });

  test('dry run shows what would be', async () => {
    const tried = await api.post(`${configMaps}?dryRun=All`, configMap('tried'));
    expect(tried.status).toBe(201);
    expect((await api.get(`${configMaps}/tried`)).status).toBe(404);
    expect((await api.post(`${configMaps}?dryRun=Some`, configMap('tried'))).status).toBe(400);
  });

  test('preconditions of a delete', async () => {
    await api.post(configMaps, configMap('guarded'));
    const refused = await api.delete(`${configMaps}/guarded`, {
      body: { preconditions: { uid: 'another' } },
    });
    expect(refused.status).toBe(409);
    expect((await api.delete(`${configMaps}/guarded`)).status).toBe(200);
  });

  test('finalizers hold an object until they are gone', async () => {
    await api.post(configMaps, { metadata: { name: 'held', finalizers: ['example.com/hold'] } });
    const marked = await api.delete(`${configMaps}/held`);
    expect(valueAt(marked.body, 'metadata', 'deletionTimestamp')).toEqual(expect.any(String));
    const added = await api.patch(`${configMaps}/held`, 'merge', {
      metadata: { finalizers: ['example.com/hold', 'a.b/c'] },
    });
    expect(added.status).toBe(422);
    await api.patch(`${configMaps}/held`, 'merge', { metadata: { finalizers: null } });
    expect((await api.get(`${configMaps}/held`)).status).toBe(404);
  });

  test('patches: JSON, merge, strategic', async () => {
    await api.post(pods, pod('patched', { nodeName: 'nowhere' }));
    const merged = await api.patch(`${pods}/patched`, 'merge', { metadata: { labels: { a: 'b' } } });
    expect(valueAt(merged.body, 'metadata', 'labels')).toEqual({ a: 'b' });
    const strategic = await api.patch(`${pods}/patched`, 'strategic', {
      spec: { containers: [{ name: 'main', image: 'busybox:2' }] },
    });
    expect(valueAt(strategic.body, 'spec', 'containers')).toMatchObject([
      { name: 'main', image: 'busybox:2' },
    ]);
    const failed = await api.patch(`${pods}/patched`, 'json', [
      { op: 'test', path: '/metadata/name', value: 'other' },
    ]);
    expect(failed.status).toBe(422);
    const unknown = await api.call('PATCH', `${pods}/patched`, {
      body: {},
      headers: { 'content-type': 'text/plain' },
    });
    expect(unknown.status).toBe(415);
  });

  test('server-side apply creates, and minds other managers', async () => {
    const path = `${configMaps}/applied?fieldManager=one`;
    expect((await api.patch(path, 'apply', 'metadata: {name: applied}\ndata: {a: "1"}')).status).toBe(201);
    const other = await api.patch(`${configMaps}/applied?fieldManager=two`, 'apply', { data: { a: '2' } });
    expect(other.body).toMatchObject({
      reason: 'Conflict',
      details: { causes: [{ reason: 'FieldManagerConflict' }] },
    });
    expect((await api.patch(path, 'apply', { data: {} })).body.data ?? {}).toEqual({});
    expect((await api.patch(`${configMaps}/applied`, 'apply', {})).status).toBe(400);
  });
});

describe('pods', () => {
  test('have defaults, and run nowhere until bound', async () => {
    const { body } = await api.post(pods, pod('defaults'));
    expect(body.spec).toMatchObject({
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      dnsPolicy: 'ClusterFirst',
      serviceAccountName: 'default',
      schedulerName: 'default-scheduler',
      containers: [{ imagePullPolicy: 'Always' }],
    });
    expect(body.status).toMatchObject({ phase: 'Pending' });
    const bound = await api.post(`${pods}/defaults/binding`, { target: { kind: 'Node', name: 'edge' } });
    expect(bound.status).toBe(201);
    expect(valueAt((await api.get(`${pods}/defaults`)).body, 'spec', 'nodeName')).toBe('edge');
    expect((await api.post(`${pods}/defaults/binding`, { target: { name: 'other' } })).status).toBe(409);
  });

  test('say what is wrong with them', async () => {
    const { status, body } = await api.post(
      pods,
      pod('bad', { containers: [{ name: 'A' }], restartPolicy: 'Maybe' }),
    );
    expect(status).toBe(422);
    const causes = valueAt(body, 'details', 'causes');
    expect(causes).toMatchObject([
      { field: 'spec.restartPolicy', reason: 'FieldValueNotSupported' },
      { field: 'spec.containers[0].name' },
      { field: 'spec.containers[0].image', reason: 'FieldValueRequired' },
    ]);
  });

  test('say the first hundred of the things that are wrong, and how many more there are', async () => {
    const { body } = await api.post(
      pods,
      pod('bad', { containers: Array.from({ length: 1_000 }, () => ({})) }),
    );
    expect(valueAt(body, 'details', 'causes')).toHaveLength(100);
    expect(body.message).toMatch(/and 1900 more\]$/);
  });

  test('tolerations may be added, and for how long may change; none goes', async () => {
    const [a, b] = [
      { key: 'a', operator: 'Exists' },
      { key: 'b', operator: 'Exists' },
    ];
    const limited = { key: 'x', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 5 };
    await api.post(pods, pod('tolerant', { tolerations: [a, limited] }));
    const patched = async (...tolerations: object[]) =>
      (await api.patch(`${pods}/tolerant`, 'merge', { spec: { tolerations } })).status;
    expect(await patched(b, a, limited)).toBe(200);
    expect(await patched(b, a, { ...limited, tolerationSeconds: 9 })).toBe(200);
    expect(await patched(a, limited)).toBe(422);
  });

  test('stop gracefully on their node, with the grace they are given', async () => {
    await api.post(pods, pod('graceful', { nodeName: 'edge', terminationGracePeriodSeconds: 7 }));
    const first = await api.delete(`${pods}/graceful`);
    expect(first.body.metadata).toMatchObject({
      deletionGracePeriodSeconds: 7,
      deletionTimestamp: expect.any(String),
    });
    const shorter = await api.delete(`${pods}/graceful`, { body: { gracePeriodSeconds: 2 } });
    expect(shorter.body.metadata).toMatchObject({ deletionGracePeriodSeconds: 2 });
    await api.delete(`${pods}/graceful?gracePeriodSeconds=0`);
    expect((await api.get(`${pods}/graceful`)).status).toBe(404);
  });

  test('status and spec change through their own doors', async () => {
    const { body } = await api.post(pods, pod('doors', { nodeName: 'edge' }));
    const path = `${pods}/doors`;
    await api.put(path, { ...body, status: { phase: 'Running' } });
    expect(valueAt((await api.get(path)).body, 'status', 'phase')).toBe('Pending');
    await api.patch(`${path}/status`, 'merge', { status: { phase: 'Running' }, spec: { nodeName: 'other' } });
    const after = (await api.get(path)).body;
    expect(valueAt(after, 'status', 'phase')).toBe('Running');
    expect(valueAt(after, 'spec', 'nodeName')).toBe('edge');
  });

  test('eviction deletes, streams are refused clearly', async () => {
    await api.post(pods, pod('evicted'));
    expect((await api.get(`${pods}/evicted/log`)).body).toMatchObject({
      reason: 'NotImplemented',
      code: 501,
    });
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'evicted' } };
    expect((await api.post(`${pods}/evicted/eviction`, eviction)).status).toBe(201);
    expect((await api.get(`${pods}/evicted`)).status).toBe(404);
  });
});

describe('field validation', () => {
  const misspelt = pod('misspelt', { restartPolcy: 'Never' });

  test('Strict refuses, Warn warns, Ignore is silent; the field goes', async () => {
    const strict = await api.post(`${pods}?fieldValidation=Strict`, misspelt);
    expect(strict.status).toBe(400);
    expect(strict.body.message).toContain('strict decoding error: unknown field "spec.restartPolcy"');
    const warned = await api.post(`${pods}?dryRun=All`, misspelt);
    expect(warned.headers.warning).toBe('299 - "unknown field \\"spec.restartPolcy\\""');
    expect(valueAt(warned.body, 'spec', 'restartPolcy')).toBeUndefined();
    const silent = await api.post(`${pods}?dryRun=All&fieldValidation=Ignore`, misspelt);
    expect(silent.headers.warning).toBeUndefined();
  });

  test('a wrong type is refused', async () => {
    const { status, body } = await api.post(pods, pod('typed', { hostNetwork: 'yes' }));
    expect(status).toBe(400);
    expect(body.message).toContain('spec.hostNetwork of type bool');
  });
});

describe('lists', () => {
  test('select by label and field', async () => {
    await api.post(configMaps, configMap('red', {}, { color: 'red' }));
    await api.post(configMaps, configMap('blue', {}, { color: 'blue' }));
    const names = async (query: string) =>
      ((await api.get(`${configMaps}?${query}`)).body.items as { metadata: { name: string } }[]).map(
        (i) => i.metadata.name,
      );
    expect(await names('labelSelector=color%3Dred')).toEqual(['red']);
    expect(await names('labelSelector=color%20in%20(red,blue)')).toEqual(['blue', 'red']);
    expect(await names('fieldSelector=metadata.name%3Dblue')).toEqual(['blue']);
    expect((await api.get(`${configMaps}?fieldSelector=data%3Dx`)).status).toBe(400);
  });

  test('pages stay at the revision of the first', async () => {
    const path = '/api/v1/namespaces/kube-public/configmaps';
    for (const name of ['p1', 'p2', 'p3', 'p4']) await api.post(path, configMap(name));
    const query = 'labelSelector=!absent&limit=2';
    const first = (await api.get(`${path}?${query}`)).body;
    await api.delete(`${path}/p2`);
    await api.post(path, configMap('p25'));
    const names: string[] = (first.items as { metadata: { name: string } }[]).map(
      (item) => item.metadata.name,
    );
    let token = valueAt(first, 'metadata', 'continue');
    while (typeof token === 'string') {
      const page = (await api.get(`${path}?${query}&continue=${token}`)).body;
      names.push(...(page.items as { metadata: { name: string } }[]).map((item) => item.metadata.name));
      expect(valueAt(page, 'metadata', 'resourceVersion')).toBe(
        valueAt(first, 'metadata', 'resourceVersion'),
      );
      token = valueAt(page, 'metadata', 'continue');
    }
    expect(names).toEqual(['kube-root-ca.crt', 'p1', 'p2', 'p3', 'p4']);
    expect((await api.get(`${path}?continue=nonsense`)).status).toBe(400);
  });

  test('as Table and as metadata', async () => {
    const table = await api.get(configMaps, {
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    expect(table.body.kind).toBe('Table');
    const accept = 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io';
    const partial = await api.get(configMaps, { headers: { accept } });
    expect(partial.body.kind).toBe('PartialObjectMetadataList');
    expect(JSON.stringify(partial.body)).not.toContain('"data"');
    expect((await api.get(configMaps, { headers: { accept: 'text/html' } })).status).toBe(406);
  });

  test('a collection is deleted by selector', async () => {
    await api.post(configMaps, configMap('sweep-1', {}, { sweep: 'yes' }));
    await api.post(configMaps, configMap('sweep-2', {}, { sweep: 'yes' }));
    expect((await api.delete(`${configMaps}?labelSelector=sweep`)).status).toBe(200);
    expect((await api.get(`${configMaps}?labelSelector=sweep`)).body.items).toEqual([]);
  });
});

describe('watches', () => {
  test('follow from a revision, and through a selector', async () => {
    const start = valueAt((await api.get(configMaps)).body, 'metadata', 'resourceVersion');
    const seen: string[] = [];
    const following = (async () => {
      const path = `${configMaps}?watch=1&resourceVersion=${String(start)}&labelSelector=follow%3Dyes`;
      for await (const { type, object } of api.watch(path)) {
        seen.push(`${type} ${String(valueAt(object, 'metadata', 'name'))}`);
        if (seen.length === 4) break;
      }
    })();
    await api.post(configMaps, configMap('f1', {}, { follow: 'yes' }));
    await api.post(configMaps, configMap('f2'));
    await api.patch(`${configMaps}/f1`, 'merge', { data: { a: 'b' } });
    await api.patch(`${configMaps}/f1`, 'merge', { metadata: { labels: { follow: 'no' } } });
    await api.patch(`${configMaps}/f2`, 'merge', { metadata: { labels: { follow: 'yes' } } });
    await following;
    expect(seen).toEqual(['ADDED f1', 'MODIFIED f1', 'DELETED f1', 'ADDED f2']);
  });

  test('begin with what is there, and mark its end', async () => {
    const path = `${configMaps}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1`;
    const types: string[] = [];
    for await (const { type, object } of api.watch(path)) {
      types.push(type);
      if (type === 'BOOKMARK') {
        expect(valueAt(object, 'metadata', 'annotations')).toEqual({ 'k8s.io/initial-events-end': 'true' });
      }
    }
    expect(types.at(-1)).toBe('BOOKMARK');
    expect(new Set(types.slice(0, -1))).toEqual(new Set(['ADDED']));
  });

  test('a revision that was never given out is expired', async () => {
    for await (const { type, object } of api.watch(`${configMaps}?watch=1&resourceVersion=999999999`)) {
      expect(type).toBe('ERROR');
      expect(object).toMatchObject({ kind: 'Status', code: 410, reason: 'Expired' });
    }
  });
});

test('events of both groups are one', async () => {
  const event = {
    metadata: { name: 'e' },
    eventTime: '2026-01-01T00:00:00.000000Z',
    reportingController: 'c',
    regarding: { kind: 'Pod', name: 'p', namespace: 'default' },
    reason: 'R',
    note: 'what happened',
    type: 'Normal',
  };
  expect((await api.post('/apis/events.k8s.io/v1/namespaces/default/events', event)).status).toBe(201);
  const core = await api.get(
    '/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp,reason%3DR',
  );
  expect(core.body.items).toMatchObject([
    { message: 'what happened', involvedObject: { name: 'p' }, apiVersion: 'v1' },
  ]);
});

test('a restart keeps everything, and goes on counting', async () => {
  const first = await RunningServer.start();
  const { body } = await first.post(configMaps, configMap('kept', { a: '1' }));
  await first.stop();
  const second = await RunningServer.start(undefined, first.dataDir);
  expect((await second.get(`${configMaps}/kept`)).body).toEqual(body);
  const next = await second.post(configMaps, configMap('next'));
  const version = (object: unknown) => Number(valueAt(object, 'metadata', 'resourceVersion'));
  expect(version(next.body)).toBeGreaterThan(version(body));
  await second.close();
});
