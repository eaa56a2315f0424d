/** Deployments and their kin: defaults of the workload and of its pod template. */

import {
  isJsonObject,
  type JsonObject,
  type KubeObject,
  objectIn,
  setDefault,
  valueAt,
} from '../kube-object.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import { fromSelectorObject } from '../selectors/label-selector.ts';
import type { StatusCause } from '../status-error.ts';
import { validatePodSpec } from './pod.ts';
import { defaultPodSpec } from './pod-defaults.ts';
import { required, type Strategy, wrong } from './strategy.ts';

function workload(fill: (spec: JsonObject) => void, selected = true): Strategy {
  return {
    generation: true,
    defaults(draft) {
      const spec = objectIn(draft, 'spec');
      fill(spec);
      const template = objectIn(spec, 'template');
      defaultPodSpec(objectIn(template, 'spec'));
    },
    validate: (draft) => [
      ...(selected ? validateSelector(draft) : []),
      ...validatePodSpec(valueAt(draft, 'spec', 'template', 'spec'), 'spec.template.spec'),
    ],
    validateUpdate: (draft, current) =>
      selected && !jsonEqual(valueAt(draft, 'spec', 'selector'), valueAt(current, 'spec', 'selector'))
        ? [wrong('spec.selector', valueAt(draft, 'spec', 'selector'), 'field is immutable')]
        : [],
  };
}

function validateSelector(draft: KubeObject): StatusCause[] {
  const selector = valueAt(draft, 'spec', 'selector');
  if (!isJsonObject(selector) || Object.keys(selector).length === 0) return [required('spec.selector')];
  const labels = valueAt(draft, 'spec', 'template', 'metadata', 'labels');
  // Labels were checked to be texts where the object was decoded.
  const texts = isJsonObject(labels) ? (labels as Record<string, string>) : undefined;
  return fromSelectorObject(selector)(texts)
    ? []
    : [wrong('spec.template.metadata.labels', labels ?? {}, '`selector` does not match template `labels`')];
}

export const deploymentStrategy = workload((spec) => {
  setDefault(spec, 'replicas', 1);
  setDefault(spec, 'revisionHistoryLimit', 10);
  setDefault(spec, 'progressDeadlineSeconds', 600);
  const strategy = objectIn(spec, 'strategy');
  setDefault(strategy, 'type', 'RollingUpdate');
  if (strategy.type === 'RollingUpdate') {
    const rolling = objectIn(strategy, 'rollingUpdate');
    setDefault(rolling, 'maxSurge', '25%');
    setDefault(rolling, 'maxUnavailable', '25%');
  }
});

export const replicaSetStrategy = workload((spec) => setDefault(spec, 'replicas', 1));

export const daemonSetStrategy = workload((spec) => {
  setDefault(spec, 'revisionHistoryLimit', 10);
  const strategy = objectIn(spec, 'updateStrategy');
  setDefault(strategy, 'type', 'RollingUpdate');
  if (strategy.type === 'RollingUpdate') {
    const rolling = objectIn(strategy, 'rollingUpdate');
    setDefault(rolling, 'maxSurge', 0);
    setDefault(rolling, 'maxUnavailable', 1);
  }
});

export const statefulSetStrategy = workload((spec) => {
  setDefault(spec, 'replicas', 1);
  setDefault(spec, 'revisionHistoryLimit', 10);
  setDefault(spec, 'podManagementPolicy', 'OrderedReady');
  setDefault(objectIn(spec, 'updateStrategy'), 'type', 'RollingUpdate');
});

export const jobStrategy = workload((spec) => {
  setDefault(spec, 'parallelism', 1);
  setDefault(spec, 'completions', 1);
  setDefault(spec, 'backoffLimit', 6);
  setDefault(spec, 'completionMode', 'NonIndexed');
  setDefault(spec, 'suspend', false);
}, false);
