/**
 * Brings one container of a pod from its spec to running: image, volumes, environment, files of the pod, create,
 * start. What fails is thrown; when to try again is the worker's business.
 */

import { unlessAborted } from '#beehive/abort.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { CancelledError, describeError } from '#protocol/errors.ts';
import { parseQuantity } from '#protocol/quantity.ts';
import { type ClusterObjects, ObjectUnavailableError } from '../cluster-objects.ts';
import type { EventRecorder } from '../events.ts';
import { ImageError, type PodImages } from '../images/pod-images.ts';
import type { Step } from '../pod/plan.ts';
import type { Pod, PodContainer } from '../pod/pod.ts';
import type { PodFiles } from '../pod/pod-files.ts';
import { linuxContainer } from '../pod/pod-linux.ts';
import { type ContainerState, RuntimeError, type RuntimeService } from '../runtime/runtime-service.ts';
import { type ContainerMountsParts, mountsOf } from '../volumes/container-mounts.ts';
import { type PreparedVolumes, VolumeError, type Volumes } from '../volumes/volumes.ts';
import { containerConfig } from './container-config.ts';
import { asksImage, containerUser, type ImageUser } from './container-user.ts';
import { ContainerConfigError, resolveEnv } from './env.ts';
import type { PodSurroundings } from './fields.ts';

export interface StarterComponents extends ContainerMountsParts {
  readonly runtime: RuntimeService;
  readonly volumes: Volumes;
  readonly objects: ClusterObjects;
  readonly events: EventRecorder;
  /** Undefined where containers have no root of their own. */
  readonly files: PodFiles | undefined;
  /** Where the profiles lie that pods name. */
  readonly seccompDirectory: string;
  readonly clock: Clock;
  readonly log: Log;
}

const refreshMs = 60_000;

export class ContainerStarter {
  readonly #with: StarterComponents;
  /** Undefined where images are not used. */
  readonly #images: PodImages | undefined;
  readonly #ending: AbortSignal;
  #volumesDueMs = 0;
  #changes = 0;

  constructor(components: StarterComponents, images: PodImages | undefined, ending: AbortSignal) {
    this.#with = components;
    this.#images = images;
    this.#ending = ending;
  }

