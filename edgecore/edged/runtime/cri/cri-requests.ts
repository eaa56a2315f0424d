/** From the contract's configs to CRI's messages; pure. What a later call needs again rides along as an annotation. */

import { z } from 'zod';
import {
  type ContainerConfig,
  type LinuxContainer,
  type LinuxSandbox,
  label,
  type SandboxConfig,
  type SeccompProfile,
} from '../runtime-service.ts';
import type { Cgroups } from './cgroups.ts';

/** Ours on sandboxes and containers, never shown to callers. */
export const hidden = {
  /** The CRI config of the sandbox: CreateContainer wants it again, and we may have been restarted since. */
  sandbox: 'hawser.io/sandbox',
  /** The image as the pod names it; runtimes answer with another of its names. */
  image: 'hawser.io/image',
  /** The sandbox of a container, which the status of one does not name. */
  sandboxId: 'hawser.io/sandbox-id',
} as const;

const keptSandboxSchema = z.looseObject({
  hostname: z.string(),
  log_directory: z.string(),
  linux: z.looseObject({ cgroup_parent: z.string() }),
});
export type KeptSandbox = z.infer<typeof keptSandboxSchema>;

/** What RunPodSandbox takes, and CreateContainer again. */
export interface SandboxRequest extends KeptSandbox {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly namespace: string;
    readonly attempt: number;
  };
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export function sandboxRequest(config: SandboxConfig, instance: string, cgroups: Cgroups): SandboxRequest {
  const { podUid, podName, podNamespace, attempt, hostname, logDirectory, hostNetwork } = config;
  const linux = config.linux ?? {};
  const kept = {
    hostname: hostNetwork ? '' : hostname,
    log_directory: logDirectory,
    ...(config.dns === undefined ? {} : { dns_config: { ...config.dns } }),
    port_mappings: (config.portMappings ?? []).map((it) => ({
      protocol: it.protocol,
      container_port: it.containerPort,
      host_port: it.hostPort,
      host_ip: it.hostIp,
    })),
    linux: {
      cgroup_parent: cgroups.podParent(podUid, linux.qosClass ?? 'BestEffort'),
      sysctls: { ...linux.sysctls },
      security_context: {
        namespace_options: namespaces(hostNetwork, linux),
        privileged: linux.privileged ?? false,
        supplemental_groups: [...(linux.supplementalGroups ?? [])],
        seccomp: seccompProfile(linux.seccomp),
      },
    },
  };
  return {
    ...kept,
    metadata: { name: podName, uid: podUid, namespace: podNamespace, attempt },
    labels: { ...config.labels, [label.podUid]: podUid, [label.instance]: instance },
    annotations: { ...config.annotations, [hidden.sandbox]: JSON.stringify(kept) },
  };
}

/** Undefined for a sandbox that lacks our note, or whose note was not written by us. */
export function keptSandbox(annotations: Readonly<Record<string, string>>): KeptSandbox | undefined {
  try {
    return keptSandboxSchema.safeParse(JSON.parse(annotations[hidden.sandbox] ?? 'null')).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export interface SandboxOfContainer {
  readonly sandboxId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly kept: KeptSandbox;
}

export function containerRequest(
  config: ContainerConfig,
  sandbox: SandboxOfContainer,
  instance: string,
): object {
  const podUid = sandbox.labels[label.podUid] ?? '';
  return {
    metadata: { name: config.name, attempt: config.attempt },
    image: { image: config.imageId ?? config.image, user_specified_image: config.image },
    command: [...config.command],
    args: [...config.args],
    working_dir: config.workingDir ?? '',
    envs: [...config.env].map(([key, value]) => ({ key, value })),
    mounts: config.mounts.map((it) => ({
      container_path: it.containerPath,
      host_path: it.hostPath,
      readonly: it.readOnly,
      propagation: propagations[it.propagation ?? 'None'],
    })),
    labels: { ...config.labels, [label.podUid]: podUid, [label.instance]: instance },
    annotations: {
      ...config.annotations,
      [hidden.image]: config.image,
      [hidden.sandboxId]: sandbox.sandboxId,
    },
    log_path: config.logPath,
    stdin: config.stdin ?? false,
    stdin_once: config.stdinOnce ?? false,
    tty: config.tty ?? false,
    linux: {
      resources: resources(config.linux ?? {}),
      security_context: securityContext(config, sandbox.kept),
    },
  };
}

const propagations = {
  None: 'PROPAGATION_PRIVATE',
  HostToContainer: 'PROPAGATION_HOST_TO_CONTAINER',
  Bidirectional: 'PROPAGATION_BIDIRECTIONAL',
} as const;

/** What a container must not see of its machine unless it is privileged; the lists every runtime starts from. */
const maskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

function securityContext(config: ContainerConfig, kept: KeptSandbox): object {
  const linux = config.linux ?? {};
  const { runAsUser, runAsGroup } = config;
  const privileged = linux.privileged ?? false;
  const inherited = z
    .looseObject({ security_context: z.looseObject({ namespace_options: z.unknown() }) })
    .safeParse(kept.linux).data?.security_context.namespace_options;
  return {
    privileged,
    namespace_options: inherited,
    capabilities: {
      add_capabilities: [...(linux.addCapabilities ?? [])],
      drop_capabilities: [...(linux.dropCapabilities ?? [])],
    },
    ...(runAsUser === undefined ? {} : { run_as_user: { value: runAsUser } }),
    ...(runAsGroup === undefined || runAsUser === undefined ? {} : { run_as_group: { value: runAsGroup } }),
    readonly_rootfs: linux.readOnlyRoot ?? false,
    supplemental_groups: [...(linux.supplementalGroups ?? [])],
    no_new_privs: linux.noNewPrivileges ?? false,
    masked_paths: privileged ? [] : maskedPaths,
    readonly_paths: privileged ? [] : readonlyPaths,
    seccomp: seccompProfile(privileged ? 'Unconfined' : linux.seccomp),
  };
}

function resources({ resources: wanted }: LinuxContainer): object {
  return {
    cpu_period: wanted?.cpuPeriod ?? 0,
    cpu_quota: wanted?.cpuQuota ?? 0,
    cpu_shares: wanted?.cpuShares ?? 0,
    memory_limit_in_bytes: wanted?.memoryLimitBytes ?? 0,
    oom_score_adj: wanted?.oomScoreAdj ?? 0,
  };
}

function namespaces(hostNetwork: boolean, linux: LinuxSandbox): object {
  return {
    network: hostNetwork ? 'NODE' : 'POD',
    pid: linux.hostPid ? 'NODE' : linux.shareProcesses ? 'POD' : 'CONTAINER',
    ipc: linux.hostIpc ? 'NODE' : 'POD',
  };
}

function seccompProfile(profile: SeccompProfile | undefined): object {
  if (profile === 'RuntimeDefault') return { profile_type: 'RuntimeDefault' };
  if (profile === undefined || profile === 'Unconfined') return { profile_type: 'Unconfined' };
  return { profile_type: 'Localhost', localhost_ref: profile.localhost };
}
