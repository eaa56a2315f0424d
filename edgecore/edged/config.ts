/** `modules.edged` of edgecore.yaml: KubeEdge's fields as far as they do something here, and a few of ours. */

import { hostname } from 'node:os';
import { z } from 'zod';
import { parseQuantity } from '#protocol/quantity.ts';
import { parseDurationMs } from './duration.ts';
import { hardDefaults, isAmount, signals } from './node/thresholds.ts';

const signal = z.enum(signals);
const duration = z
  .string()
  .refine((text) => parseDurationMs(text) !== undefined, 'must be a duration like 5m or 30s');
const amounts = z.partialRecord(
  signal,
  z.string().refine(isAmount, 'must be an amount like 100Mi, or a part like 10%'),
);
const percent = z.number().int().min(0).max(100);
const reserved = z.record(
  z.string(),
  z.string().refine((text) => parseQuantity(text) >= 0, 'must be an amount like 100m or 200Mi'),
);

const kubeletConfigSchema = z.strictObject({
  maxPods: z.number().int().positive().default(110),
  containerLogMaxSize: z.string().default('10Mi'),
  containerLogMaxFiles: z.number().int().min(2).default(5),
  nodeStatusUpdateFrequency: z.string().default('10s'),
  nodeStatusReportFrequency: z.string().default('5m'),
  nodeLeaseDurationSeconds: z.number().int().positive().default(40),
  readOnlyPort: z.number().int().min(0).max(65535).default(10350),
  containerRuntimeEndpoint: z.string().default('unix:///run/containerd/containerd.sock'),
  /** Only compared: the container runtime's own driver is used. Empty says nothing, as in files that others wrote. */
  cgroupDriver: z
    .enum(['systemd', 'cgroupfs', ''])
    .optional()
    .transform((driver) => driver || undefined),
  podLogsDir: z.string().default('/var/log/pods'),
  /** Servers for pods whose dnsPolicy is ClusterFirst; none: they get the machine's resolver. */
  clusterDNS: z.array(z.string()).default([]),
  clusterDomain: z.string().default(''),
  /** The folder of static pods; empty: none. */
  staticPodPath: z
    .string()
    .regex(/^(\/.*)?$/, 'must be an absolute path')
    .default('/etc/kubeedge/manifests'),
  /** How often that folder is read even when nothing was seen to change. */
  fileCheckFrequency: z.string().default('20s'),
  resolvConf: z.string().default('/etc/resolv.conf'),
  /** Below this a pod is evicted at once; what is given replaces all of the defaults, as for the kubelet. */
  evictionHard: amounts.default({ ...hardDefaults }),
  evictionSoft: amounts.default({}),
  evictionSoftGracePeriod: z.partialRecord(signal, duration).default({}),
  evictionMinimumReclaim: amounts.default({}),
  evictionMaxPodGracePeriod: z.number().int().min(0).default(0),
  evictionPressureTransitionPeriod: duration.default('5m'),
  imageGCHighThresholdPercent: percent.default(85),
  imageGCLowThresholdPercent: percent.default(80),
  imageMinimumGCAge: duration.default('2m'),
  /** Kept back from what pods may ask for. */
  kubeReserved: reserved.default({}),
  systemReserved: reserved.default({}),
});

const taintSchema = z.looseObject({ key: z.string(), value: z.string().optional(), effect: z.string() });

export const edgedConfigSchema = z.strictObject({
  enable: z.boolean().default(true),
  reportEvent: z.boolean().default(true),
  hostnameOverride: z.string().default(() => hostname().toLowerCase()),
  nodeIP: z.string().default(''),
  customInterfaceName: z.string().default(''),
  rootDirectory: z.string().default('/var/lib/kubelet'),
  nodeLabels: z.record(z.string(), z.string()).default({}),
  taints: z.array(taintSchema).default([]),
  registerNode: z.boolean().default(true),
  registerSchedulable: z.boolean().default(true),
  tailoredKubeletConfig: kubeletConfigSchema.prefault({}),
  /** Ended containers that are kept: of each name in a pod, and of all together (negative: any number). */
  maxPerPodContainerCount: z.number().int().default(1),
  maxContainerCount: z.number().int().default(-1),
  minimumGCAge: duration.default('0s'),
  /** Ours: `auto` takes a container runtime when its socket answers, else `process`. */
  runtime: z.enum(['auto', 'process', 'cri']).default('auto'),
});

export type EdgedConfig = z.infer<typeof edgedConfigSchema>;

const kubelet = (...names: string[]) => names.map((name) => `tailoredKubeletConfig.${name}`);

/** Fields that KubeEdge or the kubelet know and that do nothing here; relative to `modules.edged`. */
export const edgedUnusedFields: readonly string[] = [
  'registerNodeNamespace',
  'podSandboxImage',
  'containerRuntime',
  'remoteRuntimeEndpoint',
  'remoteImageEndpoint',
  'enableMetrics',
  'rootDirectoryQuota',
  ...kubelet(
    'address',
    'allowedUnsafeSysctls',
    'apiVersion',
    'authentication',
    'authorization',
    'cgroupRoot',
    'cgroupsPerQOS',
    'configMapAndSecretChangeDetectionStrategy',
    'contentType',
    'cpuCFSQuota',
    'cpuCFSQuotaPeriod',
    'cpuManagerPolicy',
    'cpuManagerReconcilePeriod',
    'enableControllerAttachDetach',
    'enableDebuggingHandlers',
    'enforceNodeAllocatable',
    'eventBurst',
    'eventRecordQPS',
    'failSwapOn',
    'featureGates',
    'hairpinMode',
    'healthzBindAddress',
    'healthzPort',
    'httpCheckFrequency',
    'imageServiceEndpoint',
    'iptablesDropBit',
    'iptablesMasqueradeBit',
    'kind',
    'kubeAPIBurst',
    'kubeAPIQPS',
    'kubeletCgroups',
    'localStorageCapacityIsolation',
    'logging',
    'makeIPTablesUtilChains',
    'maxOpenFiles',
    'maxParallelImagePulls',
    'memoryManagerPolicy',
    'memorySwap',
    'memoryThrottlingFactor',
    'oomScoreAdj',
    'podCIDR',
    'podPidsLimit',
    'podsPerCore',
    'port',
    'protectKernelDefaults',
    'registerNode',
    'registerWithTaints',
    'registryBurst',
    'registryPullQPS',
    'reservedSystemCPUs',
    'rotateCertificates',
    'runOnce',
    'runtimeRequestTimeout',
    'seccompDefault',
    'serializeImagePulls',
    'serverTLSBootstrap',
    'showHiddenMetricsForVersion',
    'shutdownGracePeriod',
    'shutdownGracePeriodCriticalPods',
    'staticPodURL',
    'staticPodURLHeader',
    'streamingConnectionIdleTimeout',
    'syncFrequency',
    'systemCgroups',
    'systemReservedCgroup',
    'tlsCertFile',
    'tlsCipherSuites',
    'tlsMinVersion',
    'tlsPrivateKeyFile',
    'topologyManagerPolicy',
    'topologyManagerScope',
    'tracing',
    'volumePluginDir',
    'volumeStatsAggPeriod',
  ),
];
