/** Who may do what over the REST API, and what hostile requests do to it: nothing. */

import fc from 'fast-check';
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

describe('who may', () => {
  test('nobody sees more than health and version', async () => {
    expect((await api.get('/readyz', { as: 'nobody' })).text).toBe('ok');
    expect((await api.get('/version', { as: 'nobody' })).body.gitVersion).toBe('v1.32.0+hawser');
    for (const path of ['/api', '/api/v1/nodes', '/openapi/v2', '/anything']) {
      expect((await api.get(path, { as: 'nobody' })).status).toBe(401);
    }
    const headers = { authorization: 'Bearer not.a.token' };
    expect((await api.get('/api/v1/nodes', { as: 'nobody', headers })).status).toBe(401);
  });

  test('cloudcore may what its bindings give it', async () => {
    const denied = await api.get('/api/v1/nodes', { as: 'cloudcore' });
    expect(denied.body).toMatchObject({
      code: 403,
      message:
        'nodes is forbidden: User "system:cloudcore" cannot list resource "nodes" in API group "" at the cluster scope',
    });
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    await api.post(`${rbac}/clusterroles`, {
      metadata: { name: 'nodes' },
      rules: [{ verbs: ['list'], apiGroups: [''], resources: ['nodes'] }],
    });
    await api.post(`${rbac}/clusterrolebindings`, {
      metadata: { name: 'nodes' },
      roleRef: { kind: 'ClusterRole', name: 'nodes' },
      subjects: [{ kind: 'User', name: 'system:cloudcore' }],
    });
    expect((await api.get('/api/v1/nodes', { as: 'cloudcore' })).status).toBe(200);
    expect((await api.post('/api/v1/nodes', {}, { as: 'cloudcore' })).status).toBe(403);
    const review = await api.post(
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      { spec: { resourceAttributes: { verb: 'list', resource: 'nodes' } } },
      { as: 'cloudcore' },
    );
    expect(review.body.status).toEqual({ allowed: true });
  });

  test("acting for another takes the right to, and gives only that one's rights", async () => {
    const review = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
    const headers = { 'impersonate-user': 'ann', 'impersonate-group': 'dev' };
    const { body } = await api.post(review, {}, { headers });
    expect(valueAt(body, 'status', 'userInfo')).toEqual({
      username: 'ann',
      groups: ['dev', 'system:authenticated'],
    });
    expect((await api.get('/api/v1/secrets', { headers })).status).toBe(403);
    const denied = await api.post(review, {}, { headers: { 'impersonate-user': 'root' }, as: 'cloudcore' });
    expect(denied.body.message).toContain(
      'users "root" is forbidden: User "system:cloudcore" cannot impersonate',
    );
    expect((await api.get('/api/v1/secrets', { headers: { 'impersonate-uid': '1' } })).status).toBe(400);
  });

  test('nobody gives away rights they do not have', async () => {
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    const rules = [
      { verbs: ['create', 'patch'], apiGroups: ['rbac.authorization.k8s.io'], resources: ['*'] },
      { verbs: ['get', 'list'], apiGroups: [''], resources: ['configmaps'] },
    ];
    await api.post(`${rbac}/clusterroles`, { metadata: { name: 'granter' }, rules });
    const subjects = [{ kind: 'User', name: 'granter' }];
    await api.post(`${rbac}/clusterrolebindings`, {
      metadata: { name: 'granter' },
      roleRef: { kind: 'ClusterRole', name: 'granter' },
      subjects,
    });
    const headers = { 'impersonate-user': 'granter' };
    const grant = (name: string, resources: string[]) =>
      api.post(
        `${rbac}/clusterroles`,
        { metadata: { name }, rules: [{ verbs: ['get'], apiGroups: [''], resources }] },
        { headers },
      );
    expect((await grant('held', ['configmaps'])).status).toBe(201);
    expect((await grant('more', ['secrets'])).body.message).toContain(
      'grant RBAC permissions not currently held',
    );
    const grown = { rules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }] };
    expect((await api.patch(`${rbac}/clusterroles/held`, 'merge', grown, { headers })).status).toBe(403);
    const bind = (role: string) =>
      api.post(
        `${rbac}/clusterrolebindings`,
        { metadata: { name: `to-${role}` }, roleRef: { kind: 'ClusterRole', name: role }, subjects },
        { headers },
      );
    expect((await bind('held')).status).toBe(201);
    expect((await bind('cluster-admin')).status).toBe(403);
  });

  test('a token is bound to its pod', async () => {
    const accounts = '/api/v1/namespaces/default/serviceaccounts';
    await api.post(accounts, { metadata: { name: 'bound' } });
    const { body } = await api.post(pods, pod('bearer', { nodeName: 'edge' }));
    const uid = valueAt(body, 'metadata', 'uid');
    const spec = {
      audiences: ['edge'],
      expirationSeconds: 600,
      boundObjectRef: { kind: 'Pod', name: 'bearer', uid },
    };
    const issued = await api.post(`${accounts}/bound/token`, { spec });
    const token = valueAt(issued.body, 'status', 'token');
    const review = async (audiences: string[]) =>
      (await api.post('/apis/authentication.k8s.io/v1/tokenreviews', { spec: { token, audiences } })).body
        .status;
    expect(await review(['edge'])).toMatchObject({
      authenticated: true,
      user: { username: 'system:serviceaccount:default:bound' },
    });
    expect(await review(['elsewhere'])).toMatchObject({ authenticated: false });
    await api.delete(`${pods}/bearer?gracePeriodSeconds=0`);
    expect(await review(['edge'])).toMatchObject({ authenticated: false });
  });
});

