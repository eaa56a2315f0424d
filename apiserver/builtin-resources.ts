/** The resources the server has from the start. Those without a controller here are kept and served, no more. */

import {
  allVerbs,
  type ResourceDefinition,
  type Subresource,
  type SubresourceName,
  type Verb,
} from './resource-definition.ts';

interface Row {
  readonly kind: string;
  readonly plural?: string;
  readonly short?: readonly string[];
  readonly cluster?: true;
  readonly all?: true;
  readonly sub?: readonly SubresourceName[];
  /** Empty: nothing is kept, a create is answered. */
  readonly storage?: string;
  readonly verbs?: readonly Verb[];
}

const readWrite: readonly Verb[] = ['get', 'patch', 'update'];

const subresourceShape: Record<SubresourceName, Omit<Subresource, 'name' | 'kind'> & { kind?: string }> = {
  status: { verbs: readWrite },
  scale: { kind: 'Scale', group: 'autoscaling', version: 'v1', verbs: readWrite },
  binding: { kind: 'Binding', verbs: ['create'] },
  eviction: { kind: 'Eviction', group: 'policy', version: 'v1', verbs: ['create'] },
  token: { kind: 'TokenRequest', group: 'authentication.k8s.io', version: 'v1', verbs: ['create'] },
  approval: { verbs: readWrite },
  finalize: { verbs: ['update'] },
};

const groups: readonly (readonly [group: string, version: string, rows: readonly Row[]])[] = [
  [
    '',
    'v1',
    [
      { kind: 'ConfigMap', short: ['cm'] },
      { kind: 'Endpoints', plural: 'endpoints', short: ['ep'] },
      { kind: 'Event', short: ['ev'] },
      {
        kind: 'Namespace',
        short: ['ns'],
        cluster: true,
        sub: ['status', 'finalize'],
        verbs: without('deletecollection'),
      },
      { kind: 'Node', short: ['no'], cluster: true, sub: ['status'] },
      { kind: 'PersistentVolumeClaim', short: ['pvc'], sub: ['status'] },
      { kind: 'PersistentVolume', short: ['pv'], cluster: true, sub: ['status'] },
      { kind: 'Pod', short: ['po'], all: true, sub: ['status', 'binding', 'eviction'] },
      { kind: 'ReplicationController', short: ['rc'], all: true, sub: ['status', 'scale'] },
      { kind: 'Secret' },
      { kind: 'ServiceAccount', short: ['sa'], sub: ['token'] },
      { kind: 'Service', short: ['svc'], all: true, sub: ['status'] },
    ],
  ],
  [
    'apps',
    'v1',
    [
      { kind: 'DaemonSet', short: ['ds'], all: true, sub: ['status'] },
      { kind: 'Deployment', short: ['deploy'], all: true, sub: ['status', 'scale'] },
      { kind: 'ReplicaSet', short: ['rs'], all: true, sub: ['status', 'scale'] },
      { kind: 'StatefulSet', short: ['sts'], all: true, sub: ['status', 'scale'] },
    ],
  ],
  ['events.k8s.io', 'v1', [{ kind: 'Event', short: ['ev'], storage: '/events' }]],
  ['batch', 'v1', [{ kind: 'Job', all: true, sub: ['status'] }]],
  [
    'certificates.k8s.io',
    'v1',
    [{ kind: 'CertificateSigningRequest', short: ['csr'], cluster: true, sub: ['status', 'approval'] }],
  ],
  ['coordination.k8s.io', 'v1', [{ kind: 'Lease' }]],
  ['discovery.k8s.io', 'v1', [{ kind: 'EndpointSlice' }]],
  [
    'rbac.authorization.k8s.io',
    'v1',
    [
      { kind: 'ClusterRoleBinding', cluster: true },
      { kind: 'ClusterRole', cluster: true },
      { kind: 'RoleBinding' },
      { kind: 'Role' },
    ],
  ],
  [
    'scheduling.k8s.io',
    'v1',
    [{ kind: 'PriorityClass', plural: 'priorityclasses', short: ['pc'], cluster: true }],
  ],
  [
    'storage.k8s.io',
    'v1',
    [
      { kind: 'CSINode', cluster: true },
      { kind: 'StorageClass', plural: 'storageclasses', short: ['sc'], cluster: true },
      { kind: 'VolumeAttachment', cluster: true, sub: ['status'] },
    ],
  ],
  [
    'authentication.k8s.io',
    'v1',
    [
      { kind: 'SelfSubjectReview', cluster: true, storage: '', verbs: ['create'] },
      { kind: 'TokenReview', cluster: true, storage: '', verbs: ['create'] },
    ],
  ],
  [
    'authorization.k8s.io',
    'v1',
    [
      { kind: 'LocalSubjectAccessReview', storage: '', verbs: ['create'] },
      { kind: 'SelfSubjectAccessReview', cluster: true, storage: '', verbs: ['create'] },
      { kind: 'SelfSubjectRulesReview', cluster: true, storage: '', verbs: ['create'] },
      { kind: 'SubjectAccessReview', cluster: true, storage: '', verbs: ['create'] },
    ],
  ],
  [
    'apiextensions.k8s.io',
    'v1',
    [{ kind: 'CustomResourceDefinition', short: ['crd', 'crds'], cluster: true, sub: ['status'] }],
  ],
];

function without(verb: Verb): readonly Verb[] {
  return allVerbs.filter((each) => each !== verb);
}

function define(group: string, version: string, row: Row): ResourceDefinition {
  const singular = row.kind.toLowerCase();
  const plural = row.plural ?? `${singular}s`;
  return {
    group,
    version,
    kind: row.kind,
    listKind: `${row.kind}List`,
    plural,
    singular,
    shortNames: row.short ?? [],
    categories: row.all === true ? ['all'] : [],
    namespaced: row.cluster !== true,
    verbs: row.verbs ?? allVerbs,
    subresources: (row.sub ?? []).map((name) => ({
      name,
      ...subresourceShape[name],
      kind: subresourceShape[name].kind ?? row.kind,
    })),
    storage: row.storage ?? `${group}/${plural}`,
    custom: false,
  };
}

export const builtInResources: readonly ResourceDefinition[] = groups.flatMap(([group, version, rows]) =>
  rows.map((row) => define(group, version, row)),
);
