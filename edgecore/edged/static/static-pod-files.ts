/**
 * The folder of static pods, read once: each file holds one Pod, as YAML or JSON, and becomes what the kubelet makes
 * of it: the name with the node's behind it, a uid from its content, the annotations of its source. A file that
 * cannot be used says why and harms no other.
 *
 * Who may write such a file may start a pod. Access to the machine itself (its network, processes, paths, devices) is
 * given only to files that nobody but root, or the user of edgecore, could have written.
 */

import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseYaml } from '#beehive/yaml.ts';
import { describeError, HawserError } from '#protocol/errors.ts';
import { staticPodLimits } from '#protocol/limits.ts';
import { mirrorAnnotation } from '#protocol/names.ts';
import { type Pod, podKey, podSchema } from '../pod/pod.ts';
import { references } from '../pod/references.ts';

export const configAnnotation = {
  source: 'kubernetes.io/config.source',
  hash: 'kubernetes.io/config.hash',
  mirror: mirrorAnnotation,
} as const;

/** It comes from a file of this machine, which no object of the API can claim of itself: those have no such uid. */
export function isStatic(pod: Pod): boolean {
  return pod.metadata.annotations?.[configAnnotation.hash] === pod.metadata.uid;
}

export interface StaticPodOptions {
  readonly directory: string;
  readonly nodeName: string;
  /** Containers are isolated from the machine; else every pod has access to it. */
  readonly isolated: boolean;
}

export interface StaticFolder {
  /** By the name of the file. */
  readonly pods: ReadonlyMap<string, Pod>;
  readonly faults: ReadonlyMap<string, string>;
}

/** This file is no static pod; the message says why and what to do. */
class StaticPodError extends HawserError<{ code: 'static-pod'; file: string }> {}

const empty: StaticFolder = { pods: new Map(), faults: new Map() };

/** No folder means no static pods. @throws Error of the file system when the folder cannot be read. */
export async function readStaticPods(options: StaticPodOptions): Promise<StaticFolder> {
  const { directory } = options;
  const folder = await stat(directory).catch(unlessMissing);
  if (folder === undefined) return empty;
  const names = (await readdir(directory)).filter((name) => !name.startsWith('.')).sort();
  const pods = new Map<string, Pod>();
  const faults = new Map<string, string>();
  const fileOf = new Map<string, string>();
  for (const name of names) {
    try {
      if (pods.size >= staticPodLimits.filesMax)
        throw fault(name, `there are ${staticPodLimits.filesMax} static pods already, more are not read`);
      const pod = await readOne(name, folder, options);
      if (pod === undefined) continue;
      const other = fileOf.get(podKey(pod));
      if (other !== undefined)
        throw fault(name, `${podKey(pod)} is in the file ${other} already; give this one another name`);
      fileOf.set(podKey(pod), name);
      pods.set(name, pod);
    } catch (error) {
      faults.set(name, describeError(error));
    }
  }
  return { pods, faults };
}

/** Undefined for what is no file, and for one that has gone meanwhile. */
async function readOne(name: string, folder: Stats, options: StaticPodOptions): Promise<Pod | undefined> {
  const path = join(options.directory, name);
  const file = await open(path).catch(unlessMissing);
  if (file === undefined) return undefined;
  try {
    const found = await file.stat();
    if (found.isDirectory()) return undefined;
    if (!found.isFile()) throw fault(name, 'it is no regular file');
    const { fileBytesMax } = staticPodLimits;
    if (found.size > fileBytesMax)
      throw fault(name, `it is larger than ${fileBytesMax} bytes, the most a static pod may have`);
    const pod = staticPod(name, await file.readFile('utf8'), options);
    const wanted = machineAccess(pod, options.isolated);
    const doubt = doubtOf(found) ?? (doubtOf(folder) && `the folder ${options.directory} ${doubtOf(folder)}`);
    if (wanted !== undefined && doubt !== undefined) {
      const why = doubtOf(found) === undefined ? doubt : `it ${doubt}`;
      throw fault(
        name,
        `its pod has ${wanted}, which only a file gives that nobody else could have written, and ${why}: chown root and chmod go-w, or leave that out`,
      );
    }
    return pod;
  } finally {
    await file.close();
  }
}

