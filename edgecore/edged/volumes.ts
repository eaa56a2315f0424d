/**
 * The volumes of pods as directories below `<root>/pods/<uid>/volumes`. `prepare` makes or refreshes them all and
 * may be called at any time; `remove` deletes what is ours of them, never what a hostPath leads to, and what is
 * being prepared at that moment writes nothing any more: its answer from the cloud may come a minute later.
 */

import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { CancelledError } from '#protocol/errors.ts';
import { writeVolume } from './atomic-writer.ts';
import type { ClusterObjects } from './cluster-objects.ts';
import { ContainerConfigError } from './env.ts';
import type { PodSurroundings } from './fields.ts';
import type { Pod, PodContainer, PodVolume } from './pod.ts';
import type { Mount } from './runtime/runtime-service.ts';
import { createSecretDirectory, secretDirectories } from './secret-directory.ts';
import { renderVolume } from './volume-files.ts';

export interface PreparedVolumes {
  /** Volume name to where it is on the machine. */
  readonly paths: ReadonlyMap<string, string>;
  readonly refreshAtMs: number | undefined;
}

export interface Volumes {
  /** @throws ContainerConfigError, ObjectUnavailableError with what is missing; CancelledError when removed. */
  prepare(pod: Pod, around: PodSurroundings): Promise<PreparedVolumes>;
  remove(podUid: string): Promise<void>;
  /** Pods that have a directory here. */
  present(): Promise<readonly string[]>;
}

/** One call of `prepare`, for as long as it runs. */
class Preparation {
  readonly podUid: string;
  #removed = false;
  #write: Promise<unknown> = Promise.resolve();

  constructor(podUid: string) {
    this.podUid = podUid;
  }

  /** @throws CancelledError when the pod has been removed. */
  async write(work: () => Promise<unknown>): Promise<void> {
    if (this.#removed) throw new CancelledError();
    this.#write = work();
    await this.#write;
  }

  /** Resolves when nothing is written any more. */
  async end(): Promise<void> {
    this.#removed = true;
    // Who prepares hears of a failed write; here it only has to be over.
    await this.#write.catch(() => {});
  }
}

/** The volume that service-account admission adds to every pod; nobody asked for it. */
const admissionVolume = /^kube-api-access-[a-z0-9]+$/;

export interface VolumesComponents {
  readonly objects: ClusterObjects;
  readonly clock: Clock;
  readonly log: Log;
  /** Where a tmpfs may be, for what must not reach the disk. */
  readonly memoryPlaces: readonly string[];
}

export function createVolumes(root: string, components: VolumesComponents): Volumes {
  const { objects, clock, log, memoryPlaces } = components;
  const podsDirectories = [root, ...secretDirectories(root, memoryPlaces)].map((at) => join(at, 'pods'));
  const secretDirectory = createSecretDirectory(root, memoryPlaces, log);
  const underway = new Set<Preparation>();
  const pathOf = (pod: Pod, volume: PodVolume) => {
    const directory = volume.secret || volume.projected ? secretDirectory() : root;
    return join(directory, 'pods', pod.metadata.uid, 'volumes', volume.name);
  };

  async function prepareOne(
    pod: Pod,
    volume: PodVolume,
    around: PodSurroundings,
    preparation: Preparation,
  ): Promise<{ path: string; refreshAtMs: number | undefined }> {
    if (volume.hostPath) {
      await checkHostPath(volume.hostPath.path, volume.hostPath.type ?? '', volume.name);
      return { path: volume.hostPath.path, refreshAtMs: undefined };
    }
    refuseName(volume.name);
    const path = pathOf(pod, volume);
    if (volume.emptyDir) {
      await preparation.write(() => mkdir(path, { recursive: true, mode: 0o777 }));
      return { path, refreshAtMs: undefined };
    }
    const rendered = await renderVolume(volume, { pod, objects, around, nowMs: clock.now() });
    if (rendered === undefined)
      throw new ContainerConfigError(`volume ${volume.name}: this kind of volume is not supported here`);
    await preparation.write(() => writeVolume(path, rendered.files));
    return { path, refreshAtMs: rendered.refreshAtMs };
  }

  return {
    async prepare(pod, around) {
      const paths = new Map<string, string>();
      let refreshAtMs: number | undefined;
      const preparation = new Preparation(pod.metadata.uid);
      underway.add(preparation);
      try {
        for (const volume of pod.spec.volumes) {
          const prepared = await prepareOne(pod, volume, around, preparation);
          paths.set(volume.name, prepared.path);
          const atMs = prepared.refreshAtMs;
          if (atMs !== undefined) refreshAtMs = Math.min(atMs, refreshAtMs ?? atMs);
        }
      } finally {
        underway.delete(preparation);
      }
      return { paths, refreshAtMs };
    },
    async remove(podUid) {
      refuseName(podUid);
      const open = [...underway].filter((preparation) => preparation.podUid === podUid);
      await Promise.all(open.map((preparation) => preparation.end()));
      for (const directory of podsDirectories)
        await rm(join(directory, podUid), { recursive: true, force: true });
    },
    async present() {
      const found = await Promise.all(podsDirectories.map((directory) => readdir(directory).catch(() => [])));
      return [...new Set(found.flat())];
    },
  };
}

/** @throws ContainerConfigError when a mount names a volume that the pod lacks, or leaves it. */
export async function mountsOf(container: PodContainer, volumes: PreparedVolumes): Promise<readonly Mount[]> {
  const mounts: Mount[] = [];
  for (const mount of container.volumeMounts) {
    const path = volumes.paths.get(mount.name);
    if (path === undefined) throw new ContainerConfigError(`the pod has no volume ${mount.name}`);
    mounts.push({
      hostPath: mount.subPath ? await subPathOf(path, mount.subPath) : path,
      containerPath: mount.mountPath,
      readOnly: mount.readOnly ?? false,
      optional: admissionVolume.test(mount.name),
      propagation: mount.mountPropagation ?? undefined,
    });
  }
  return mounts;
}

async function subPathOf(volume: string, subPath: string): Promise<string> {
  const inner = normalize(subPath);
  if (inner.startsWith('/') || inner.split('/').includes('..'))
    throw new ContainerConfigError(`subPath "${subPath}" must not leave the volume`);
  const path = join(volume, inner);
  if ((await stat(path).catch(() => undefined)) === undefined) await mkdir(path, { recursive: true });
  return path;
}

async function checkHostPath(path: string, type: string, name: string): Promise<void> {
  if (!path.startsWith('/'))
    throw new ContainerConfigError(`volume ${name}: hostPath ${path} is not absolute`);
  if (type === 'DirectoryOrCreate') await mkdir(path, { recursive: true, mode: 0o755 });
  if (type === 'FileOrCreate') await (await open(path, 'a', 0o644)).close();
  const found = await stat(path).catch(() => undefined);
  const fits: Readonly<Record<string, boolean>> = {
    '': true,
    DirectoryOrCreate: found?.isDirectory() ?? false,
    Directory: found?.isDirectory() ?? false,
    FileOrCreate: found?.isFile() ?? false,
    File: found?.isFile() ?? false,
    Socket: found?.isSocket() ?? false,
    CharDevice: found?.isCharacterDevice() ?? false,
    BlockDevice: found?.isBlockDevice() ?? false,
  };
  if (fits[type] !== true)
    throw new ContainerConfigError(`volume ${name}: hostPath type check failed: ${path} is not a ${type}`);
}

function refuseName(name: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    throw new ContainerConfigError(`"${name}" cannot name a directory`);
}
