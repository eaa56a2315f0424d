/**
 * Which configMaps, secrets, service accounts and claims a pod names: in volumes (also projected ones), in the
 * environment of containers, init and ephemeral containers, and for image pulls. Pure; unknown shapes name nothing.
 */

import { z } from 'zod';
import type { KubeObject } from '#protocol/resources/object.ts';

export interface PodReferences {
  readonly configMaps: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
  readonly claims: ReadonlySet<string>;
  readonly serviceAccount: string;
}

const list = <S extends z.ZodType>(item: S) => z.array(item).nullish().catch([]);
const named = z.looseObject({ name: z.string().optional() }).nullish().catch(undefined);

const source = z.looseObject({
  configMap: named,
  secret: z
    .looseObject({ name: z.string().optional(), secretName: z.string().optional() })
    .nullish()
    .catch(undefined),
});

const volume = source.extend({
  projected: z
    .looseObject({ sources: list(source) })
    .nullish()
    .catch(undefined),
  persistentVolumeClaim: z.looseObject({ claimName: z.string() }).nullish().catch(undefined),
  csi: z.looseObject({ nodePublishSecretRef: named }).nullish().catch(undefined),
});

const container = z.looseObject({
  envFrom: list(z.looseObject({ configMapRef: named, secretRef: named })),
  env: list(
    z.looseObject({
      valueFrom: z.looseObject({ configMapKeyRef: named, secretKeyRef: named }).nullish().catch(undefined),
    }),
  ),
});

const podSpec = z.looseObject({
  volumes: list(volume),
  containers: list(container),
  initContainers: list(container),
  ephemeralContainers: list(container),
  imagePullSecrets: list(z.looseObject({ name: z.string().optional() })),
  serviceAccountName: z.string().nullish().catch(undefined),
  nodeName: z.string().nullish().catch(undefined),
});

export function nodeNameOf(pod: KubeObject): string | undefined {
  const spec = podSpec.safeParse(pod.spec);
  return spec.success ? spec.data.nodeName || undefined : undefined;
}

export function referencesOf(pod: KubeObject): PodReferences {
  const configMaps = new Set<string>();
  const secrets = new Set<string>();
  const claims = new Set<string>();
  const add = (to: Set<string>, name: string | undefined) => {
    if (name) to.add(name);
  };
  const parsed = podSpec.safeParse(pod.spec);
  if (!parsed.success) return { configMaps, secrets, claims, serviceAccount: 'default' };
  const spec = parsed.data;
  for (const found of spec.volumes ?? []) {
    for (const from of [found, ...(found.projected?.sources ?? [])]) {
      add(configMaps, from.configMap?.name);
      add(secrets, from.secret?.secretName ?? from.secret?.name);
    }
    add(claims, found.persistentVolumeClaim?.claimName);
    add(secrets, found.csi?.nodePublishSecretRef?.name);
  }
  const containers = [spec.containers, spec.initContainers, spec.ephemeralContainers];
  for (const { envFrom, env } of containers.flatMap((some) => some ?? [])) {
    for (const from of envFrom ?? []) {
      add(configMaps, from.configMapRef?.name);
      add(secrets, from.secretRef?.name);
    }
    for (const { valueFrom } of env ?? []) {
      add(configMaps, valueFrom?.configMapKeyRef?.name);
      add(secrets, valueFrom?.secretKeyRef?.name);
    }
  }
  for (const { name } of spec.imagePullSecrets ?? []) add(secrets, name);
  return { configMaps, secrets, claims, serviceAccount: spec.serviceAccountName || 'default' };
}
