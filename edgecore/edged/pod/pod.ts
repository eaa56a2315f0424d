/**
 * What edged reads of a Pod. Everything else is kept as it came and never looked at; a null list, as Go writes
 * an empty one, reads as empty.
 */

import { z } from 'zod';
import { objectMetaSchema } from '#protocol/resources/object.ts';

const list = <S extends z.ZodType>(item: S) =>
  z
    .array(item)
    .nullish()
    .transform((items) => items ?? []);

const quantity = z.union([z.string(), z.number()]).transform(String);
const quantities = z.record(z.string(), quantity).nullish();

const keyOf = z.looseObject({
  name: z.string().default(''),
  key: z.string(),
  optional: z.boolean().nullish(),
});
const fieldRefSchema = z.looseObject({ fieldPath: z.string() });
const resourceFieldRefSchema = z.looseObject({
  containerName: z.string().nullish(),
  resource: z.string(),
  divisor: quantity.nullish(),
});

export const envVarSchema = z.looseObject({
  name: z.string(),
  value: z.string().nullish(),
  valueFrom: z
    .looseObject({
      configMapKeyRef: keyOf.nullish(),
      secretKeyRef: keyOf.nullish(),
      fieldRef: fieldRefSchema.nullish(),
      resourceFieldRef: resourceFieldRefSchema.nullish(),
    })
    .nullish(),
});

const envFromSource = z.looseObject({ name: z.string().default(''), optional: z.boolean().nullish() });

export const envFromSchema = z.looseObject({
  prefix: z.string().nullish(),
  configMapRef: envFromSource.nullish(),
  secretRef: envFromSource.nullish(),
});

const integer = z.number().int();
const names = list(z.string());
const seccompSchema = z.looseObject({ type: z.string(), localhostProfile: z.string().nullish() }).nullish();

const podSecurityContextSchema = z
  .looseObject({
    runAsUser: integer.nullish(),
    runAsGroup: integer.nullish(),
    runAsNonRoot: z.boolean().nullish(),
    fsGroup: integer.nullish(),
    supplementalGroups: list(integer),
    sysctls: list(z.looseObject({ name: z.string(), value: z.string() })),
    seccompProfile: seccompSchema,
  })
  .nullish();

const securityContextSchema = z
  .looseObject({
    runAsUser: integer.nullish(),
    runAsGroup: integer.nullish(),
    runAsNonRoot: z.boolean().nullish(),
    privileged: z.boolean().nullish(),
    readOnlyRootFilesystem: z.boolean().nullish(),
    allowPrivilegeEscalation: z.boolean().nullish(),
    capabilities: z.looseObject({ add: names, drop: names }).nullish(),
    seccompProfile: seccompSchema,
  })
  .nullish();

const portReference = z.union([integer, z.string()]);
const httpGetSchema = z.looseObject({
  path: z.string().nullish(),
  port: portReference,
  host: z.string().nullish(),
  scheme: z.string().nullish(),
  httpHeaders: list(z.looseObject({ name: z.string(), value: z.string() })),
});
const tcpSocketSchema = z.looseObject({ port: portReference, host: z.string().nullish() });
const execSchema = z.looseObject({ command: names });

export const probeSchema = z.looseObject({
  exec: execSchema.nullish(),
  httpGet: httpGetSchema.nullish(),
  tcpSocket: tcpSocketSchema.nullish(),
  grpc: z.looseObject({ port: integer, service: z.string().nullish() }).nullish(),
  initialDelaySeconds: z.number().nullish(),
  timeoutSeconds: z.number().nullish(),
  periodSeconds: z.number().nullish(),
  successThreshold: z.number().nullish(),
  failureThreshold: z.number().nullish(),
  terminationGracePeriodSeconds: z.number().nullish(),
});

export const hookSchema = z.object({
  exec: execSchema.nullish(),
  httpGet: httpGetSchema.nullish(),
  tcpSocket: tcpSocketSchema.nullish(),
  sleep: z.looseObject({ seconds: z.number() }).nullish(),
});

const containerPortSchema = z.looseObject({
  name: z.string().nullish(),
  containerPort: integer,
  hostPort: integer.nullish(),
  hostIP: z.string().nullish(),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).nullish(),
});

