/**
 * What a KubeEdge edge relies on, row by row: the checklist for a cloudcore (wire 12) and what crashes or blocks such
 * an edge (wire 6). A scripted edge at a real CloudHub, controllers and cache, over a network and an API in memory.
 */

import { describe, expect, test } from 'vitest';
import { deliveryLimits } from '#protocol/limits.ts';
import { kubernetesCa } from '#test/fixtures/cloud.ts';
import { devicesOf, kubeEdgeCase, maps, node } from '#test/fixtures/kubeedge-case.ts';
import { ScriptedEdge } from '#test/fixtures/scripted-edge.ts';
import { signingRequest } from '#test/fixtures/signing-request.ts';

const at = kubeEdgeCase();
const { acknowledge, addDevice, addPod, ask, connect, deletePod, pushed, pushes, restart, settled } = at;

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
    await at.cloud.api.create(maps, { metadata: { name: 'map' }, data: {} });
    await addPod('listed');
    await at.cloud.api.create(devicesOf('devicemodels'), { metadata: { name: 'thermo' }, spec: {} });
    await restart(async () => await addDevice('listed'));
    await connect();
    await addPod('watched');
    await addDevice('watched');
    const answer = await ask('query', 'default/configmap/map');
    expect(answer.content).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap' });
    expect(answer.header.resourceversion).toMatch(/^\d+$/);
    await at.cloud.api.patch({ ...maps, name: 'map' }, 'merge', { data: { a: '1' } });
    for (const path of ['pod/listed', 'pod/watched', 'configmap/map']) await pushed(`update default/${path}`);
    for (const path of ['devicemodel/thermo', 'device/listed', 'device/watched'])
      await pushed(`insert default/${path}`);
    // checkFrame looks at each of them.
    expect(pushes().length).toBeGreaterThanOrEqual(7);
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
    const identity = await at.cloud.identity('edge-2');
    const stolen = ScriptedEdge.connect({
      transport: at.transport,
      port: at.cloud.port,
      node,
      identity,
      session: 'kubeedge',
    });
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
    await at.edge.until(() => pushes().length > before);
    expect(pushes().slice(before)).toEqual([`update null/node/${node}`]);
  });

  test.each([
    [
      'the API cannot be reached',
      async () => {
        at.cloud.api.failNext(
          (verb, { plural }) => verb === 'patch' && plural === 'nodes',
          'unreachable',
          '',
        );
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
    const answer = await at.edge.answerTo(await at.edge.say(route, null));
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
      expect(JSON.stringify(answer.content)).not.toContain('"Approved"');
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
      await at.edge.answerTo(
        await at.edge.say({ source: 'twin', group: 'resource', operation, resource }, content),
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

describe('reports of a KubeEdge edge', () => {
  test('the first value of a property is in DeviceStatus with the first report', async () => {
    await at.cloud.api.create(devicesOf('devicemodels'), { metadata: { name: 'thermo' }, spec: {} });
    await addDevice('d1');
    await connect();
    await pushed('insert default/device/d1');
    const twin = { temp: { actual: { value: '21', metadata: { timestamp: 5 } }, metadata: { type: 'int' } } };
    const resource = 'device/default/d1/twin/edge_updated';
    const route = { source: 'twin', group: 'resource', operation: 'update', resource };
    const answer = await at.edge.answerTo(await at.edge.say(route, { event_id: 'e', timestamp: 1, twin }));
    expect(answer.content).toBe('OK');
    expect((await at.cloud.api.get({ ...devicesOf('devicestatuses'), name: 'd1' })).status).toMatchObject({
      twins: [{ propertyName: 'temp', reported: { value: '21' } }],
    });
  });
});
