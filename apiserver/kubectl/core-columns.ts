/** Columns of the core group but for pods, and of the cluster's own kinds. */

import { isJsonObject, type JsonValue, type KubeObject, listAt, textAt, valueAt } from '../kube-object.ts';
import {
  age,
  type Column,
  column,
  count,
  createdAt,
  joined,
  nameColumn,
  names,
  orNone,
  pairs,
  text,
  wide,
} from './column.ts';
import { ageOf } from './human-duration.ts';
import { conditionStatus, numberAt } from './pod-summary.ts';

function keys(value: JsonValue | undefined): number {
  return isJsonObject(value) ? Object.keys(value).length : 0;
}

function nodeStatus(node: KubeObject): JsonValue {
  const ready = conditionStatus(node, 'Ready');
  const words = [ready === undefined ? 'Unknown' : ready === 'True' ? 'Ready' : 'NotReady'];
  if (valueAt(node, 'spec', 'unschedulable') === true) words.push('SchedulingDisabled');
  return words.join(',');
}

const rolePrefix = 'node-role.kubernetes.io/';

function nodeRoles(node: KubeObject): JsonValue {
  const labels = Object.entries(node.metadata.labels ?? {});
  const roles = labels.flatMap(([key, value]) => {
    if (key.startsWith(rolePrefix)) return key.slice(rolePrefix.length) || [];
    return key === 'kubernetes.io/role' && value !== '' ? value : [];
  });
  return joined([...new Set(roles)].sort());
}

function nodeAddress(type: string): (node: KubeObject) => JsonValue {
  return (node) => {
    const found = listAt(node, 'status', 'addresses').find((address) => textAt(address, 'type') === type);
    return orNone(textAt(found, 'address'));
  };
}

function nodeInfo(field: string): (node: KubeObject) => JsonValue {
  return (node) => textAt(node, 'status', 'nodeInfo', field) || '<unknown>';
}

const node: readonly Column[] = [
  nameColumn,
  column('Status', nodeStatus),
  column('Roles', nodeRoles),
  age,
  text('Version', 'status', 'nodeInfo', 'kubeletVersion'),
  wide('Internal-IP', nodeAddress('InternalIP')),
  wide('External-IP', nodeAddress('ExternalIP')),
  wide('OS-Image', nodeInfo('osImage')),
  wide('Kernel-Version', nodeInfo('kernelVersion')),
  wide('Container-Runtime', nodeInfo('containerRuntimeVersion')),
];

function servicePort(port: JsonValue): string {
  const nodePort = numberAt(port, 'nodePort');
  const target = nodePort === 0 ? '' : `:${nodePort}`;
  return `${numberAt(port, 'port')}${target}/${textAt(port, 'protocol') ?? 'TCP'}`;
}

function externalIp(service: KubeObject): JsonValue {
  const external = listAt(service, 'spec', 'externalIPs').map(String);
  const type = textAt(service, 'spec', 'type');
  if (type === 'ExternalName') return orNone(textAt(service, 'spec', 'externalName'));
  if (type !== 'LoadBalancer') return joined(external);
  const ingress = listAt(service, 'status', 'loadBalancer', 'ingress').flatMap(
    (each) => textAt(each, 'ip') ?? textAt(each, 'hostname') ?? [],
  );
  return [...ingress, ...external].join(',') || '<pending>';
}

const service: readonly Column[] = [
  nameColumn,
  column('Type', (object) => textAt(object, 'spec', 'type') ?? 'ClusterIP'),
  column('Cluster-IP', (object) => orNone(textAt(object, 'spec', 'clusterIP'))),
  column('External-IP', externalIp),
  column('Port(s)', (object) => joined(listAt(object, 'spec', 'ports').map(servicePort))),
  age,
  wide('Selector', (object) => pairs(valueAt(object, 'spec', 'selector'))),
];

/** events.k8s.io says `regarding` and `note` where the core group says `involvedObject` and `message`. */
function involved(event: KubeObject): JsonValue | undefined {
  return valueAt(event, 'involvedObject') ?? valueAt(event, 'regarding');
}

function eventCount(event: KubeObject): number {
  return (
    numberAt(event, 'series', 'count') || numberAt(event, 'count') || numberAt(event, 'deprecatedCount') || 1
  );
}

function firstSeen(event: KubeObject): string | undefined {
  return (
    textAt(event, 'firstTimestamp') ?? textAt(event, 'deprecatedFirstTimestamp') ?? textAt(event, 'eventTime')
  );
}

function lastSeen(event: KubeObject): string | undefined {
  return (
    textAt(event, 'series', 'lastObservedTime') ??
    textAt(event, 'lastTimestamp') ??
    textAt(event, 'deprecatedLastTimestamp') ??
    firstSeen(event)
  );
}