export const containerSchema = z.looseObject({
  name: z.string(),
  image: z.string().default(''),
  command: list(z.string()),
  args: list(z.string()),
  workingDir: z.string().nullish(),
  env: list(envVarSchema),
  envFrom: list(envFromSchema),
  volumeMounts: list(
    z.looseObject({
      name: z.string(),
      mountPath: z.string(),
      readOnly: z.boolean().nullish(),
      subPath: z.string().nullish(),
      subPathExpr: z.string().nullish(),
      mountPropagation: z.enum(['None', 'HostToContainer', 'Bidirectional']).nullish(),
    }),
  ),
  ports: list(containerPortSchema),
  imagePullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).nullish(),
  livenessProbe: probeSchema.nullish(),
  readinessProbe: probeSchema.nullish(),
  startupProbe: probeSchema.nullish(),
  lifecycle: z.looseObject({ postStart: hookSchema.nullish(), preStop: hookSchema.nullish() }).nullish(),
  terminationMessagePath: z.string().nullish(),
  terminationMessagePolicy: z.string().nullish(),
  stdin: z.boolean().nullish(),
  stdinOnce: z.boolean().nullish(),
  tty: z.boolean().nullish(),
  resources: z.looseObject({ limits: quantities, requests: quantities }).nullish(),
  securityContext: securityContextSchema,
  /** On an init container, `Always` makes it a sidecar. */
  restartPolicy: z.string().nullish(),
});

const keyToPath = z.looseObject({ key: z.string(), path: z.string(), mode: z.number().nullish() });
const downwardItem = z.looseObject({
  path: z.string(),
  fieldRef: fieldRefSchema.nullish(),
  resourceFieldRef: resourceFieldRefSchema.nullish(),
  mode: z.number().nullish(),
});

const configMapSource = z.looseObject({
  name: z.string().default(''),
  items: list(keyToPath),
  optional: z.boolean().nullish(),
});

export const volumeSchema = z.looseObject({
  name: z.string(),
  emptyDir: z.looseObject({ medium: z.string().nullish(), sizeLimit: quantity.nullish() }).nullish(),
  hostPath: z.looseObject({ path: z.string(), type: z.string().nullish() }).nullish(),
  configMap: configMapSource.extend({ defaultMode: z.number().nullish() }).nullish(),
  secret: z
    .looseObject({
      secretName: z.string().default(''),
      items: list(keyToPath),
      optional: z.boolean().nullish(),
      defaultMode: z.number().nullish(),
    })
    .nullish(),
  persistentVolumeClaim: z
    .looseObject({ claimName: z.string().default(''), readOnly: z.boolean().nullish() })
    .nullish(),
  downwardAPI: z.looseObject({ items: list(downwardItem), defaultMode: z.number().nullish() }).nullish(),
  projected: z
    .looseObject({
      defaultMode: z.number().nullish(),
      sources: list(
        z.looseObject({
          configMap: configMapSource.nullish(),
          secret: configMapSource.nullish(),
          downwardAPI: z.looseObject({ items: list(downwardItem) }).nullish(),
          serviceAccountToken: z
            .looseObject({
              audience: z.string().nullish(),
              expirationSeconds: z.number().nullish(),
              path: z.string(),
            })
            .nullish(),
        }),
      ),
    })
    .nullish(),
});

/** Directories are named after pods. */
const directoryName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'cannot name a directory');

export const podSchema = z.looseObject({
  metadata: objectMetaSchema.extend({
    name: directoryName,
    namespace: directoryName.optional(),
    uid: directoryName,
  }),
  spec: z.looseObject({
    nodeName: z.string().nullish(),
    hostname: z.string().nullish(),
    subdomain: z.string().nullish(),
    setHostnameAsFQDN: z.boolean().nullish(),
    runtimeClassName: z.string().nullish(),
    hostNetwork: z.boolean().nullish(),
    hostPID: z.boolean().nullish(),
    hostIPC: z.boolean().nullish(),
    shareProcessNamespace: z.boolean().nullish(),
    hostAliases: list(z.looseObject({ ip: z.string(), hostnames: names })),
    dnsPolicy: z.string().nullish(),
    dnsConfig: z
      .looseObject({
        nameservers: names,
        searches: names,
        options: list(z.looseObject({ name: z.string(), value: z.string().nullish() })),
      })
      .nullish(),
    imagePullSecrets: list(z.looseObject({ name: z.string().nullish() })),
    serviceAccountName: z.string().nullish(),
    restartPolicy: z.enum(['Always', 'OnFailure', 'Never']).default('Always'),
    terminationGracePeriodSeconds: z.number().nullish(),
    activeDeadlineSeconds: z.number().nullish(),
    priority: z.number().nullish(),
    tolerations: list(
      z.looseObject({
        key: z.string().nullish(),
        operator: z.string().nullish(),
        value: z.string().nullish(),
        effect: z.string().nullish(),
      }),
    ),
    securityContext: podSecurityContextSchema,
    containers: z.array(containerSchema),
    initContainers: list(containerSchema),
    volumes: list(volumeSchema),
  }),
  status: z
    .looseObject({
      phase: z.string().nullish(),
      reason: z.string().nullish(),
      message: z.string().nullish(),
      startTime: z.string().nullish(),
      conditions: list(
        z.looseObject({ type: z.string(), status: z.string(), lastTransitionTime: z.string().nullish() }),
      ),
      containerStatuses: list(containerCount()),
      initContainerStatuses: list(containerCount()),
    })
    .nullish(),
});

