/**
 * The mounts of one container, from its spec and the pod's volumes. A subPath is mounted from where it was found to
 * lead, below the pod's own directory, so that the runtime meets no link on its way; where this user may not mount,
 * containers are processes of the same user, and there is nothing to keep from whom.
 */

import { lstat, mkdir, readlink, rmdir, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describeError } from '#protocol/errors.ts';
import { ContainerConfigError } from '../container/env.ts';
import type { Pod, PodContainer } from '../pod/pod.ts';
import type { Mount } from '../runtime/runtime-service.ts';
import { isSame, type MachineMounts } from './machine-mounts.ts';
import { openSubPath, subPathFault } from './sub-path.ts';
import type { PreparedVolumes } from './volumes.ts';

export interface ContainerMountsParts {
  readonly mounts: MachineMounts;
  /** Directory of a pod, for what belongs to it and goes with it. */
  readonly podDirectory: (podUid: string) => string;
}

/** The volume that service-account admission adds to every pod; nobody asked for it. */
const admissionVolume = /^kube-api-access-[a-z0-9]+$/;

/** @throws ContainerConfigError when a mount names a volume that the pod lacks, or leaves it. */
export async function mountsOf(
  pod: Pod,
  container: PodContainer,
  volumes: PreparedVolumes,
  env: ReadonlyMap<string, string>,
  parts: ContainerMountsParts,
): Promise<readonly Mount[]> {
  const mounts: Mount[] = [];
  for (const [at, mount] of container.volumeMounts.entries()) {
    const path = volumes.paths.get(mount.name);
    if (path === undefined) throw new ContainerConfigError(`the pod has no volume ${mount.name}`);
    refuseMountPath(mount.mountPath);
    const subPath = mount.subPathExpr ? expanded(mount.subPathExpr, env) : (mount.subPath ?? '');
    const name = `${mount.name}/${container.name}/${at}`;
    mounts.push({
      hostPath:
        subPath === '' ? path : await subPathOf(pod, path, subPath, { mount, container, name }, parts),
      containerPath: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
      readOnly: mount.readOnly || isReadOnly(pod, mount.name),
      optional: admissionVolume.test(mount.name),
      propagation: mount.mountPropagation ?? undefined,
    });
  }
  return mounts;
}

/** A claim may be used for reading only. */
function isReadOnly(pod: Pod, volume: string): boolean {
  return pod.spec.volumes.find(({ name }) => name === volume)?.persistentVolumeClaim?.readOnly === true;
}

interface SubPathOf {
  readonly mount: { readonly name: string };
  readonly container: { readonly name: string };
  /** Below the directory of the pod's subPaths. */
  readonly name: string;
}

async function subPathOf(
  pod: Pod,
  volume: string,
  subPath: string,
  { mount, container, name }: SubPathOf,
  { mounts, podDirectory }: ContainerMountsParts,
): Promise<string> {
  const fault = subPathFault(subPath);
  if (fault !== undefined) throw new ContainerConfigError(fault);
  const what = `failed to prepare subPath for volumeMount "${mount.name}" of container "${container.name}"`;
  try {
    const opened = await openSubPath(volume, subPath);
    try {
      if (!mounts.allowed) return await readlink(`/proc/self/fd/${opened.fd}`);
      const target = join(podDirectory(pod.metadata.uid), 'volume-subpaths', name);
      if (await mounts.isMounted(target)) {
        if (await isSame(opened, target)) return target;
        await mounts.unmountBelow(target);
      }
      await makeTarget(target, (await opened.stat()).isDirectory());
      await mounts.bind(opened, target);
      return target;
    } finally {
      await opened.close();
    }
  } catch (error) {
    throw new ContainerConfigError(`${what}: ${describeError(error)}`, { cause: error });
  }
}

/** Like is mounted on like. Nothing is mounted there, and nothing but an empty place is ever deleted. */
async function makeTarget(target: string, isDirectory: boolean): Promise<void> {
  const there = await lstat(target).catch(() => undefined);
  if (there !== undefined && there.isDirectory() !== isDirectory)
    await (isDirectory ? unlink(target) : rmdir(target));
  await mkdir(isDirectory ? target : dirname(target), { recursive: true, mode: 0o750 });
  if (!isDirectory) await writeFile(target, '');
}

/** Unlike in a command, a name that is not set is a fault here: the path would be another one than was meant. */
function expanded(expression: string, env: ReadonlyMap<string, string>): string {
  return expression.replace(/\$(?:\$|\(([^()]*)\))/g, (_, name: string | undefined) => {
    if (name === undefined) return '$';
    const value = env.get(name);
    if (value === undefined)
      throw new ContainerConfigError(`missing value for "${name}" in subPathExpr ${expression}`);
    return value;
  });
}

function refuseMountPath(path: string): void {
  if (path === '' || path.includes('\0') || path.includes(':'))
    throw new ContainerConfigError(`"${path.replaceAll('\0', '?')}" cannot be a mountPath`);
}
