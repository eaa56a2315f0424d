/** From a container in a pod's spec to what the runtime is asked to create. */

import { join } from 'node:path';
import { expand } from './expand.ts';
import { type Pod, type PodContainer, podNamespace } from './pod.ts';
import {
  annotation,
  type ContainerConfig,
  label,
  type Mount,
  type SandboxConfig,
} from './runtime/runtime-service.ts';

export function podLabels(pod: Pod): Record<string, string> {
  return {
    [label.podName]: pod.metadata.name,
    [label.podNamespace]: podNamespace(pod),
    [label.podUid]: pod.metadata.uid,
  };
}

/** Where KubeEdge and the kubelet keep the logs of a pod; collectors of logs know the form. */
export function podLogDirectory(pod: Pod, podLogs: string): string {
  const { name, uid } = pod.metadata;
  return join(podLogs, `${podNamespace(pod)}_${name}_${uid}`);
}

export function sandboxConfig(pod: Pod, attempt: number, podLogs: string): SandboxConfig {
  const { name, uid } = pod.metadata;
  return {
    podUid: uid,
    podName: name,
    podNamespace: podNamespace(pod),
    attempt,
    hostname: pod.spec.hostname ?? name,
    logDirectory: podLogDirectory(pod, podLogs),
    hostNetwork: pod.spec.hostNetwork ?? false,
    labels: podLabels(pod),
    annotations: {},
  };
}

export function containerConfig(
  pod: Pod,
  container: PodContainer,
  start: { readonly attempt: number; readonly backoffMs: number },
  env: ReadonlyMap<string, string>,
  mounts: readonly Mount[],
): ContainerConfig {
  const own = container.securityContext;
  const common = pod.spec.securityContext;
  return {
    name: container.name,
    attempt: start.attempt,
    image: container.image,
    command: container.command.map((it) => expand(it, env)),
    args: container.args.map((it) => expand(it, env)),
    workingDir: container.workingDir || undefined,
    env,
    mounts,
    runAsUser: own?.runAsUser ?? common?.runAsUser ?? undefined,
    runAsGroup: own?.runAsGroup ?? common?.runAsGroup ?? undefined,
    logPath: `${container.name}/${start.attempt}.log`,
    labels: { ...podLabels(pod), [label.containerName]: container.name },
    annotations: { [annotation.backoffMs]: String(start.backoffMs) },
  };
}
