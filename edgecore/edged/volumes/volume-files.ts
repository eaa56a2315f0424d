/** The files of configMap, secret, downwardAPI and projected volumes, from what the pod refers to. */

import type { ClusterObjects } from '../cluster-objects.ts';
import { ContainerConfigError } from '../container/env.ts';
import { fieldValue, type PodSurroundings, resourceValue } from '../container/fields.ts';
import { type Pod, type PodVolume, podNamespace } from '../pod/pod.ts';
import type { VolumeFile, VolumeFiles } from './atomic-writer.ts';

const defaultMode = 0o644;
const tokenDefaultSeconds = 3607;
const tokenSecondsMin = 600;

export interface RenderedVolume {
  readonly files: VolumeFiles;
  /** Render again by then, for a token that ends. */
  readonly refreshAtMs: number | undefined;
}

interface KeyedSource {
  readonly items: readonly {
    readonly key: string;
    readonly path: string;
    readonly mode?: number | null | undefined;
  }[];
  readonly optional?: boolean | null | undefined;
}

type DownwardItems = NonNullable<PodVolume['downwardAPI']>['items'];

export interface RenderContext {
  readonly pod: Pod;
  readonly objects: ClusterObjects;
  readonly around: PodSurroundings;
  readonly nowMs: number;
}

/** Undefined for volumes that hold no such files. @throws ContainerConfigError, ObjectUnavailableError */
export async function renderVolume(
  volume: PodVolume,
  context: RenderContext,
): Promise<RenderedVolume | undefined> {
  const { configMap, secret, downwardAPI, projected } = volume;
  const files = new Map<string, VolumeFile>();
  if (configMap) await addKeys(files, 'configmap', configMap.name, configMap, configMap.defaultMode, context);
  else if (secret) await addKeys(files, 'secret', secret.secretName, secret, secret.defaultMode, context);
  else if (downwardAPI) addFields(files, downwardAPI.items, downwardAPI.defaultMode, context);
  else if (projected) return renderProjected(projected, context);
  else return undefined;
  return { files, refreshAtMs: undefined };
}

async function renderProjected(
  projected: NonNullable<PodVolume['projected']>,
  context: RenderContext,
): Promise<RenderedVolume> {
  const files = new Map<string, VolumeFile>();
  const mode = projected.defaultMode ?? defaultMode;
  let refreshAtMs: number | undefined;
  for (const part of projected.sources) {
    if (part.configMap) await addKeys(files, 'configmap', part.configMap.name, part.configMap, mode, context);
    if (part.secret) await addKeys(files, 'secret', part.secret.name, part.secret, mode, context);
    if (part.downwardAPI) addFields(files, part.downwardAPI.items, mode, context);
    if (part.serviceAccountToken) {
      const { pod, nowMs } = context;
      const { audience, expirationSeconds, path } = part.serviceAccountToken;
      const { token, expiresAtMs } = await context.objects.token(
        podNamespace(pod),
        pod.spec.serviceAccountName || 'default',
        {
          audience: audience || undefined,
          expirationSeconds: Math.max(tokenSecondsMin, expirationSeconds ?? tokenDefaultSeconds),
          pod: { name: pod.metadata.name, uid: pod.metadata.uid },
        },
      );
      files.set(path, { data: Buffer.from(token), ...tokenAccess(pod, mode) });
      const atMs = nowMs + Math.max(60_000, (expiresAtMs - nowMs) * 0.8);
      refreshAtMs = Math.min(atMs, refreshAtMs ?? atMs);
    }
  }
  return { files, refreshAtMs };
}

/** A token is its pod's alone, where the pod says who that is. */
function tokenAccess(pod: Pod, mode: number): Pick<VolumeFile, 'mode' | 'uid'> {
  const { securityContext: common, containers, initContainers } = pod.spec;
  const users = new Set(
    [...initContainers, ...containers].map((it) => it.securityContext?.runAsUser ?? common?.runAsUser),
  );
  const [user] = users;
  const uid = users.size === 1 && typeof user === 'number' && isRoot() ? user : undefined;
  const isPrivate = uid !== undefined || typeof common?.fsGroup === 'number';
  return { mode: isPrivate && isRoot() ? 0o600 : mode, uid };
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

async function addKeys(
  files: Map<string, VolumeFile>,
  kind: 'configmap' | 'secret',
  name: string,
  source: KeyedSource,
  mode: number | null | undefined,
  context: RenderContext,
): Promise<void> {
  const namespace = podNamespace(context.pod);
  const data = await context.objects.data(kind, namespace, name);
  if (data === undefined) {
    if (source.optional) return;
    throw new ContainerConfigError(`${kind} "${name}" not found`);
  }
  if (source.items.length === 0) {
    for (const [key, value] of data) files.set(key, { data: value, mode: mode ?? defaultMode });
    return;
  }
  for (const item of source.items) {
    const value = data.get(item.key);
    if (value !== undefined) files.set(item.path, { data: value, mode: item.mode ?? mode ?? defaultMode });
    else if (!source.optional)
      throw new ContainerConfigError(`${kind} references non-existent config key: ${item.key}`);
  }
}

function addFields(
  files: Map<string, VolumeFile>,
  items: DownwardItems,
  mode: number | null | undefined,
  { pod, around }: RenderContext,
): void {
  for (const item of items) {
    const value = item.fieldRef
      ? fieldValue(pod, item.fieldRef.fieldPath, around)
      : valueOfResource(pod, item.resourceFieldRef, around);
    if (value === undefined) throw new ContainerConfigError(`downwardAPI file ${item.path}: no such field`);
    files.set(item.path, { data: Buffer.from(value), mode: item.mode ?? mode ?? defaultMode });
  }
}

function valueOfResource(
  pod: Pod,
  reference: DownwardItems[number]['resourceFieldRef'],
  around: PodSurroundings,
): string | undefined {
  const all = [...pod.spec.containers, ...pod.spec.initContainers];
  const container = all.find((it) => it.name === reference?.containerName);
  return reference && container ? resourceValue(container, reference, around) : undefined;
}
