import { describe, expect, test } from 'vitest';
import type { JsonObject, KubeObject } from '../kube-object.ts';
import { type AccessObjects, type Attributes, allowed } from './rbac.ts';

function object(kind: string, name: string, fields: JsonObject, metadata: JsonObject = {}): KubeObject {
  return { apiVersion: 'rbac.authorization.k8s.io/v1', kind, metadata: { name, ...metadata }, ...fields };
}

const read = { verbs: ['get', 'list'], apiGroups: [''], resources: ['pods', 'pods/log'] };
const clusterRoles = [
  object('ClusterRole', 'reader', { rules: [read] }),
  object('ClusterRole', 'one-secret', {
    rules: [{ verbs: ['get'], apiGroups: [''], resources: ['secrets'], resourceNames: ['mine'] }],
  }),
  object('ClusterRole', 'paths', { rules: [{ verbs: ['get'], nonResourceURLs: ['/metrics', '/logs/*'] }] }),
  object('ClusterRole', 'sum', {
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { part: 'yes' } }] },
  }),
  object(
    'ClusterRole',
    'part',
    { rules: [{ verbs: ['*'], apiGroups: ['apps'], resources: ['*'] }] },
    { labels: { part: 'yes' } },
  ),
];
const role = object('Role', 'local', {
  rules: [{ verbs: ['create'], apiGroups: ['*'], resources: ['*/status'] }],
});

function binding(kind: string, roleKind: string, roleName: string, subject: JsonObject): KubeObject {
  return object(
    kind,
    roleName,
    { roleRef: { kind: roleKind, name: roleName }, subjects: [subject] },
    { namespace: 'ns' },
  );
}

function access(clusterRoleBindings: KubeObject[], roleBindings: KubeObject[] = []): AccessObjects {
  return {
    clusterRoles: () => clusterRoles,
    clusterRoleBindings: () => clusterRoleBindings,
    clusterRole: (name) => clusterRoles.find((each) => each.metadata.name === name),
    role: (namespace, name) => (namespace === 'ns' && name === 'local' ? role : undefined),
    roleBindings: (namespace) => (namespace === 'ns' ? roleBindings : []),
  };
}

const ann = { name: 'ann', groups: ['dev'] };
const pods: Attributes = { verb: 'list', group: '', plural: 'pods', namespace: 'ns' };

describe('access', () => {
  test('nothing without a binding, everything for masters', () => {
    expect(allowed(ann, pods, access([]))).toBe(false);
    expect(allowed({ name: 'root', groups: ['system:masters'] }, pods, access([]))).toBe(true);
  });

  test.each<[string, JsonObject]>([
    ['user', { kind: 'User', name: 'ann' }],
    ['group', { kind: 'Group', name: 'dev' }],
  ])('by %s', (_, subject) => {
    const objects = access([binding('ClusterRoleBinding', 'ClusterRole', 'reader', subject)]);
    expect(allowed(ann, pods, objects)).toBe(true);
    expect(allowed(ann, { ...pods, verb: 'delete' }, objects)).toBe(false);
    expect(allowed(ann, { ...pods, subresource: 'log' }, objects)).toBe(true);
    expect(allowed(ann, { ...pods, subresource: 'exec' }, objects)).toBe(false);
    expect(allowed(ann, { ...pods, group: 'apps' }, objects)).toBe(false);
    expect(allowed({ name: 'bob', groups: [] }, pods, objects)).toBe(false);
  });

  test('a service account is no user of that name in another namespace', () => {
    const subject = { kind: 'ServiceAccount', name: 'robot', namespace: 'ns' };
    const objects = access([binding('ClusterRoleBinding', 'ClusterRole', 'reader', subject)]);
    expect(allowed({ name: 'system:serviceaccount:ns:robot', groups: [] }, pods, objects)).toBe(true);
    expect(allowed({ name: 'system:serviceaccount:other:robot', groups: [] }, pods, objects)).toBe(false);
    expect(allowed({ name: 'robot', groups: [] }, pods, objects)).toBe(false);
  });

  test('a role binding holds in its namespace only', () => {
    const objects = access(
      [],
      [binding('RoleBinding', 'ClusterRole', 'reader', { kind: 'User', name: 'ann' })],
    );
    expect(allowed(ann, pods, objects)).toBe(true);
    expect(allowed(ann, { ...pods, namespace: 'other' }, objects)).toBe(false);
    expect(allowed(ann, { ...pods, namespace: undefined }, objects)).toBe(false);
  });

  test('a cluster binding cannot name a role', () => {
    const objects = access([binding('ClusterRoleBinding', 'Role', 'local', { kind: 'User', name: 'ann' })]);
    expect(
      allowed(
        ann,
        { verb: 'create', group: 'a', plural: 'b', subresource: 'status', namespace: 'ns' },
        objects,
      ),
    ).toBe(false);
  });

  test('names, subresources of all, aggregation, paths', () => {
    const who = { kind: 'User', name: 'ann' };
    const objects = access(
      ['one-secret', 'paths', 'sum'].map((name) => binding('ClusterRoleBinding', 'ClusterRole', name, who)),
      [binding('RoleBinding', 'Role', 'local', who)],
    );
    const secret = { verb: 'get', group: '', plural: 'secrets', namespace: 'ns' };
    expect(allowed(ann, { ...secret, name: 'mine' }, objects)).toBe(true);
    expect(allowed(ann, { ...secret, name: 'other' }, objects)).toBe(false);
    expect(allowed(ann, secret, objects)).toBe(false);
    expect(
      allowed(
        ann,
        { verb: 'create', group: 'a', plural: 'b', subresource: 'status', namespace: 'ns' },
        objects,
      ),
    ).toBe(true);
    expect(allowed(ann, { verb: 'create', group: 'a', plural: 'b', namespace: 'ns' }, objects)).toBe(false);
    expect(
      allowed(ann, { verb: 'delete', group: 'apps', plural: 'deployments', namespace: 'x' }, objects),
    ).toBe(true);
    expect(allowed(ann, { verb: 'get', path: '/logs/a' }, objects)).toBe(true);
    expect(allowed(ann, { verb: 'get', path: '/metrics/a' }, objects)).toBe(false);
  });
});