const event: readonly Column[] = [
  column('Last Seen', (object, nowMs) => ageOf(lastSeen(object), nowMs)),
  text('Type', 'type'),
  text('Reason', 'reason'),
  column('Object', (object) => {
    const about = involved(object);
    return `${(textAt(about, 'kind') ?? '').toLowerCase()}/${textAt(about, 'name') ?? ''}`;
  }),
  wide('Subobject', (object) => textAt(involved(object), 'fieldPath') ?? ''),
  wide('Source', (object) => {
    const source = valueAt(object, 'source') ?? valueAt(object, 'deprecatedSource');
    const component = textAt(source, 'component') ?? textAt(object, 'reportingComponent') ?? '';
    const host = textAt(source, 'host') ?? '';
    return [component, host].filter((part) => part !== '').join(', ');
  }),
  column('Message', (object) => (textAt(object, 'message') ?? textAt(object, 'note') ?? '').trim()),
  wide('First Seen', (object, nowMs) => ageOf(firstSeen(object), nowMs)),
  { ...wide('Count', eventCount), type: 'integer' },
  wide('Name', (object) => object.metadata.name),
];

const modeNames = new Map([
  ['ReadWriteOnce', 'RWO'],
  ['ReadOnlyMany', 'ROX'],
  ['ReadWriteMany', 'RWX'],
  ['ReadWriteOncePod', 'RWOP'],
]);

function accessModes(...path: readonly string[]): (object: KubeObject) => JsonValue {
  return (object) =>
    listAt(object, ...path)
      .map((mode) => modeNames.get(String(mode)) ?? String(mode))
      .join(',');
}

const volumeMode = wide('VolumeMode', (object) => textAt(object, 'spec', 'volumeMode') ?? '<unset>');
const attributesClass = column(
  'VolumeAttributesClass',
  (object) => textAt(object, 'spec', 'volumeAttributesClassName') ?? '<unset>',
);

function phase(object: KubeObject): JsonValue {
  return object.metadata.deletionTimestamp === undefined
    ? (textAt(object, 'status', 'phase') ?? '')
    : 'Terminating';
}

const persistentVolume: readonly Column[] = [
  nameColumn,
  text('Capacity', 'spec', 'capacity', 'storage'),
  column('Access Modes', accessModes('spec', 'accessModes')),
  text('Reclaim Policy', 'spec', 'persistentVolumeReclaimPolicy'),
  column('Status', phase),
  column('Claim', (object) =>
    ['namespace', 'name'].flatMap((field) => textAt(object, 'spec', 'claimRef', field) ?? []).join('/'),
  ),
  text('StorageClass', 'spec', 'storageClassName'),
  attributesClass,
  text('Reason', 'status', 'reason'),
  age,
  volumeMode,
];

const persistentVolumeClaim: readonly Column[] = [
  nameColumn,
  column('Status', phase),
  text('Volume', 'spec', 'volumeName'),
  text('Capacity', 'status', 'capacity', 'storage'),
  column('Access Modes', accessModes('status', 'accessModes')),
  text('StorageClass', 'spec', 'storageClassName'),
  attributesClass,
  age,
  volumeMode,
];

function endpointTexts(object: KubeObject): readonly string[] {
  return listAt(object, 'subsets').flatMap((subset) => {
    const ports = listAt(subset, 'ports').map((port) => `:${numberAt(port, 'port')}`);
    const addresses = names(listAt(subset, 'addresses'), 'ip');
    return ports.length === 0
      ? addresses
      : addresses.flatMap((address) => ports.map((port) => address + port));
  });
}

const shownEndpoints = 3;

function endpoints(object: KubeObject): JsonValue {
  const all = endpointTexts(object);
  const more = all.length > shownEndpoints ? ` + ${all.length - shownEndpoints} more...` : '';
  return joined(all.slice(0, shownEndpoints)) + more;
}

/** By `group/kind`. */
export const coreColumns: readonly (readonly [string, readonly Column[]])[] = [
  ['/Node', node],
  ['/Service', service],
  ['/Event', event],
  ['events.k8s.io/Event', event],
  ['/PersistentVolume', persistentVolume],
  ['/PersistentVolumeClaim', persistentVolumeClaim],
  ['/Namespace', [nameColumn, text('Status', 'status', 'phase'), age]],
  ['/Endpoints', [nameColumn, column('Endpoints', endpoints), age]],
  [
    '/ConfigMap',
    [
      nameColumn,
      count('Data', (object) => keys(valueAt(object, 'data')) + keys(valueAt(object, 'binaryData'))),
      age,
    ],
  ],
  [
    '/Secret',
    [
      nameColumn,
      column('Type', (object) => textAt(object, 'type') ?? 'Opaque'),
      count('Data', (object) => keys(valueAt(object, 'data'))),
      age,
    ],
  ],
  ['/ServiceAccount', [nameColumn, count('Secrets', (object) => listAt(object, 'secrets').length), age]],
  ['apiextensions.k8s.io/CustomResourceDefinition', [nameColumn, createdAt]],
  ['coordination.k8s.io/Lease', [nameColumn, text('Holder', 'spec', 'holderIdentity'), age]],
];
