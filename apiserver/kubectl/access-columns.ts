/** Columns of access rules, certificate requests, storage and priority classes. */

import { type JsonValue, type KubeObject, listAt, textAt, valueAt } from '../kube-object.ts';
import { age, type Column, column, count, createdAt, nameColumn, text, wide } from './column.ts';
import { humanDuration } from './human-duration.ts';
import { numberAt } from './pod-summary.ts';

function subjects(kind: string): (binding: KubeObject) => JsonValue {
  return (binding) =>
    listAt(binding, 'subjects')
      .filter((subject) => textAt(subject, 'kind') === kind)
      .map((subject) => {
        const name = textAt(subject, 'name') ?? '';
        return kind === 'ServiceAccount' ? `${textAt(subject, 'namespace') ?? ''}/${name}` : name;
      })
      .join(', ');
}

const binding: readonly Column[] = [
  nameColumn,
  column('Role', (object) => `${textAt(object, 'roleRef', 'kind')}/${textAt(object, 'roleRef', 'name')}`),
  age,
  wide('Users', subjects('User')),
  wide('Groups', subjects('Group')),
  wide('ServiceAccounts', subjects('ServiceAccount')),
];

function requestCondition(request: KubeObject): JsonValue {
  const types = listAt(request, 'status', 'conditions').flatMap((each) => textAt(each, 'type') ?? []);
  const words = [types.includes('Denied') ? 'Denied' : types.includes('Approved') ? 'Approved' : 'Pending'];
  if (types.includes('Failed')) words.push('Failed');
  if ((textAt(request, 'status', 'certificate') ?? '') !== '') words.push('Issued');
  return words.join(',');
}

const certificateRequest: readonly Column[] = [
  nameColumn,
  age,
  text('SignerName', 'spec', 'signerName'),
  text('Requestor', 'spec', 'username'),
  column('RequestedDuration', (object) => {
    const seconds = numberAt(object, 'spec', 'expirationSeconds');
    return seconds === 0 ? '<none>' : humanDuration(seconds * 1000);
  }),
  column('Condition', requestCondition),
];

const storageClass: readonly Column[] = [
  {
    ...nameColumn,
    cell: ({ metadata }) =>
      metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true'
        ? `${metadata.name} (default)`
        : metadata.name,
  },
  text('Provisioner', 'provisioner'),
  column('ReclaimPolicy', (object) => textAt(object, 'reclaimPolicy') ?? 'Delete'),
  column('VolumeBindingMode', (object) => textAt(object, 'volumeBindingMode') ?? 'Immediate'),
  {
    ...column('AllowVolumeExpansion', (object) => valueAt(object, 'allowVolumeExpansion') === true),
    type: 'boolean',
  },
  age,
];

/** By `group/kind`. */
export const accessColumns: readonly (readonly [string, readonly Column[]])[] = [
  ['rbac.authorization.k8s.io/Role', [nameColumn, createdAt]],
  ['rbac.authorization.k8s.io/ClusterRole', [nameColumn, createdAt]],
  ['rbac.authorization.k8s.io/RoleBinding', binding],
  ['rbac.authorization.k8s.io/ClusterRoleBinding', binding],
  ['certificates.k8s.io/CertificateSigningRequest', certificateRequest],
  ['storage.k8s.io/StorageClass', storageClass],
  [
    'storage.k8s.io/CSINode',
    [nameColumn, count('Drivers', (object) => listAt(object, 'spec', 'drivers').length), age],
  ],
  [
    'storage.k8s.io/VolumeAttachment',
    [
      nameColumn,
      text('Attacher', 'spec', 'attacher'),
      text('PV', 'spec', 'source', 'persistentVolumeName'),
      text('Node', 'spec', 'nodeName'),
      { ...column('Attached', (object) => valueAt(object, 'status', 'attached') === true), type: 'boolean' },
      age,
    ],
  ],
  [
    'scheduling.k8s.io/PriorityClass',
    [
      nameColumn,
      count('Value', (object) => numberAt(object, 'value')),
      { ...column('Global-Default', (object) => valueAt(object, 'globalDefault') === true), type: 'boolean' },
      age,
      column('PreemptionPolicy', (object) => textAt(object, 'preemptionPolicy') ?? 'PreemptLowerPriority'),
    ],
  ],
];
