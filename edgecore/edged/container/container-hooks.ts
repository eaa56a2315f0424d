/**
 * What a container wants done right after its start and before its end. Both run beside the pod's rounds: a hook that
 * hangs delays its own container only, and an end that is due comes when the grace is over.
 */

import type { Clock } from '#beehive/clock.ts';
import type { EventRecorder } from '../events.ts';
import type { Pod, PodHook } from '../pod/pod.ts';
import type { Health } from '../probes/pod-probes.ts';
import type { ProbeResult } from '../probes/probe.ts';
import { type CheckTarget, check } from '../probes/probe-check.ts';
import type { RuntimeService } from '../runtime/runtime-service.ts';

export interface HookParts {
  readonly runtime: Pick<RuntimeService, 'execSync'>;
  readonly events: EventRecorder;
  readonly clock: Clock;
}

const postStartMaxMs = 600_000;
/** What is left for TERM however long the hook took. */
const termMinMs = 2000;

const pending: Health = { started: false, ready: false, unhealthy: undefined };

export class ContainerHooks {
  readonly #parts: HookParts;
  readonly #wake: () => void;
  readonly #afterStart = new Map<string, Health>();

  constructor(parts: HookParts, wake: () => void) {
    this.#parts = parts;
    this.#wake = wake;
  }

  postStart(pod: Pod, target: CheckTarget): void {
    const { container, containerId } = target;
    const hook = container.lifecycle?.postStart;
    if (!hook) return;
    this.#afterStart.set(containerId, pending);
    void this.#run(hook, target, postStartMaxMs).then(({ ok, message }) => {
      if (ok) this.#afterStart.delete(containerId);
      else {
        const said = `PostStartHook failed: ${message}`;
        this.#parts.events.pod(pod, 'Warning', 'FailedPostStartHook', said, container.name);
        const unhealthy = { why: 'FailedPostStartHook', graceMs: undefined };
        this.#afterStart.set(containerId, { ...pending, unhealthy });
      }
      this.#wake();
    });
  }

  /** The grace that is left when it has run. */
  async preStop(pod: Pod, target: CheckTarget, graceMs: number): Promise<number> {
    const { container } = target;
    const hook = container.lifecycle?.preStop;
    if (!hook || graceMs <= 0) return graceMs;
    const { clock, events } = this.#parts;
    const startedMs = clock.monotonicMs();
    const { ok, message } = await this.#run(hook, target, graceMs);
    if (!ok) {
      const said = `PreStopHook failed: ${message}`;
      events.pod(pod, 'Warning', 'FailedPreStopHook', said, container.name);
    }
    return Math.max(Math.min(graceMs, termMinMs), graceMs - (clock.monotonicMs() - startedMs));
  }

  /** Undefined: nothing to say about this container. */
  of(containerId: string): Health | undefined {
    return this.#afterStart.get(containerId);
  }

  /** Forgets containers that are no more. */
  keepOnly(containerIds: ReadonlySet<string>): void {
    for (const id of this.#afterStart.keys()) if (!containerIds.has(id)) this.#afterStart.delete(id);
  }

  async #run(hook: PodHook, target: CheckTarget, timeoutMs: number): Promise<ProbeResult> {
    const { clock } = this.#parts;
    if (hook.sleep) {
      await clock.sleep(Math.min(timeoutMs, hook.sleep.seconds * 1000));
      return { ok: true, message: '' };
    }
    return check(hook, target, timeoutMs, this.#parts);
  }
}
