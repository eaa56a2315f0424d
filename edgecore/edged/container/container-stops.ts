/**
 * The stops of one pod's containers, beside its rounds: each with its preStop hook and what is left of the grace, and
 * shortened when a later word allows less.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { EventRecorder } from '../events.ts';
import type { Step } from '../pod/plan.ts';
import type { Pod } from '../pod/pod.ts';
import type { CheckTarget } from '../probes/probe-check.ts';
import type { RuntimeService } from '../runtime/runtime-service.ts';
import type { ContainerHooks } from './container-hooks.ts';

export interface ContainerStopsParts {
  readonly runtime: Pick<RuntimeService, 'stopContainer'>;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is left for a container whose pod has used up its grace waiting for others. */
const graceMinMs = 2000;

export class ContainerStops {
  readonly #parts: ContainerStopsParts;
  readonly #hooks: ContainerHooks;
  readonly #wake: () => void;
  readonly #underway = new Map<string, number>();
  #podEndsSinceMs: number | undefined;

  constructor(parts: ContainerStopsParts, hooks: ContainerHooks, wake: () => void) {
    this.#parts = parts;
    this.#hooks = hooks;
    this.#wake = wake;
  }

  /** The grace that the pod's containers share is counted from the first call. */
  podEnds(): void {
    this.#podEndsSinceMs ??= this.#parts.clock.monotonicMs();
  }

  /** `target`: undefined for a container that the pod no longer names. */
  stop(pod: Pod, step: Extract<Step, { do: 'stop' }>, target: CheckTarget | undefined): void {
    const { containerId, name, graceMs, shared, why } = step;
    const { runtime, events, log } = this.#parts;
    const underway = this.#underway.get(containerId);
    if (underway !== undefined && underway <= graceMs) return;
    this.#underway.set(containerId, graceMs);
    if (underway === undefined)
      events.pod(pod, 'Normal', 'Killing', why || `Stopping container ${name}`, name);
    const hooked =
      target === undefined || underway !== undefined
        ? Promise.resolve(graceMs)
        : this.#hooks.preStop(pod, target, shared ? this.#leftMs(graceMs) : graceMs);
    void hooked
      .then((leftMs) => runtime.stopContainer(containerId, leftMs))
      .catch((error: unknown) => log.error({ err: error, container: name }, 'cannot stop container'))
      .finally(() => {
        this.#underway.delete(containerId);
        this.#wake();
      });
  }

  #leftMs(graceMs: number): number {
    const nowMs = this.#parts.clock.monotonicMs();
    return Math.max(Math.min(graceMs, graceMinMs), graceMs - (nowMs - (this.#podEndsSinceMs ?? nowMs)));
  }
}
