/** Columns of pods and of what runs pods. */

import { type JsonValue, type KubeObject, listAt, textAt, valueAt } from '../kube-object.ts';
import {
  age,
  type Column,
  column,
  count,
  joined,
  nameColumn,
  names,
  orNone,
  pairs,
  selectorText,
  text,
  wide,
} from './column.ts';
import { ageOf, humanDuration } from './human-duration.ts';
import { conditionStatus, numberAt, podSummary, restartsText } from './pod-summary.ts';

const status = (field: string) => (object: KubeObject) => numberAt(object, 'status', field);

function containers(object: KubeObject): readonly JsonValue[] {
  return listAt(object, 'spec', 'template', 'spec', 'containers');
}

const containersAndImages = [
  wide('Containers', (object) => names(containers(object)).join(',')),
  wide('Images', (object) => names(containers(object), 'image').join(',')),
];
const selector = wide('Selector', (object) => selectorText(valueAt(object, 'spec', 'selector')));
const plainSelector = wide('Selector', (object) => pairs(valueAt(object, 'spec', 'selector')));

function readiness(object: KubeObject): JsonValue {
  const gates = listAt(object, 'spec', 'readinessGates');
  if (gates.length === 0) return '<none>';
  const met = gates.filter((gate) => conditionStatus(object, textAt(gate, 'conditionType') ?? '') === 'True');
  return `${met.length}/${gates.length}`;
}

const pod: readonly Column[] = [
  nameColumn,
  column('Ready', (object) => {
    const { ready, containers: all } = podSummary(object);
    return `${ready}/${all}`;
  }),
  column('Status', (object) => podSummary(object).status),
  column('Restarts', (object, nowMs) => restartsText(podSummary(object), nowMs)),
  age,
  wide('IP', (object) => orNone(textAt(object, 'status', 'podIP'))),
  wide('Node', (object) => orNone(textAt(object, 'spec', 'nodeName'))),
  wide('Nominated Node', (object) => orNone(textAt(object, 'status', 'nominatedNodeName'))),
  wide('Readiness Gates', readiness),
];

function desired(object: KubeObject): number {
  const replicas = valueAt(object, 'spec', 'replicas');
  return typeof replicas === 'number' ? replicas : 1;
}

const readyOfDesired = column('Ready', (object) => `${status('readyReplicas')(object)}/${desired(object)}`);

const replicas = [
  nameColumn,
  count('Desired', desired),
  count('Current', status('replicas')),
  count('Ready', status('readyReplicas')),
  age,
  ...containersAndImages,
];

function completions(object: KubeObject): JsonValue {
  const succeeded = numberAt(object, 'status', 'succeeded');
  const wanted = valueAt(object, 'spec', 'completions');
  if (typeof wanted === 'number') return `${succeeded}/${wanted}`;
  const parallelism = numberAt(object, 'spec', 'parallelism');
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function jobStatus(object: KubeObject): JsonValue {
  if (conditionStatus(object, 'Complete') === 'True') return 'Complete';
  if (conditionStatus(object, 'Failed') === 'True') return 'Failed';
  if (object.metadata.deletionTimestamp !== undefined) return 'Terminating';
  return conditionStatus(object, 'Suspended') === 'True' ? 'Suspended' : 'Running';
}

function duration(object: KubeObject, nowMs: number): JsonValue {
  const start = textAt(object, 'status', 'startTime');
  if (start === undefined) return '';
  const end = textAt(object, 'status', 'completionTime');
  return humanDuration((end === undefined ? nowMs : Date.parse(end)) - Date.parse(start));
}

/** By `group/kind`. */
export const workloadColumns: readonly (readonly [string, readonly Column[]])[] = [
  ['/Pod', pod],
  ['/ReplicationController', [...replicas, plainSelector]],
  ['apps/ReplicaSet', [...replicas, selector]],
  [
    'apps/Deployment',
    [
      nameColumn,
      readyOfDesired,
      count('Up-to-date', status('updatedReplicas')),
      count('Available', status('availableReplicas')),
      age,
      ...containersAndImages,
      selector,
    ],
  ],
  ['apps/StatefulSet', [nameColumn, readyOfDesired, age, ...containersAndImages]],
  [
    'apps/DaemonSet',
    [
      nameColumn,
      count('Desired', status('desiredNumberScheduled')),
      count('Current', status('currentNumberScheduled')),
      count('Ready', status('numberReady')),
      count('Up-to-date', status('updatedNumberScheduled')),
      count('Available', status('numberAvailable')),
      column('Node Selector', (object) => pairs(valueAt(object, 'spec', 'template', 'spec', 'nodeSelector'))),
      age,
      ...containersAndImages,
      selector,
    ],
  ],
  [
    'batch/Job',
    [
      nameColumn,
      column('Status', jobStatus),
      column('Completions', completions),
      column('Duration', duration),
      age,
      ...containersAndImages,
      selector,
    ],
  ],
  [
    'batch/CronJob',
    [
      nameColumn,
      text('Schedule', 'spec', 'schedule'),
      column('Timezone', (object) => orNone(textAt(object, 'spec', 'timeZone'))),
      column('Suspend', (object) => (valueAt(object, 'spec', 'suspend') === true ? 'True' : 'False')),
      count('Active', (object) => listAt(object, 'status', 'active').length),
      column('Last Schedule', (object, nowMs) => {
        const last = textAt(object, 'status', 'lastScheduleTime');
        return last === undefined ? '<none>' : ageOf(last, nowMs);
      }),
      age,
    ],
  ],
  [
    'policy/PodDisruptionBudget',
    [
      nameColumn,
      column('Min Available', (object) => String(valueAt(object, 'spec', 'minAvailable') ?? 'N/A')),
      column('Max Unavailable', (object) => String(valueAt(object, 'spec', 'maxUnavailable') ?? 'N/A')),
      count('Allowed Disruptions', status('disruptionsAllowed')),
      age,
    ],
  ],
  [
    'discovery.k8s.io/EndpointSlice',
    [
      nameColumn,
      text('AddressType', 'addressType'),
      column('Ports', (object) =>
        joined(listAt(object, 'ports').map((port) => String(valueAt(port, 'port') ?? '*'))),
      ),
      column('Endpoints', (object) =>
        joined(listAt(object, 'endpoints').flatMap((endpoint) => listAt(endpoint, 'addresses').map(String))),
      ),
      age,
    ],
  ],
];