function containerCount() {
  return z.looseObject({
    name: z.string(),
    restartCount: z.number().default(0),
    containerID: z.string().nullish(),
    ready: z.boolean().nullish(),
    started: z.boolean().nullish(),
  });
}

export type Pod = z.infer<typeof podSchema> & {
  /** Why only names were read of it: a newer API may have written what this version does not know. */
  readonly unreadable?: string;
};
export type PodContainer = z.infer<typeof containerSchema>;
export type PodVolume = z.infer<typeof volumeSchema>;
export type PodProbe = z.infer<typeof probeSchema>;
export type PodHook = z.infer<typeof hookSchema>;
export type EnvVar = z.infer<typeof envVarSchema>;

const skeletonSchema = z.looseObject({
  metadata: z.unknown().optional(),
  spec: z.looseObject({
    nodeName: z.unknown().optional(),
    terminationGracePeriodSeconds: z.number().nullish().catch(undefined),
    containers: z.array(z.looseObject({ name: z.string(), image: z.string().catch('') })).min(1),
    initContainers: list(z.looseObject({ name: z.string(), image: z.string().catch('') })).catch([]),
  }),
  status: z.unknown().optional(),
});

/** A pod whose spec is not understood comes with its names only, and why. `faults`: it is no pod at all. */
export function readPod(content: unknown): { readonly pod: Pod } | { readonly faults: readonly string[] } {
  const parsed = podSchema.safeParse(content);
  if (parsed.success) return { pod: parsed.data };
  const faults = parsed.error.issues.slice(0, 5).map((it) => `${it.path.join('.')}: ${it.message}`);
  const skeleton = skeletonSchema.safeParse(content).data;
  if (skeleton === undefined) return { faults };
  const { nodeName, terminationGracePeriodSeconds, containers, initContainers } = skeleton.spec;
  const names = (all: readonly { name: string; image: string }[]) =>
    all.map(({ name, image }) => ({ name, image }));
  const bare = podSchema.safeParse({
    metadata: skeleton.metadata,
    spec: {
      nodeName,
      terminationGracePeriodSeconds,
      containers: names(containers),
      initContainers: names(initContainers),
    },
    status: skeleton.status,
  });
  if (!bare.success) return { faults };
  const unreadable = `the spec holds what this version of edgecore does not understand: ${faults.join('; ')}`;
  return { pod: { ...bare.data, unreadable } };
}

/** As messages of the kubelet name a pod. */
export function podLabel(pod: Pod): string {
  return `${pod.metadata.name}_${podNamespace(pod)}(${pod.metadata.uid})`;
}

export function podNamespace(pod: Pod): string {
  return pod.metadata.namespace ?? 'default';
}

export function podKey(pod: Pod): string {
  return `${podNamespace(pod)}/${pod.metadata.name}`;
}

export function isSidecar(container: PodContainer): boolean {
  return container.restartPolicy === 'Always';
}

export function gracePeriodMs(pod: Pod): number {
  const seconds = pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 30;
  return Math.max(0, seconds) * 1000;
}

/** How often the container has started before, as far as the stored status knows. */
export function storedRestarts(pod: Pod, name: string): { restarts: number; ran: boolean } {
  const all = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  const found = all.find((it) => it.name === name);
  return { restarts: found?.restartCount ?? 0, ran: (found?.containerID ?? '') !== '' };
}