/** @throws StaticPodError */
export function staticPod(
  file: string,
  text: string,
  { directory, nodeName }: Pick<StaticPodOptions, 'directory' | 'nodeName'>,
): Pod {
  const read = readText(file, text);
  const { kind, apiVersion } = read;
  if (kind !== 'Pod' || apiVersion !== 'v1')
    throw fault(file, `it holds ${String(apiVersion)} ${String(kind)}; a static pod is a v1 Pod`);
  const uid = createHash('sha256')
    .update(JSON.stringify([nodeName, join(directory, file), read]))
    .digest('hex')
    .slice(0, 32);
  const metadata = isRecord(read.metadata) ? read.metadata : {};
  const spec = isRecord(read.spec) ? read.spec : {};
  const parsed = podSchema.safeParse({
    ...read,
    metadata: {
      ...metadata,
      name: `${String(metadata.name ?? '')}-${nodeName.toLowerCase()}`,
      namespace: metadata.namespace ?? 'default',
      uid,
      annotations: {
        ...(isRecord(metadata.annotations) ? metadata.annotations : {}),
        [configAnnotation.source]: 'file',
        [configAnnotation.hash]: uid,
      },
    },
    spec: { ...spec, nodeName, tolerations: [...listOf(spec.tolerations), toleratesAll] },
    status: undefined,
  });
  if (!parsed.success) {
    const issues = parsed.error.issues.slice(0, 5).map((it) => `${it.path.join('.')}: ${it.message}`);
    throw fault(file, issues.join('; '));
  }
  if (typeof metadata.name !== 'string' || metadata.name === '')
    throw fault(file, 'metadata.name is missing');
  refuseReferences(file, parsed.data);
  return parsed.data;
}

/** As the kubelet's: nothing that happens to the node evicts what its owner has put there. */
const toleratesAll = { operator: 'Exists', effect: 'NoExecute' };

function readText(file: string, text: string): Record<string, unknown> {
  let read: unknown;
  try {
    read = parseYaml(text);
  } catch (error) {
    throw fault(file, 'it is neither YAML nor JSON', error);
  }
  if (!isRecord(read)) throw fault(file, read === null ? 'it is empty' : 'it is no object');
  return read;
}

/** What the API holds may not be there when a static pod starts, and its rights are not this file's to give. */
function refuseReferences(file: string, pod: Pod): void {
  const named = [...references(pod)];
  const claim = pod.spec.volumes.find((it) => it.persistentVolumeClaim)?.persistentVolumeClaim?.claimName;
  if (claim !== undefined) named.push(`persistentvolumeclaim ${claim}`);
  for (const { name } of pod.spec.imagePullSecrets) if (name) named.push(`secret ${name}`);
  const { serviceAccountName } = pod.spec;
  if (serviceAccountName) named.push(`service account ${serviceAccountName}`);
  const token = pod.spec.volumes.some((it) => it.projected?.sources.some((part) => part.serviceAccountToken));
  if (token) named.push('a service account token');
  if (named.length > 0)
    throw fault(file, `a static pod may not refer to objects of the API, and it names ${named.join(', ')}`);
}

/** What of the machine a pod would get; undefined for one that stays in its containers. */
function machineAccess(pod: Pod, isolated: boolean): string | undefined {
  const { hostNetwork, hostPID, hostIPC, volumes, containers, initContainers } = pod.spec;
  if (!isolated) return 'processes on the machine itself (there is no container runtime)';
  if (hostNetwork) return 'hostNetwork';
  if (hostPID) return 'hostPID';
  if (hostIPC) return 'hostIPC';
  const path = volumes.find((it) => it.hostPath)?.hostPath?.path;
  if (path !== undefined) return `hostPath ${path}`;
  for (const { name, securityContext } of [...initContainers, ...containers]) {
    if (securityContext?.privileged) return `the privileged container ${name}`;
    const [capability] = securityContext?.capabilities?.add ?? [];
    if (capability !== undefined) return `the capability ${capability} in container ${name}`;
  }
  return undefined;
}

/** Why others than root and ourselves might have written it. */
function doubtOf({ uid, mode }: Stats): string | undefined {
  if (uid !== 0 && uid !== process.geteuid?.()) return `belongs to user ${uid}`;
  return (mode & 0o022) === 0 ? undefined : 'is writable by others than its owner';
}

function fault(file: string, message: string, cause?: unknown): StaticPodError {
  return new StaticPodError(message, { code: 'static-pod', file }, { cause });
}

function unlessMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
