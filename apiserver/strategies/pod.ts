/** Pods: defaults, first state, what may change later. */

import { mirrorAnnotation } from '#protocol/names.ts';
import {
  cloneJson,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  type KubeObject,
  listAt,
  objectIn,
  objectsAt,
  setDefault,
  textAt,
  valueAt,
} from '../kube-object.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import type { StatusCause } from '../status-error.ts';
import { isLabelName } from './metadata.ts';
import { defaultPodSpec } from './pod-defaults.ts';
import { forbidden, required, type Strategy, unsupported, wrong } from './strategy.ts';

/** A pod leaves a node that is not ready or not reachable after this time, unless it says otherwise. */
const evictAfterSeconds = 300;

export const podStrategy: Strategy = {
  defaults(draft) {
    const spec = objectIn(draft, 'spec');
    defaultPodSpec(spec);
    setDefault(spec, 'enableServiceLinks', true);
    // A mirror pod runs from a file at its node, without any rights here.
    if (valueAt(draft, 'metadata', 'annotations', mirrorAnnotation) === undefined) {
      setDefault(spec, 'serviceAccountName', 'default');
      setDefault(spec, 'serviceAccount', spec.serviceAccountName ?? 'default');
    }
    setDefault(spec, 'priority', 0);
    setDefault(spec, 'preemptionPolicy', 'PreemptLowerPriority');
    tolerateLostNode(spec);
  },

  created(draft) {
    draft.status = { phase: 'Pending', qosClass: qosClass(draft) };
  },

  validate(draft) {
    return validatePodSpec(valueAt(draft, 'spec'), 'spec');
  },

  validateUpdate(draft, current) {
    const changeable = withoutChangeable(draft);
    if (jsonEqual(changeable, withoutChangeable(current)) && tolerationsOnlyGrew(draft, current)) return [];
    return [
      forbidden(
        'spec',
        'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
      ),
    ];
  },
};

function tolerateLostNode(spec: JsonObject): void {
  const tolerations = [...listAt(spec, 'tolerations')];
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    const covered = tolerations.some((each) => {
      const effect = textAt(each, 'effect');
      const named = textAt(each, 'key');
      return (named === key || named === undefined) && (effect === undefined || effect === 'NoExecute');
    });
    if (!covered) {
      tolerations.push({
        key,
        operator: 'Exists',
        effect: 'NoExecute',
        tolerationSeconds: evictAfterSeconds,
      });
    }
  }
  spec.tolerations = tolerations;
}

function withoutChangeable(pod: KubeObject): JsonObject {
  const spec = valueAt(pod, 'spec');
  if (!isJsonObject(spec)) return {};
  const rest = cloneJson(spec);
  delete rest.activeDeadlineSeconds;
  delete rest.tolerations;
  for (const list of ['initContainers', 'containers']) {
    for (const container of objectsAt(rest, list)) delete container.image;
  }
  if (Number(rest.terminationGracePeriodSeconds) < 0) rest.terminationGracePeriodSeconds = 1;
  return rest;
}

/** How long one is tolerated may change. */
function tolerationsOnlyGrew(draft: KubeObject, current: KubeObject): boolean {
  const idOf = (toleration: JsonValue) =>
    JSON.stringify(['key', 'operator', 'value', 'effect'].map((name) => valueAt(toleration, name) ?? ''));
  const now = new Set(listAt(draft, 'spec', 'tolerations').map(idOf));
  return listAt(current, 'spec', 'tolerations').every((old) => now.has(idOf(old)));
}

/** Guaranteed, Burstable or BestEffort, from the cpu and memory of all containers. */
function qosClass(pod: KubeObject): string {
  let anything = false;
  let guaranteed = true;
  for (const container of [
    ...objectsAt(pod, 'spec', 'initContainers'),
    ...objectsAt(pod, 'spec', 'containers'),
  ]) {
    for (const name of ['cpu', 'memory']) {
      const request = valueAt(container, 'resources', 'requests', name);
      const limit = valueAt(container, 'resources', 'limits', name);
      if (request !== undefined || limit !== undefined) anything = true;
      if (limit === undefined || (request !== undefined && String(request) !== String(limit)))
        guaranteed = false;
    }
  }
  return !anything ? 'BestEffort' : guaranteed ? 'Guaranteed' : 'Burstable';
}

const restartPolicies = ['Always', 'OnFailure', 'Never'];

export function validatePodSpec(spec: unknown, at: string): StatusCause[] {
  const causes: StatusCause[] = [];
  if (listAt(spec, 'containers').length === 0) causes.push(required(`${at}.containers`));
  const policy = textAt(spec, 'restartPolicy');
  if (policy !== undefined && !restartPolicies.includes(policy)) {
    causes.push(unsupported(`${at}.restartPolicy`, policy, restartPolicies));
  }
  const names = new Set<string>();
  for (const list of ['initContainers', 'containers']) {
    for (const [i, container] of listAt(spec, list).entries()) {
      causes.push(...validateContainer(container, `${at}.${list}[${i}]`, names));
    }
  }
  causes.push(...validateVolumes(spec, at));
  return causes;
}

function validateContainer(container: unknown, at: string, names: Set<string>): StatusCause[] {
  const causes: StatusCause[] = [];
  const name = textAt(container, 'name') ?? '';
  if (name === '') causes.push(required(`${at}.name`));
  else if (!isLabelName(name))
    causes.push(wrong(`${at}.name`, name, 'a lowercase RFC 1123 label is expected'));
  else if (names.has(name)) causes.push(duplicate(`${at}.name`, name));
  names.add(name);
  if ((textAt(container, 'image') ?? '').trim() === '') causes.push(required(`${at}.image`));
  for (const [i, port] of listAt(container, 'ports').entries()) {
    const number = Number(valueAt(port, 'containerPort'));
    if (!Number.isInteger(number) || number < 1 || number > 65_535) {
      causes.push(wrong(`${at}.ports[${i}].containerPort`, number, 'must be between 1 and 65535, inclusive'));
    }
  }
  for (const [i, variable] of listAt(container, 'env').entries()) {
    if ((textAt(variable, 'name') ?? '') === '') causes.push(required(`${at}.env[${i}].name`));
  }
  return causes;
}

function validateVolumes(spec: unknown, at: string): StatusCause[] {
  const causes: StatusCause[] = [];
  const volumes = new Set<string>();
  for (const [i, volume] of listAt(spec, 'volumes').entries()) {
    const name = textAt(volume, 'name') ?? '';
    if (!isLabelName(name))
      causes.push(wrong(`${at}.volumes[${i}].name`, name, 'a lowercase RFC 1123 label is expected'));
    else if (volumes.has(name)) causes.push(duplicate(`${at}.volumes[${i}].name`, name));
    volumes.add(name);
  }
  for (const list of ['initContainers', 'containers']) {
    for (const [i, container] of listAt(spec, list).entries()) {
      for (const [j, mount] of listAt(container, 'volumeMounts').entries()) {
        const field = `${at}.${list}[${i}].volumeMounts[${j}]`;
        const name = textAt(mount, 'name') ?? '';
        if (!volumes.has(name)) {
          causes.push({
            reason: 'FieldValueNotFound',
            message: `Not found: "${name}"`,
            field: `${field}.name`,
          });
        }
        if ((textAt(mount, 'mountPath') ?? '') === '') causes.push(required(`${field}.mountPath`));
      }
    }
  }
  return causes;
}

function duplicate(field: string, value: string): StatusCause {
  return { reason: 'FieldValueDuplicate', message: `Duplicate value: "${value}"`, field };
}
