import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Envelope, newEnvelope, reply, replyError } from '#protocol/message.ts';
import { type Cloud, object, offline, pod, TestRigs, tokenAnswer, tokenRequest } from './test-rig.ts';

let rigs: TestRigs;
beforeEach(() => {
  rigs = new TestRigs();
});
afterEach(() => rigs.end());
const start = (cloud: Cloud, edgedCapacity?: number) => rigs.start(cloud, edgedCapacity);

describe('objects from the cloud', () => {
  test('are stored, then forwarded as they came, then acknowledged', async () => {
    const rig = start(offline);
    const forwarded = rig.next('edged');
    const ack = await rig.down('update', 'default/pod/web', pod('u1', '5'));
    expect(ack.route).toEqual({
      source: 'edgecontroller',
      group: 'resource',
      operation: 'response',
      resource: 'default/pod/web',
    });
    expect(ack.content).toBe('OK');
    expect((await forwarded).content).toEqual(pod('u1', '5'));
    expect(rig.meta.read((rows) => rows.get('default/pod/web'))).toMatchObject({
      uid: 'u1',
      resourceVersion: '5',
    });
  });

  test('devices go to the twin module under the source meta', async () => {
    const rig = start(offline);
    const forwarded = rig.next('twin');
    await rig.down('insert', 'default/device/t', object('default/device/t', 'd1', '1'));
    expect((await forwarded).route).toEqual({
      source: 'meta',
      group: 'twin',
      operation: 'insert',
      resource: 'default/device/t',
    });
  });

  test('an older version within one connection changes nothing, but is acknowledged', async () => {
    const rig = start(offline);
    await rig.down('update', 'default/pod/web', pod('u1', '10'));
    await rig.down('update', 'default/pod/web', pod('u1', '9'));
    expect(rig.got.edged).toHaveLength(1);
    expect(rig.meta.read((rows) => rows.get('default/pod/web'))?.resourceVersion).toBe('10');
  });

  test('an older version on a new connection is taken: the API may come from a backup', async () => {
    const rig = start(offline);
    await rig.down('update', 'default/pod/web', pod('u1', '10'));
    const news = { source: 'edgehub', group: 'resource', operation: 'connect', resource: 'node/connection' };
    rig.bus.send('metamanager', newEnvelope(news, 'cloud_connected'));
    await rig.down('update', 'default/pod/web', pod('u1', '9'));
    expect(rig.meta.read((rows) => rows.get('default/pod/web'))?.resourceVersion).toBe('9');
  });

  test('a delete of an earlier uid leaves the pod of today alone', async () => {
    const rig = start(offline);
    await rig.down('update', 'default/pod/web', pod('u2', '10'));
    await rig.down('delete', 'default/pod/web', {
      metadata: { name: 'web', namespace: 'default', uid: 'u1' },
    });
    await rig.down('delete', 'default/pod/web', { metadata: { name: 'web', namespace: 'default' } });
    expect(rig.got.edged).toHaveLength(1);
    expect(rig.meta.read((rows) => rows.get('default/pod/web'))?.uid).toBe('u2');
  });

  test('a delete by skeleton removes the row and its tokens, and reaches edged', async () => {
    const rig = start((up) => (up.route.operation === 'query' ? reply(up, tokenAnswer(3600)) : undefined));
    await rig.down('update', 'default/pod/web', pod('u1', '10'));
    await rig.ask('query', 'default/serviceaccounttoken/default', tokenRequest('u1'));
    const forwarded = rig.next('edged');
    await rig.down('delete', 'default/pod/web', {
      metadata: { name: 'web', namespace: 'default', uid: 'u1' },
    });
    expect((await forwarded).route.operation).toBe('delete');
    expect(rig.store.read((sql) => sql.all('SELECT key FROM meta'))).toEqual([]);
  });

  test.each([
    ['no object', 'text'],
    ['another name', { metadata: { name: 'other', namespace: 'default' } }],
    ['another namespace', { metadata: { name: 'web', namespace: 'elsewhere' } }],
    ['a prototype', JSON.parse('{"__proto__":{"metadata":{"name":"web"}},"constructor":{}}')],
  ])('content that is %s is refused and not stored', async (_, content) => {
    const rig = start(offline);
    const answer = await rig.down('update', 'default/pod/web', content);
    expect(answer.route.operation).toBe('error');
    expect(rig.store.read((sql) => sql.all('SELECT key FROM meta'))).toEqual([]);
  });

  test('a full edged leaves the message unacknowledged; the resend is acknowledged', async () => {
    const rig = start(offline, 0);
    const route = {
      source: 'edgecontroller',
      group: 'resource',
      operation: 'update',
      resource: 'default/pod/web',
    };
    rig.bus.send('metamanager', newEnvelope(route, pod('u1', '1')));
    const other = await rig.down('update', 'default/other/x', object('default/other/x', 'x', '1'));
    expect(other.content).toBe('OK');
    expect(rig.got.edgehub).toHaveLength(1);
  });
});

