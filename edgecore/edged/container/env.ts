/**
 * The environment of a container, from literals, configMaps, secrets and the pod itself, in the order the pod
 * names them: envFrom first, env after, a later name wins, and a value may use the names before it.
 */

import { HawserError } from '#protocol/errors.ts';
import type { ClusterObjects } from '../cluster-objects.ts';
import { type EnvVar, type Pod, type PodContainer, podNamespace } from '../pod/pod.ts';
import { expand } from './expand.ts';
import { fieldValue, type PodSurroundings, resourceValue } from './fields.ts';

/** What the pod refers to is missing or wrong; the container waits with this reason until it is mended. */
export class ContainerConfigError extends HawserError<{
  code: 'container-config';
  reason: 'CreateContainerConfigError';
}> {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: 'container-config', reason: 'CreateContainerConfigError' }, options);
  }
}

export async function resolveEnv(
  pod: Pod,
  container: PodContainer,
  objects: ClusterObjects,
  around: PodSurroundings,
): Promise<ReadonlyMap<string, string>> {
  const namespace = podNamespace(pod);
  const env = new Map<string, string>();
  for (const from of container.envFrom) {
    const kind = from.configMapRef ? 'configmap' : 'secret';
    const reference = from.configMapRef ?? from.secretRef;
    if (!reference) continue;
    const data = await objects.data(kind, namespace, reference.name);
    if (data === undefined) {
      if (reference.optional) continue;
      throw new ContainerConfigError(`${kind} "${reference.name}" not found`);
    }
    for (const [key, value] of data) env.set(`${from.prefix ?? ''}${key}`, value.toString('utf8'));
  }
  for (const variable of container.env) {
    const value = await variableValue(variable, pod, container, objects, around, env);
    if (value !== undefined) env.set(variable.name, value);
  }
  for (const [name, value] of env) refuseBad(name, value);
  return env;
}

/** The kernel ends a variable at a zero byte, and its name at the first sign of equality. */
function refuseBad(name: string, value: string): void {
  if (name === '' || /[=\0]/.test(name))
    throw new ContainerConfigError(`"${name.replaceAll('\0', '?')}" cannot be the name of a variable`);
  if (value.includes('\0')) throw new ContainerConfigError(`the value of variable ${name} holds a zero byte`);
}

async function variableValue(
  variable: EnvVar,
  pod: Pod,
  container: PodContainer,
  objects: ClusterObjects,
  around: PodSurroundings,
  env: ReadonlyMap<string, string>,
): Promise<string | undefined> {
  const from = variable.valueFrom;
  if (!from) return expand(variable.value ?? '', env);
  if (from.fieldRef) {
    const value = fieldValue(pod, from.fieldRef.fieldPath, around);
    if (value === undefined)
      throw new ContainerConfigError(`env ${variable.name}: no field ${from.fieldRef.fieldPath}`);
    return value;
  }
  if (from.resourceFieldRef) {
    const name = from.resourceFieldRef.containerName;
    const all = [...pod.spec.containers, ...pod.spec.initContainers];
    const target = name ? all.find((it) => it.name === name) : container;
    if (target === undefined) throw new ContainerConfigError(`container ${name} not found`);
    const value = resourceValue(target, from.resourceFieldRef, around);
    if (value === undefined)
      throw new ContainerConfigError(`env ${variable.name}: no resource ${from.resourceFieldRef.resource}`);
    return value;
  }
  const kind = from.configMapKeyRef ? 'configmap' : 'secret';
  const reference = from.configMapKeyRef ?? from.secretKeyRef;
  if (!reference) return undefined;
  const namespace = podNamespace(pod);
  const data = await objects.data(kind, namespace, reference.name);
  const value = data?.get(reference.key);
  if (value !== undefined) return value.toString('utf8');
  if (reference.optional) return undefined;
  const shown = kind === 'configmap' ? 'ConfigMap' : 'Secret';
  throw new ContainerConfigError(
    data === undefined
      ? `${kind} "${reference.name}" not found`
      : `couldn't find key ${reference.key} in ${shown} ${namespace}/${reference.name}`,
  );
}