  /** Its id; undefined while the image is being pulled. @throws CancelledError when the pod ends, and why it failed */
  async start(
    pod: Pod,
    container: PodContainer,
    step: Extract<Step, { do: 'start' }>,
    around: PodSurroundings,
  ): Promise<string | undefined> {
    const { runtime, events } = this.#with;
    const { name } = container;
    if (step.createdId !== undefined) {
      await this.#prepareVolumes(pod, around);
      return this.#startCreated(pod, name, step.createdId);
    }
    const imageId = await this.#images?.obtain(pod, container, step.attempt);
    if (this.#images !== undefined && imageId === undefined) return undefined;
    const user = await this.#imageUser(pod, container, imageId);
    const config = await unlessAborted(this.#configOf(pod, container, step, around, user), this.#ending);
    const id = await runtime.createContainer(step.sandboxId, { ...config, imageId });
    events.pod(pod, 'Normal', 'Created', `Created container: ${name}`, name);
    return this.#startCreated(pod, name, id);
  }

  async #startCreated(pod: Pod, name: string, id: string): Promise<string> {
    const { runtime, events } = this.#with;
    try {
      await runtime.startContainer(id);
      events.pod(pod, 'Normal', 'Started', `Started container ${name}`, name);
    } catch (error) {
      // One that may be starting is left to the next look at the runtime. One that the runtime calls ended shows
      // why, and its restart waits like that of any other.
      if (!mayBeStarting(error) && (await this.#stateOf(id)) !== 'exited') await runtime.removeContainer(id);
      throw error;
    }
    return id;
  }

  async #stateOf(id: string): Promise<ContainerState | undefined> {
    try {
      return (await this.#with.runtime.containerStatus(id)).state;
    } catch (error) {
      if (error instanceof RuntimeError) return undefined;
      throw error;
    }
  }

  /** Without images containers run as edgecore does. */
  async #imageUser(pod: Pod, container: PodContainer, imageId: string | undefined): Promise<ImageUser> {
    if (imageId === undefined) return { uid: process.geteuid?.() };
    if (!asksImage(pod, container)) return {};
    return (await this.#with.runtime.imageStatus(imageId))?.user ?? {};
  }

  async #configOf(
    pod: Pod,
    container: PodContainer,
    step: Extract<Step, { do: 'start' }>,
    around: PodSurroundings,
    imageUser: ImageUser,
  ) {
    const { objects, files } = this.#with;
    const prepared = await this.#prepareVolumes(pod, around);
    const env = await resolveEnv(pod, container, objects, around);
    const mounts = await mountsOf(pod, container, prepared, env, this.#with);
    const user = containerUser(pod, container, imageUser);
    const config = containerConfig(pod, container, step, { env, mounts, user });
    if (files === undefined) return config;
    const memoryBytes = parseQuantity(around.allocatable.memory ?? '0') || 0;
    return {
      ...config,
      mounts: [...mounts, ...(await files.mounts(pod, container, step.attempt, around.podIp))],
      linux: linuxContainer(pod, container, memoryBytes, this.#with.seccompDirectory),
    };
  }

  async #prepareVolumes(pod: Pod, around: PodSurroundings): Promise<PreparedVolumes> {
    const { clock, volumes } = this.#with;
    this.#volumesDueMs = clock.now() + refreshMs;
    const before = this.#changes;
    const prepared = await unlessAborted(volumes.prepare(pod, around), this.#ending);
    const dueMs = Math.min(clock.now() + refreshMs, prepared.refreshAtMs ?? Number.POSITIVE_INFINITY);
    // What has changed meanwhile may have been read before it did.
    this.#volumesDueMs = this.#changes === before ? dueMs : 0;
    return prepared;
  }

  /** What the pod refers to may have changed. */
  volumesChanged(): void {
    this.#changes += 1;
    this.#volumesDueMs = 0;
  }

  /** Files of configMaps, secrets and tokens follow their source while the pod runs. */
  async refreshVolumes(pod: Pod, around: PodSurroundings): Promise<void> {
    const { clock, log } = this.#with;
    if (this.#ending.aborted || clock.now() < this.#volumesDueMs) return;
    try {
      await this.#prepareVolumes(pod, around);
    } catch (error) {
      if (error instanceof CancelledError) return;
      log.warn({ err: error }, 'volumes keep what they hold');
    }
  }
}

/** The call has ended without an answer, or is another's. */
function mayBeStarting(error: unknown): boolean {
  if (!(error instanceof RuntimeError)) return false;
  return error.code === 'starting' || error.code === 'timeout' || error.code === 'unavailable';
}

/** The kubelet's words for why a container waits, and the events that say so. */
export function explain(error: unknown): {
  readonly reason: string;
  readonly message: string;
  readonly events: readonly { readonly reason: string; readonly message: string }[];
} {
  const message = describeError(error);
  if (error instanceof ImageError) {
    const { reason } = error.detail;
    const first = { ErrImagePull: 'Failed', ErrImageNeverPull: reason, InvalidImageName: 'InspectFailed' };
    const events = [
      { reason: first[reason], message },
      { reason: 'Failed', message: `Error: ${reason}` },
    ];
    return { reason, message, events };
  }
  if (error instanceof VolumeError)
    return { reason: 'ContainerCreating', message, events: [{ reason: 'FailedMount', message }] };
  const events = [{ reason: 'Failed', message: `Error: ${message}` }];
  if (error instanceof ContainerConfigError || error instanceof ObjectUnavailableError)
    return { reason: 'CreateContainerConfigError', message, events };
  const created = error instanceof RuntimeError && error.code === 'cannot-start';
  return { reason: created ? 'RunContainerError' : 'CreateContainerError', message, events };
}