describe('hostile input', () => {
  test.each([
    ['a body that is too large', 413, JSON.stringify(configMap('big', { a: 'x'.repeat(3 * 1024 * 1024) }))],
    ['a body that is not JSON', 400, '{"kind": '],
    ['a body that is no object', 400, '[]'],
    ['a body that nests too deep', 400, `${'{"a":'.repeat(1000)}1${'}'.repeat(1000)}`],
    ['a prototype', 400, '{"metadata":{"name":"x","labels":{"__proto__":{"a":"b"}}}}'],
    ['labels that are no texts', 400, '{"metadata":{"name":"x","labels":{"a":1}}}'],
  ])('%s → %i', async (_, status, body) => {
    const answer = await api.call('POST', configMaps, { body });
    expect(answer.status).toBe(status);
    expect(answer.body.kind).toBe('Status');
  });

  test.each([
    ['/api/v1/namespaces/default/pods', 'Pod'],
    ['/api/v1/nodes', 'Node'],
    ['/api/v1/namespaces/default/secrets', 'Secret'],
    ['/api/v1/namespaces/default/services', 'Service'],
    ['/apis/apps/v1/namespaces/default/deployments', 'Deployment'],
    ['/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', 'ClusterRoleBinding'],
    ['/apis/apiextensions.k8s.io/v1/customresourcedefinitions', 'CustomResourceDefinition'],
  ])('no object of any shape makes %s fail inside', async (path, kind) => {
    const known = [
      'containers',
      'name',
      'image',
      'env',
      'template',
      'selector',
      'names',
      'versions',
      'schema',
      'ports',
      'group',
      'tolerations',
      '__proto__',
      'constructor',
    ];
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom(null, true, 1, -1.5, '', 'x', 'a.b'),
        fc.array(tie('any'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom(...known), tie('any'), { maxKeys: 4 }),
      ),
    })).any;
    const metadata = fc.oneof(fc.constant({ generateName: 'fuzz-' }), value);
    const body = fc.record(
      { metadata, spec: value, data: value, status: value, roleRef: value, subjects: value },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(body, async (fields) => {
        const { status } = await api.post(`${path}?dryRun=All`, { kind, ...fields });
        expect([201, 400, 422]).toContain(status);
      }),
      { numRuns: 150 },
    );
  });

  test('odd paths and methods', async () => {
    expect((await api.get('/api/v1/namespaces/default/configmaps/%')).status).toBe(400);
    expect((await api.get('/api/v1/namespaces/default/nodes')).status).toBe(404);
    expect((await api.get('/api/v1/nosuch')).status).toBe(404);
    expect((await api.put(configMaps, {})).status).toBe(405);
    expect((await api.get(`${configMaps}?resourceVersion=x`)).status).toBe(400);
    expect((await api.get(`${configMaps}/constructor`)).status).toBe(404);
    expect((await api.get('/apis/__proto__/v1/x')).status).toBe(404);
  });
});
