/**
 * The volumes of pods as directories below `<root>/pods/<uid>/volumes`. `prepare` makes or refreshes them all and
 * may be called at any time; `remove` deletes what is ours of them, never what a hostPath leads to, and what is
 * being prepared at that moment writes nothing any more: its answer from the cloud may come a minute later.
 */

import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { CancelledError, describeError, HawserError } from '#protocol/errors.ts';
import type { ClaimObjects, ClusterObjects } from '../cluster-objects.ts';
import { ContainerConfigError } from '../container/env.ts';
import type { PodSurroundings } from '../container/fields.ts';
import { type Pod, type PodVolume, podNamespace } from '../pod/pod.ts';
import { writeVolume } from './atomic-writer.ts';
import { claimedPlace } from './claimed-volume.ts';
import { isInMemory, makeEmptyDir } from './empty-dir.ts';
import type { MachineMounts } from './machine-mounts.ts';
import { createSecretDirectory, secretDirectories } from './secret-directory.ts';
import { renderVolume } from './volume-files.ts';

export interface PreparedVolumes {
  /** Volume name to where it is on the machine. */
  readonly paths: ReadonlyMap<string, string>;
  readonly refreshAtMs: number | undefined;
}

/** A volume cannot be set up now; in the kubelet's words. */
export class VolumeError extends HawserError<{ code: 'volume'; volume: string }> {
  constructor(volume: string, cause: unknown) {
    const why = describeError(cause);
    super(`MountVolume.SetUp failed for volume "${volume}" : ${why}`, { code: 'volume', volume }, { cause });
  }
}

export interface Volumes {
  /** @throws VolumeError; CancelledError when the pod is removed. */
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

export interface VolumesComponents {
  readonly objects: ClusterObjects & ClaimObjects;
  readonly clock: Clock;
  readonly log: Log;
  /** Where a tmpfs may be, for what must not reach the disk. */
  readonly memoryPlaces: readonly string[];
  readonly mounts: MachineMounts;
}

export function createVolumes(root: string, components: VolumesComponents): Volumes {
  const { objects, clock, log, memoryPlaces, mounts } = components;
  const podsDirectories = [root, ...secretDirectories(root, memoryPlaces)].map((at) => join(at, 'pods'));
  const secretDirectory = createSecretDirectory(root, memoryPlaces, log);
  const underway = new Set<Preparation>();
  const pathOf = (pod: Pod, volume: PodVolume) => {
    const inMemory = volume.secret || volume.projected || (isInMemory(volume) && !mounts.allowed);
    const directory = inMemory ? secretDirectory() : root;
    return join(directory, 'pods', pod.metadata.uid, 'volumes', volume.name);
  };

  async function prepareOne(
    pod: Pod,
    volume: PodVolume,
    around: PodSurroundings,
    preparation: Preparation,
  ): Promise<PreparedVolume> {
    const claim = volume.persistentVolumeClaim?.claimName;
    const place = claim ? await claimedPlace(podNamespace(pod), claim, objects) : volume.hostPath;
    if (place) {
      await checkHostPath(place.path, place.type ?? '');
      return { path: place.path, refreshAtMs: undefined };
    }
    refuseName(volume.name);
    const path = pathOf(pod, volume);
    const group = groupOf(pod);
    if (volume.emptyDir) {
      await preparation.write(() => makeEmptyDir(pod, volume, path, { mounts, group }));
      return { path, refreshAtMs: undefined };
    }
    const rendered = await renderVolume(volume, { pod, objects, around, nowMs: clock.now() });
    if (rendered === undefined) throw new ContainerConfigError('this kind of volume is not supported here');
    await preparation.write(() => writeVolume(path, rendered.files, group));
    return { path, refreshAtMs: rendered.refreshAtMs };
  }

  return {
    async prepare(pod, around) {
      const preparation = new Preparation(pod.metadata.uid);
      underway.add(preparation);
      try {
        return await prepareAll(pod, (volume) => prepareOne(pod, volume, around, preparation));
      } finally {
        underway.delete(preparation);
      }
    },
    async remove(podUid) {
      refuseName(podUid);
      const open = [...underway].filter((preparation) => preparation.podUid === podUid);
      await Promise.all(open.map((preparation) => preparation.end()));
      for (const directory of podsDirectories) {
        const mine = join(directory, podUid);
        // Deleting through a mount would delete what a hostPath or a claim leads to.
        if (mounts.allowed) await mounts.unmountBelow(mine);
        await rm(mine, { recursive: true, force: true });
      }
    },
    async present() {
      const found = await Promise.all(podsDirectories.map((directory) => readdir(directory).catch(() => [])));
      return [...new Set(found.flat())];
    },
  };
}

interface PreparedVolume {
  readonly path: string;
  readonly refreshAtMs: number | undefined;
}

async function prepareAll(
  { spec }: Pod,
  prepareOne: (volume: PodVolume) => Promise<PreparedVolume>,
): Promise<PreparedVolumes> {
  const paths = new Map<string, string>();
  let refreshAtMs: number | undefined;
  for (const volume of spec.volumes) {
    const prepared = await prepareOne(volume).catch((error: unknown) => {
      throw error instanceof CancelledError ? error : new VolumeError(volume.name, error);
    });
    paths.set(volume.name, prepared.path);
    const atMs = prepared.refreshAtMs;
    if (atMs !== undefined) refreshAtMs = Math.min(atMs, refreshAtMs ?? atMs);
  }
  return { paths, refreshAtMs };
}

async function checkHostPath(path: string, type: string): Promise<void> {
  if (!path.startsWith('/')) throw new ContainerConfigError(`hostPath ${path} is not absolute`);
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
    throw new ContainerConfigError(`hostPath type check failed: ${path} is not a ${type}`);
}

function refuseName(name: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    throw new ContainerConfigError(`"${name}" cannot name a directory`);
}

/** Only root gives files to a group that it is not in. */
function groupOf({ spec }: Pod): number | undefined {
  const group = spec.securityContext?.fsGroup;
  return typeof group === 'number' && process.geteuid?.() === 0 ? group : undefined;
}
