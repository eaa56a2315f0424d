/**
 * What a pod asks of namespaces, users, rights and cgroups, as the runtime takes it; pure. The numbers of requests
 * and limits, and of the out-of-memory score, are the kubelet's, because people tune their pods by them.
 */

import { join } from 'node:path';
import { parseQuantity } from '#protocol/quantity.ts';
import { ContainerConfigError } from '../container/env.ts';
import type {
  LinuxContainer,
  LinuxResources,
  LinuxSandbox,
  PortMapping,
  SeccompProfile,
} from '../runtime/runtime-service.ts';
import type { Pod, PodContainer } from './pod.ts';
import { qosClass } from './pod-status.ts';

const cpuPeriodUs = 100_000;
const cpuQuotaMinUs = 1000;
const cpuSharesMin = 2;
const oomOfGuaranteed = -997;
const oomMax = 1000;

export function linuxSandbox(pod: Pod): LinuxSandbox {
  const { securityContext, hostPID, hostIPC, shareProcessNamespace } = pod.spec;
  return {
    qosClass: qosClass(pod),
    hostPid: hostPID ?? false,
    hostIpc: hostIPC ?? false,
    shareProcesses: shareProcessNamespace ?? false,
    privileged: everyContainer(pod).some((it) => it.securityContext?.privileged ?? false),
    supplementalGroups: groupsOf(pod),
    sysctls: Object.fromEntries((securityContext?.sysctls ?? []).map(({ name, value }) => [name, value])),
    // A profile of its own is for the pod's containers, not for what holds its namespaces.
    seccomp: securityContext?.seccompProfile?.type === 'Unconfined' ? 'Unconfined' : 'RuntimeDefault',
  };
}

/** What of a pod's security does nothing here, so that nobody relies on it. */
export function ignoredFields(pod: Pod): readonly string[] {
  const names = ['seLinuxOptions', 'appArmorProfile', 'windowsOptions', 'procMount'];
  const of = (context: Readonly<Record<string, unknown>> | null | undefined, at: string) =>
    names.filter((name) => context?.[name] && context[name] !== 'Default').map((name) => `${at}.${name}`);
  return [
    ...of(pod.spec.securityContext, 'spec.securityContext'),
    ...everyContainer(pod).flatMap(({ name, securityContext }) =>
      of(securityContext, `container ${name} securityContext`),
    ),
  ];
}

export function portMappings(pod: Pod): readonly PortMapping[] {
  if (pod.spec.hostNetwork) return [];
  return everyContainer(pod).flatMap(({ ports }) =>
    ports.flatMap(({ containerPort, hostPort, hostIP, protocol }) =>
      hostPort
        ? [{ containerPort, hostPort, hostIp: hostIP ?? '', protocol: protocol ?? ('TCP' as const) }]
        : [],
    ),
  );
}

/** @throws ContainerConfigError for a profile that cannot be meant. */
export function linuxContainer(
  pod: Pod,
  container: PodContainer,
  memoryCapacityBytes: number,
  seccompDirectory: string,
): LinuxContainer {
  const own = container.securityContext;
  const common = pod.spec.securityContext;
  const privileged = own?.privileged ?? false;
  return {
    privileged,
    readOnlyRoot: own?.readOnlyRootFilesystem ?? false,
    noNewPrivileges: own?.allowPrivilegeEscalation === false && !privileged,
    addCapabilities: own?.capabilities?.add ?? [],
    dropCapabilities: own?.capabilities?.drop ?? [],
    supplementalGroups: groupsOf(pod),
    seccomp: seccompOf(own?.seccompProfile ?? common?.seccompProfile, seccompDirectory),
    resources: linuxResources(pod, container, memoryCapacityBytes),
  };
}

export function linuxResources(
  pod: Pod,
  { resources }: PodContainer,
  memoryCapacityBytes: number,
): LinuxResources {
  const limit = (name: string) => amount(resources?.limits?.[name]);
  const request = (name: string) => amount(resources?.requests?.[name] ?? resources?.limits?.[name]);
  const cpuLimit = limit('cpu');
  return {
    cpuPeriod: cpuPeriodUs,
    cpuQuota: cpuLimit > 0 ? Math.max(cpuQuotaMinUs, Math.round(cpuLimit * cpuPeriodUs)) : 0,
    cpuShares: Math.max(cpuSharesMin, Math.floor(request('cpu') * 1024)),
    memoryLimitBytes: Math.floor(limit('memory')),
    oomScoreAdj: oomScore(pod, request('memory'), memoryCapacityBytes),
  };
}

/** The more of the machine's memory a container asked for, the later it is killed when memory runs out. */
function oomScore(pod: Pod, requestedBytes: number, capacityBytes: number): number {
  const quality = qosClass(pod);
  if (quality === 'Guaranteed') return oomOfGuaranteed;
  if (quality === 'BestEffort') return oomMax;
  const score = oomMax - Math.floor((oomMax * requestedBytes) / Math.max(1, capacityBytes));
  return Math.min(oomMax - 1, Math.max(oomMax + oomOfGuaranteed, score));
}

function groupsOf(pod: Pod): readonly number[] {
  const { supplementalGroups, fsGroup } = pod.spec.securityContext ?? {};
  return [...(supplementalGroups ?? []), ...(typeof fsGroup === 'number' ? [fsGroup] : [])];
}

/** A profile that is not understood must not become none. */
function seccompOf(
  profile: { type: string; localhostProfile?: string | null | undefined } | null | undefined,
  directory: string,
): SeccompProfile | undefined {
  if (!profile) return undefined;
  const { type, localhostProfile: name } = profile;
  if (type === 'RuntimeDefault' || type === 'Unconfined') return type;
  if (type !== 'Localhost') throw new ContainerConfigError(`unknown seccomp profile type ${type}`);
  if (!name || name.startsWith('/') || name.split('/').includes('..'))
    throw new ContainerConfigError(`localhostProfile "${name ?? ''}" must be a path below ${directory}`);
  return { localhost: join(directory, name) };
}

function everyContainer(pod: Pod): readonly PodContainer[] {
  return [...pod.spec.initContainers, ...pod.spec.containers];
}

function amount(quantity: string | undefined): number {
  const value = quantity === undefined ? 0 : parseQuantity(quantity);
  return Number.isFinite(value) && value > 0 ? value : 0;
}
