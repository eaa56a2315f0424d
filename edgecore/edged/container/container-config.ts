/** From a container in a pod's spec to what the runtime is asked to create. */

import { join } from 'node:path';
import { type Pod, type PodContainer, podNamespace } from '../pod/pod.ts';
import { podHostname } from '../pod/pod-hostname.ts';
import { linuxSandbox, portMappings } from '../pod/pod-linux.ts';
import {
  annotation,
  type ContainerConfig,
  type DnsConfig,
  label,
  type Mount,
  type Sandbox,
  type SandboxConfig,
} from '../runtime/runtime-service.ts';
import type { ContainerUser } from './container-user.ts';
import { expand } from './expand.ts';

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
  return sandboxLogDirectory({ podNamespace: podNamespace(pod), podName: name, podUid: uid }, podLogs);
}

export function sandboxLogDirectory(
  { podNamespace, podName, podUid }: Pick<Sandbox, 'podNamespace' | 'podName' | 'podUid'>,
  podLogs: string,
): string {
  return join(podLogs, `${podNamespace}_${podName}_${podUid}`);
}

export function sandboxConfig(
  pod: Pod,
  attempt: number,
  {
    podLogs,
    dns,
    clusterDomain,
  }: { readonly podLogs: string; readonly dns: DnsConfig | undefined; readonly clusterDomain: string },
): SandboxConfig {
  const { name, uid } = pod.metadata;
  return {
    podUid: uid,
    podName: name,
    podNamespace: podNamespace(pod),
    attempt,
    hostname: podHostname(pod, clusterDomain),
    logDirectory: podLogDirectory(pod, podLogs),
    hostNetwork: pod.spec.hostNetwork ?? false,
    labels: podLabels(pod),
    annotations: {},
    dns,
    portMappings: portMappings(pod),
    linux: linuxSandbox(pod),
    // Objects of that kind do not come to an edge; by convention a class has the name of its handler.
    runtimeHandler: pod.spec.runtimeClassName || undefined,
  };
}

export function containerConfig(
  pod: Pod,
  container: PodContainer,
  start: { readonly attempt: number; readonly backoffMs: number },
  {
    env,
    mounts,
    user,
  }: {
    readonly env: ReadonlyMap<string, string>;
    readonly mounts: readonly Mount[];
    readonly user: ContainerUser;
  },
): ContainerConfig {
  return {
    name: container.name,
    attempt: start.attempt,
    image: container.image,
    command: container.command.map((it) => expand(it, env)),
    args: container.args.map((it) => expand(it, env)),
    workingDir: container.workingDir || undefined,
    env,
    mounts,
    ...user,
    logPath: `${container.name}/${start.attempt}.log`,
    labels: { ...podLabels(pod), [label.containerName]: container.name },
    annotations: { [annotation.backoffMs]: String(start.backoffMs) },
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
  };
}
