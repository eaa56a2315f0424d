/**
 * How many ended containers are kept, beyond what each pod keeps of its own. One that tells how its container ended
 * last is never removed while its pod is there: from it the pod knows what to do next.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { removeContainer } from '../container/container-logs.ts';
import { type Container, RuntimeError, type RuntimeService } from '../runtime/runtime-service.ts';
import { goRounds } from './rounds.ts';

export interface ContainerGcOptions {
  /** Of all pods together; negative: as many as there are. */
  readonly max: number;
  readonly ageMinMs: number;
}

export interface ContainerGcParts {
  readonly runtime: Pick<RuntimeService, 'listContainers' | 'containerStatus' | 'removeContainer'>;
  readonly clock: Clock;
  readonly log: Log;
}

const everyMs = 60_000;

export class ContainerGc {
  readonly #options: ContainerGcOptions;
  readonly #with: ContainerGcParts;

  constructor(options: ContainerGcOptions, parts: ContainerGcParts) {
    this.#options = options;
    this.#with = parts;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { max, ageMinMs } = this.#options;
    const look = async () => {
      if (max >= 0) await this.collect(max, ageMinMs);
      return false;
    };
    await goRounds({ everyMs, look, fault: 'cannot look after ended containers' }, this.#with, signal);
  }

  /** Removes all that nothing needs: the disk is short. */
  freeAll(): Promise<void> {
    return this.collect(0, 0);
  }

  async collect(max: number, ageMinMs: number): Promise<void> {
    const { runtime, clock, log } = this.#with;
    const chosen = spareContainers(await runtime.listContainers(), { max, ageMinMs }, clock.now());
    for (const { id, name, podUid } of chosen) {
      try {
        await removeContainer(runtime, id);
        log.info({ container: name, podUid }, 'an ended container is removed');
      } catch (error) {
        if (!(error instanceof RuntimeError)) throw error;
        log.warn({ why: error.message }, 'cannot remove an ended container');
      }
    }
  }
}

/** The oldest of those that have a later one of their name, as many as are too many. */
export function spareContainers(
  containers: readonly Container[],
  { max, ageMinMs }: ContainerGcOptions,
  nowMs: number,
): readonly Container[] {
  const dead = containers.filter((it) => it.state === 'exited' || it.state === 'unknown');
  const spare = dead
    .filter((it) => nowMs - it.createdAtMs >= ageMinMs)
    .filter((it) =>
      containers.some(
        (other) => other.podUid === it.podUid && other.name === it.name && other.attempt > it.attempt,
      ),
    )
    .sort((a, b) => a.createdAtMs - b.createdAtMs);
  return spare.slice(0, Math.max(0, dead.length - max));
}
