/**
 * What cloudcore may do in a Kubernetes cluster, and no more: the manifests that keadm applies. Reading Secrets
 * everywhere is the one wide right; Kubernetes cannot grant their metadata alone, and which node may have which is
 * for cloudcore to enforce.
 */

import { systemNamespace } from '#protocol/names.ts';
import type { KubeObject } from '#protocol/resources/object.ts';

export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

const roleName = 'hawser-cloudcore';
const rbacVersion = 'rbac.authorization.k8s.io/v1';
const leaseNamespace = 'kube-node-lease';

/** Who cloudcore is: its service account in a cluster, its certificate at the embedded API. */
const subjects = [
  { kind: 'ServiceAccount', name: 'cloudcore', namespace: systemNamespace },
  { kind: 'User', name: 'system:cloudcore', apiGroup: 'rbac.authorization.k8s.io' },
];

const syncs = ['objectsyncs', 'clusterobjectsyncs'];

const clusterRules: readonly PolicyRule[] = [
  // Edge nodes register, and report their status; CloudHub reads and marks which machine a node is.
  rule('', ['nodes'], ['get', 'list', 'watch', 'create', 'patch']),
  rule('', ['nodes/status'], ['patch']),
  // Pods of edge nodes go down; their statuses, mirror pods and the final deletion come up.
  rule('', ['pods'], ['list', 'watch', 'create', 'delete']),
  rule('', ['pods/status'], ['patch']),
  // What pods name.
  rule('', ['configmaps', 'secrets'], ['get', 'list', 'watch']),
  rule('', ['persistentvolumes', 'persistentvolumeclaims'], ['get', 'list', 'watch']),
  rule('storage.k8s.io', ['volumeattachments'], ['get']),
  rule('', ['serviceaccounts/token'], ['create']),
  rule('', ['events'], ['get', 'create', 'update', 'patch']),
  // Certificates by which KubeEdge edges serve their MetaServer; no other signer may be asked on their behalf.
  rule('certificates.k8s.io', ['certificatesigningrequests'], ['get', 'create', 'delete']),
  rule('certificates.k8s.io', ['certificatesigningrequests/approval'], ['update']),
  {
    ...rule('certificates.k8s.io', ['signers'], ['approve']),
    resourceNames: ['kubernetes.io/kubelet-serving'],
  },
  // The uid of kube-system tells one cluster from another.
  { ...rule('', ['namespaces'], ['get']), resourceNames: ['kube-system'] },
  rule('devices.kubeedge.io', ['devices', 'devicemodels'], ['list', 'watch']),
  rule('devices.kubeedge.io', ['devicestatuses'], ['get', 'create', 'patch', 'delete']),
  // What rules carried is counted in their status.
  rule('rules.kubeedge.io', ['ruleendpoints'], ['list', 'watch']),
  rule('rules.kubeedge.io', ['rules'], ['list', 'watch', 'patch']),
  // What KubeEdge edges were sent.
  rule('reliablesyncs.kubeedge.io', syncs, ['list', 'watch', 'create', 'delete']),
  rule(
    'reliablesyncs.kubeedge.io',
    syncs.map((plural) => `${plural}/status`),
    ['patch'],
  ),
];

/** The certificate authority, the keys and the join token (see cloudhub/system-secrets.ts). */
const systemRules: readonly PolicyRule[] = [rule('', ['secrets'], ['get', 'create', 'update'])];

/** KubeEdge edges write theirs, whole; those of edges of ours are renewed here. */
const leaseRules: readonly PolicyRule[] = [
  rule('coordination.k8s.io', ['leases'], ['get', 'create', 'update', 'patch']),
];

/** In the order in which they are applied; the namespaces are there already. */
export function cloudcoreRbac(): KubeObject[] {
  return [
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'cloudcore', namespace: systemNamespace },
    },
    { apiVersion: rbacVersion, kind: 'ClusterRole', metadata: { name: roleName }, rules: clusterRules },
    {
      apiVersion: rbacVersion,
      kind: 'ClusterRoleBinding',
      metadata: { name: roleName },
      roleRef: roleRef('ClusterRole'),
      subjects,
    },
    ...inNamespace(systemNamespace, systemRules),
    ...inNamespace(leaseNamespace, leaseRules),
  ];
}

function inNamespace(namespace: string, rules: readonly PolicyRule[]): KubeObject[] {
  const metadata = { name: roleName, namespace };
  return [
    { apiVersion: rbacVersion, kind: 'Role', metadata, rules },
    { apiVersion: rbacVersion, kind: 'RoleBinding', metadata, roleRef: roleRef('Role'), subjects },
  ];
}

function roleRef(kind: string): object {
  return { apiGroup: 'rbac.authorization.k8s.io', kind, name: roleName };
}

function rule(apiGroup: string, resources: readonly string[], verbs: readonly string[]): PolicyRule {
  return { apiGroups: [apiGroup], resources, verbs };
}
