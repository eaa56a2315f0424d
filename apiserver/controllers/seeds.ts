/** What is there from the first start: namespaces, and the roles without which nobody could do anything. */

import { type Api, type ResourceRef, resource } from '../api.ts';
import { allAuthenticated, masters } from '../auth/user.ts';
import type { JsonObject, KubeObject } from '../kube-object.ts';
import { isAlreadyExists } from '../status-error.ts';

const namespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

const rbac = 'rbac.authorization.k8s.io';

function role(name: string, rules: JsonObject[]): KubeObject {
  return { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name, labels: bootstrap }, rules };
}

function binding(roleName: string, group: string): KubeObject {
  return {
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: { name: roleName, labels: bootstrap },
    roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: roleName },
    subjects: [{ apiGroup: rbac, kind: 'Group', name: group }],
  };
}

const bootstrap = { 'kubernetes.io/bootstrapping': 'rbac-defaults' };

const roles = [
  role('cluster-admin', [
    { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
    { verbs: ['*'], nonResourceURLs: ['*'] },
  ]),
  role('system:discovery', [
    {
      verbs: ['get'],
      nonResourceURLs: [
        '/api',
        '/api/*',
        '/apis',
        '/apis/*',
        '/openapi',
        '/openapi/*',
        '/version',
        '/version/',
      ],
    },
  ]),
  role('system:basic-user', [
    {
      verbs: ['create'],
      apiGroups: ['authorization.k8s.io'],
      resources: ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
    },
    { verbs: ['create'], apiGroups: ['authentication.k8s.io'], resources: ['selfsubjectreviews'] },
  ]),
];

const bindings = [
  binding('cluster-admin', masters),
  binding('system:discovery', allAuthenticated),
  binding('system:basic-user', allAuthenticated),
];

export async function seed(api: Api): Promise<void> {
  const wanted: (readonly [ResourceRef, KubeObject])[] = [
    ...namespaces.map(
      (name) => [resource.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }] as const,
    ),
    ...roles.map((object) => [resource.clusterRoles, object] as const),
    ...bindings.map((object) => [resource.clusterRoleBindings, object] as const),
  ];
  await Promise.all(wanted.map(([of, object]) => createOnce(api, of, object)));
}

/** What somebody changed since stays as it is. */
async function createOnce(api: Api, of: ResourceRef, object: KubeObject): Promise<void> {
  try {
    await api.create(of, object);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}