describe('requests of edged', () => {
  test('lists what is stored, with no cloud at all, also after a restart', async () => {
    const first = start(offline);
    await first.down('update', 'default/pod/web', pod('u1', '1'));
    await first.down('update', 'default/pod/web-2', object('default/pod/web-2', 'u2', '1'));
    await first.down('update', 'other/pod/x', object('other/pod/x', 'u3', '1'));
    await first.stop();
    const second = start(offline);
    const all = await second.ask('query', 'null/pod');
    expect(all.content).toMatchObject([
      { metadata: { uid: 'u1' } },
      { metadata: { uid: 'u2' } },
      { metadata: { uid: 'u3' } },
    ]);
    const some = await second.ask('query', 'default/pod');
    expect(some.content).toHaveLength(2);
    const one = await second.ask('query', 'default/pod/web');
    expect(one.content).toEqual(pod('u1', '1'));
    const none = await second.ask('query', 'default/pod/nothing');
    expect([none.route.operation, none.content]).toEqual([
      'error',
      'default/pod/nothing is not stored at this edge',
    ]);
  });

  test('a configMap is fetched once, stored, acknowledged, and later answered offline', async () => {
    let online = true;
    const map = object('default/configmap/c', 'c1', '7', {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      data: { a: '1' },
    });
    const answers: string[] = [];
    const rig = start((up) => {
      if (!online) return offline(up);
      if (up.route.operation !== 'query') return undefined;
      const answer = reply(up, map, { source: 'edgecontroller', group: 'resource' });
      answers.push(answer.header.msg_id);
      return answer;
    });
    const both = await Promise.all([
      rig.ask('query', 'default/configmap/c'),
      rig.ask('query', 'default/configmap/c'),
    ]);
    expect(both.map((answer) => answer.content)).toEqual([map, map]);
    expect(answers).toHaveLength(1);
    const ack = rig.got.edgehub.find((up) => up.header.parent_msg_id === answers[0]);
    expect([ack?.content, ack?.route.group]).toEqual(['OK', 'resource']);
    online = false;
    expect((await rig.ask('query', 'default/configmap/c')).content).toEqual(map);
    const missing = await rig.ask('query', 'default/configmap/d');
    expect(missing.content).toBe(
      'default/configmap/d is not stored at this edge and the cloud did not give it: not connected to the cloud',
    );
  });

  test.each([
    ['default/secret/s', 'Secret'],
    ['default/persistentvolumeclaim/data', 'PersistentVolumeClaim'],
    ['null/persistentvolume/v', 'PersistentVolume'],
    ['default/volumeattachment/a', 'VolumeAttachment'],
  ])('%s: fetched, stored, acknowledged; later changed and removed by the cloud', async (resource, kind) => {
    let online = true;
    const first = object(resource, 'u1', '7', { kind, spec: { a: 1 } });
    const rig = start((up) => {
      if (!online) return offline(up);
      return up.route.operation === 'query'
        ? reply(up, first, { source: 'edgecontroller', group: 'resource' })
        : undefined;
    });
    expect((await rig.ask('query', resource)).content).toEqual(first);
    expect(rig.got.edgehub.filter(({ content }) => content === 'OK')).toHaveLength(1);
    online = false;
    expect((await rig.ask('query', resource)).content).toEqual(first);
    const second = object(resource, 'u1', '8', { kind, spec: { a: 2 } });
    await rig.down('update', resource, second);
    expect((await rig.ask('query', resource)).content).toEqual(second);
    await rig.down('delete', resource, second);
    expect((await rig.ask('query', resource)).route.operation).toBe('error');
  });

  test.each([
    ['an error', (up: Envelope) => replyError(up, 'configmaps "c" not found')],
    ['a Status', (up: Envelope) => reply(up, { ErrStatus: { message: 'not found', code: 404 } })],
    ['nothing', (up: Envelope) => reply(up, {})],
    ['another object', (up: Envelope) => reply(up, object('default/configmap/z', 'z', '1'))],
  ])('an answer that is %s is told and not stored', async (_, answer) => {
    const rig = start((up) => (up.route.operation === 'query' ? answer(up) : undefined));
    expect((await rig.ask('query', 'default/configmap/c')).route.operation).toBe('error');
    expect(rig.store.read((sql) => sql.all('SELECT key FROM meta'))).toEqual([]);
  });

  test('a cloud that does not answer: an error after the time of the config', async () => {
    const rig = start(() => undefined);
    const asked = rig.next('edgehub');
    const answer = rig.ask('query', 'default/secret/s');
    await asked;
    await rig.clock.advance(60_000);
    expect((await answer).content).toMatch(/did not answer within 60000 ms/);
  });

  test('a question that was open when the link went fails at once', async () => {
    const rig = start(() => undefined);
    const asked = rig.next('edgehub');
    const answer = rig.ask('query', 'default/secret/s');
    await asked;
    const news = { source: 'edgehub', group: 'resource', operation: 'connect', resource: 'node/connection' };
    rig.bus.send('metamanager', newEnvelope(news, 'cloud_disconnected'));
    expect((await answer).content).toMatch(/the connection to the cloud was lost/);
  });

  test('a status patch goes to the cloud, and its answer renews the stored pod', async () => {
    const fresh = pod('u1', '11', { status: { phase: 'Running' } });
    const rig = start((up) =>
      up.route.operation === 'patch'
        ? reply(
            up,
            { Object: { metadata: fresh.metadata, status: { phase: 'Running' } }, Err: null },
            { source: 'edgecontroller', group: 'resource' },
          )
        : undefined,
    );
    await rig.down('update', 'default/pod/web', pod('u1', '10'));
    const answer = await rig.ask('patch', 'default/podpatch/web', '{"metadata":{"uid":"u1"}}');
    expect(answer.content).toMatchObject({ Object: { metadata: { resourceVersion: '11' } } });
    expect(rig.meta.read((rows) => rows.get('default/pod/web'))).toMatchObject({
      resourceVersion: '11',
      value: { apiVersion: 'v1', kind: 'Pod', status: { phase: 'Running' } },
    });
    await rig.down('update', 'default/pod/web', pod('u1', '10'));
    expect(rig.meta.read((rows) => rows.get('default/pod/web'))?.resourceVersion).toBe('11');
  });

  test('an answer that names a version only is told whole, and stored, from what is here', async () => {
    const rig = start((up) => {
      if (up.route.operation !== 'patch') return undefined;
      const { name, namespace, uid } = pod('u1', '').metadata;
      const answer = reply(up, {
        Object: { metadata: { name, namespace, uid, resourceVersion: '12' } },
        Err: null,
      });
      answer.header.hawserSince = '10';
      return answer;
    });
    const patch = JSON.stringify({ metadata: { uid: 'u1' }, status: { phase: 'Running' } });
    const row = () => rig.meta.read((rows) => rows.get('default/pod/web'));

    await rig.down('update', 'default/pod/web', pod('u1', '9', { spec: { nodeName: 'edge-1' } }));
    const early = await rig.ask('patch', 'default/podpatch/web', patch);
    expect(early.content).toMatchObject({ Object: { metadata: { resourceVersion: '12' } } });
    expect(row()).toMatchObject({ resourceVersion: '9' });

    await rig.down('update', 'default/pod/web', pod('u1', '10', { spec: { nodeName: 'edge-1' } }));
    const answer = await rig.ask('patch', 'default/podpatch/web', patch);
    const whole = {
      kind: 'Pod',
      metadata: { name: 'web', resourceVersion: '12' },
      spec: { nodeName: 'edge-1' },
      status: { phase: 'Running' },
    };
    expect(answer.content).toMatchObject({ Object: whole, Err: null });
    expect(row()).toMatchObject({ resourceVersion: '12', value: whole });
  });

  test('a late answer does not bring a deleted pod back', async () => {
    const rig = start((up) =>
      up.route.operation === 'patch' ? reply(up, { Object: pod('u1', '11'), Err: null }) : undefined,
    );
    await rig.ask('patch', 'default/podpatch/web', '{}');
    expect(rig.meta.read((rows) => rows.get('default/pod/web'))).toBeUndefined();
  });

  test('the last delete of a pod, once confirmed, takes its row; one for another uid does not', async () => {
    const rig = start((up) => (up.route.operation === 'delete' ? reply(up, 'OK') : undefined));
    await rig.down('update', 'default/pod/web', pod('u1', '10'));
    await rig.ask('delete', 'default/pod/web', { gracePeriodSeconds: 0, preconditions: { uid: 'u0' } });
    expect(rig.meta.read((rows) => rows.get('default/pod/web'))?.uid).toBe('u1');
    await rig.ask('delete', 'default/pod/web', { gracePeriodSeconds: 0, preconditions: { uid: 'u1' } });
    expect(rig.meta.read((rows) => rows.get('default/pod/web'))).toBeUndefined();
  });

  test('the own node is stored from the answer to its registration', async () => {
    const rig = start((up) => reply(up, { Object: object('null/node/e', 'n1', '3'), Err: null }));
    await rig.ask('insert', 'null/node/e', { metadata: { name: 'e' } });
    expect((await rig.ask('query', 'null/node/e')).content).toMatchObject({
      kind: 'Node',
      metadata: { uid: 'n1' },
    });
  });

  test('offline writes fail with the reason', async () => {
    const rig = start(offline);
    const answer = await rig.ask('update', 'kube-node-lease/lease/e', {});
    expect([answer.route.operation, answer.content]).toEqual([
      'error',
      'update kube-node-lease/lease/e: not connected to the cloud',
    ]);
  });
});

describe('service account tokens', () => {
  test('are kept until four fifths of their life, per pod, and outlive their end when offline', async () => {
    let asked = 0;
    let online = true;
    const rig = start((up) => {
      if (!online) return offline(up);
      asked += 1;
      return reply(up, tokenAnswer(3600, `token-${asked}`, rig.clock.now()));
    });
    const ask = async (uid: string) => {
      const answer = await rig.ask('query', 'default/serviceaccounttoken/default', tokenRequest(uid));
      return answer.route.operation === 'error'
        ? answer.content
        : Reflect.get(Object(answer.content), 'status').token;
    };
    expect(await ask('u1')).toBe('token-1');
    expect(await ask('u2')).toBe('token-2');
    await rig.clock.advance(2_800_000);
    expect(await ask('u1')).toBe('token-1');
    await rig.clock.advance(100_000);
    expect(await ask('u1')).toBe('token-3');
    online = false;
    await rig.clock.advance(10_000_000);
    expect(await ask('u1')).toBe('token-3');
    expect(await ask('u3')).toMatch(/no token of default\/serviceaccounttoken\/default is stored/);
  });
});
