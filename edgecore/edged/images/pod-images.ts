/**
 * The images of one pod: what its pull policy asks for, with the reasons that people know from `kubectl describe`.
 * Pulling goes on beside the pod's rounds; the pod is woken when it has ended.
 */

import type { Clock } from '#beehive/clock.ts';
import { CancelledError, describeError, HawserError } from '#protocol/errors.ts';
import type { ClusterObjects } from '../cluster-objects.ts';
import type { EventRecorder } from '../events.ts';
import type { Pod, PodContainer } from '../pod/pod.ts';
import type { PullAuth, RuntimeService } from '../runtime/runtime-service.ts';
import { defaultPullPolicy, fullImageName, type ImageName, parseImageName } from './image-name.ts';
import type { ImagePulls } from './image-pulls.ts';
import { pullCredentials } from './pull-secrets.ts';

/** A container cannot start for want of its image. */
export class ImageError extends HawserError<{
  code: 'image';
  reason: 'ErrImagePull' | 'ErrImageNeverPull' | 'InvalidImageName';
}> {}

export interface PodImagesParts {
  readonly runtime: Pick<RuntimeService, 'imageStatus'>;
  readonly pulls: ImagePulls;
  readonly objects: ClusterObjects;
  readonly events: EventRecorder;
  readonly clock: Clock;
}

/** What a runtime says when nobody is there, rather than that the registry refused. */
const unreachable =
  /dial (tcp|udp)|no such host|i\/o timeout|connection (refused|reset)|network is (unreachable|down)|no route to host|TLS handshake timeout|deadline exceeded|temporary failure in name resolution|\bEOF\b/i;

export class PodImages {
  readonly #parts: PodImagesParts;
  readonly #wake: () => void;
  readonly #signal: AbortSignal;
  readonly #pulling = new Set<string>();
  readonly #ended = new Map<
    string,
    { readonly attempt: number; readonly id?: string; readonly error?: unknown }
  >();

  /** `signal`: the pod ends, nothing is pulled for it any more. */
  constructor(parts: PodImagesParts, wake: () => void, signal: AbortSignal) {
    this.#parts = parts;
    this.#wake = wake;
    this.#signal = signal;
  }

  /** What to start the container from; undefined while it is being pulled. @throws ImageError */
  async obtain(pod: Pod, container: PodContainer, attempt: number): Promise<string | undefined> {
    const { name, image } = container;
    if (this.#pulling.has(name)) return undefined;
    const ended = this.#ended.get(name);
    this.#ended.delete(name);
    if (ended?.attempt === attempt) {
      if (ended.error !== undefined) throw ended.error;
      if (ended.id !== undefined) return ended.id;
    }
    const parsed = parseImageName(image);
    if (parsed === undefined) {
      const why = `Failed to apply default image tag "${image}": couldn't parse image name "${image}": invalid reference format`;
      throw new ImageError(why, { code: 'image', reason: 'InvalidImageName' });
    }
    const policy = container.imagePullPolicy ?? defaultPullPolicy(parsed);
    const present = await this.#present(parsed);
    if (policy !== 'Always' && present !== undefined) {
      this.#say(pod, container, 'Pulled', `Container image "${image}" already present on machine`);
      return present;
    }
    if (policy === 'Never') {
      const why = `Container image "${image}" is not present with pull policy of Never`;
      throw new ImageError(why, { code: 'image', reason: 'ErrImageNeverPull' });
    }
    this.#begin(pod, container, attempt, parsed);
    return undefined;
  }

  #begin(pod: Pod, container: PodContainer, attempt: number, parsed: ImageName): void {
    const { name } = container;
    this.#pulling.add(name);
    void this.#pull(pod, container, parsed)
      .then(
        (id) => this.#ended.set(name, { attempt, id }),
        (error: unknown) => {
          if (!(error instanceof CancelledError)) this.#ended.set(name, { attempt, error });
        },
      )
      .finally(() => {
        this.#pulling.delete(name);
        this.#wake();
      });
  }

  async #pull(pod: Pod, container: PodContainer, parsed: ImageName): Promise<string> {
    const { clock, objects } = this.#parts;
    const { image } = container;
    this.#say(pod, container, 'Pulling', `Pulling image "${image}"`);
    const startedMs = clock.monotonicMs();
    try {
      const credentials = await pullCredentials(pod, parsed, objects);
      const id = await this.#pullWith(fullImageName(parsed), credentials);
      const seconds = ((clock.monotonicMs() - startedMs) / 1000).toFixed(3);
      this.#say(pod, container, 'Pulled', `Successfully pulled image "${image}" in ${seconds}s`);
      return id;
    } catch (error) {
      if (error instanceof CancelledError) throw error;
      const why = describeError(error);
      const present = unreachable.test(why) ? await this.#present(parsed) : undefined;
      if (present !== undefined) {
        // Always means "ask whether there is a newer one"; a cut link must not stop what is here from running.
        const said = `Container image "${image}" already present on machine, and its registry cannot be reached: ${why}`;
        this.#say(pod, container, 'Pulled', said);
        return present;
      }
      throw new ImageError(
        `Failed to pull image "${image}": ${why}`,
        { code: 'image', reason: 'ErrImagePull' },
        { retry: 'backoff', cause: error },
      );
    }
  }

  /** With each of the credentials in turn, with none where there are none. */
  async #pullWith(image: string, credentials: readonly PullAuth[]): Promise<string> {
    const [first, ...more] = credentials;
    try {
      return await this.#parts.pulls.pull(image, first, this.#signal);
    } catch (error) {
      if (error instanceof CancelledError || more.length === 0) throw error;
      return await this.#pullWith(image, more);
    }
  }

  async #present(parsed: ImageName): Promise<string | undefined> {
    return (await this.#parts.runtime.imageStatus(fullImageName(parsed)))?.id;
  }

  #say(pod: Pod, { name }: PodContainer, reason: string, message: string): void {
    this.#parts.events.pod(pod, 'Normal', reason, message, name);
  }
}
