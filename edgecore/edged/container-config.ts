/** From a container in a pod's spec to what the runtime is asked to create. */

import { join } from 'node:path';
import { expand } from './expand.ts';
import { type Pod, type PodContainer, podNamespace } from './pod.ts';
import { linuxSandbox, portMappings } from './pod-linux.ts';
import {
  annotation,
  type ContainerConfig,
  type DnsConfig,
  label,
  type Mount,
  type Sandbox,
  type SandboxConfig,
} from './runtime/runtime-service.ts';

/** What the kernel takes. */
const hostnameMax = 63;

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
  { podLogs, dns }: { readonly podLogs: string; readonly dns: DnsConfig | undefined },
): SandboxConfig {
  const { name, uid } = pod.metadata;
  return {
    podUid: uid,
    podName: name,
    podNamespace: podNamespace(pod),
    attempt,
    hostname: (pod.spec.hostname || name).slice(0, hostnameMax).replace(/[.-]+$/, ''),
    logDirectory: podLogDirectory(pod, podLogs),
    hostNetwork: pod.spec.hostNetwork ?? false,
    labels: podLabels(pod),
    annotations: {},
    dns,
    portMappings: portMappings(pod),
    linux: linuxSandbox(pod),
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
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
  };
}
