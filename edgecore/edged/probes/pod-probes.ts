/**
 * The probes of one pod's running containers, each in a loop of its own, so that one that hangs holds up nothing:
 * neither the pod's rounds nor another probe. They go on without the cloud.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { CancelledError } from '#protocol/errors.ts';
import type { EventRecorder } from '../events.ts';
import type { Pod, PodContainer, PodProbe } from '../pod/pod.ts';
import type { RuntimeService } from '../runtime/runtime-service.ts';
import {
  judge,
  type ProbeKind,
  type ProbeSettings,
  type ProbeState,
  probeSettings,
  unprobed,
} from './probe.ts';
import { check } from './probe-check.ts';

export interface Health {
  readonly started: boolean;
  readonly ready: boolean;
  /** Set when the container is to be ended. */
  readonly unhealthy: { readonly why: string; readonly graceMs: number | undefined } | undefined;
}

export interface ProbedContainer {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly startedAtMs: number | undefined;
}

export interface PodProbesParts {
  readonly runtime: Pick<RuntimeService, 'execSync'>;
  readonly runtimeName: string;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly log: Log;
}

const healthy: Health = { started: true, ready: true, unhealthy: undefined };

interface Watch {
  readonly id: string;
  readonly stop: AbortController;
  readonly container: PodContainer;
  started: boolean;
  ready: boolean;
  unhealthy: Health['unhealthy'];
  onStarted: () => void;
}

export class PodProbes {
  readonly #parts: PodProbesParts;
  readonly #wake: () => void;
  readonly #watches = new Map<string, Watch>();
  #pod: Pod;
  #host = '';

  constructor(pod: Pod, parts: PodProbesParts, wake: () => void) {
    this.#pod = pod;
    this.#parts = parts;
    this.#wake = wake;
  }

  /** Probes what runs, and nothing else. */
  follow(pod: Pod, containers: readonly ProbedContainer[], host: string): void {
    this.#pod = pod;
    this.#host = host;
    const running = new Map(containers.filter((it) => it.state === 'running').map((it) => [it.id, it]));
    for (const [id, watch] of this.#watches) {
      if (running.has(id)) continue;
      watch.stop.abort();
      this.#watches.delete(id);
    }
    const specs = [...pod.spec.initContainers, ...pod.spec.containers];
    for (const [id, it] of running) {
      const spec = specs.find((container) => container.name === it.name);
      if (spec === undefined || this.#watches.has(id)) continue;
      if (!spec.startupProbe && !spec.livenessProbe && !spec.readinessProbe) continue;
      this.#watches.set(id, this.#begin(it, spec));
    }
  }

  of(containerId: string): Health {
    return this.#watches.get(containerId) ?? healthy;
  }

  stop(): void {
    for (const { stop } of this.#watches.values()) stop.abort();
  }

  #begin(it: ProbedContainer, container: PodContainer): Watch {
    const { startupProbe, livenessProbe, readinessProbe } = container;
    const before = this.#stored(it.id);
    let onStarted = () => {};
    const startedUp = new Promise<void>((resolve) => {
      onStarted = resolve;
    });
    const watch: Watch = {
      id: it.id,
      stop: new AbortController(),
      container,
      // A container that was ready before edgecore was restarted stays so until its probe says otherwise.
      started: !startupProbe || before?.started === true,
      ready: !readinessProbe || before?.ready === true,
      unhealthy: undefined,
      onStarted,
    };
    if (watch.started) onStarted();
    const since = it.startedAtMs ?? this.#parts.clock.now();
    if (startupProbe && !watch.started) this.#loop(watch, 'Startup', startupProbe, since, Promise.resolve());
    if (livenessProbe) this.#loop(watch, 'Liveness', livenessProbe, since, startedUp);
    if (readinessProbe) this.#loop(watch, 'Readiness', readinessProbe, since, startedUp);
    return watch;
  }

  #loop(watch: Watch, kind: ProbeKind, probe: PodProbe, sinceMs: number, gate: Promise<void>): void {
    const { signal } = watch.stop;
    const { clock, log } = this.#parts;
    const settings = probeSettings(probe);
    const run = async () => {
      await gate;
      await clock.sleep(Math.max(0, sinceMs + settings.initialDelayMs - clock.now()), signal);
      let state: ProbeState = unprobed;
      while (!signal.aborted && watch.unhealthy === undefined) {
        state = await this.#probe(watch, kind, probe, settings, state);
        if (kind === 'Startup' && watch.started) return;
        await clock.sleep(settings.periodMs, signal);
      }
    };
    run().catch((error: unknown) => {
      if (!(error instanceof CancelledError)) log.error({ err: error, kind }, 'a probe has ended');
    });
  }

  async #probe(
    watch: Watch,
    kind: ProbeKind,
    probe: PodProbe,
    settings: ProbeSettings,
    state: ProbeState,
  ): Promise<ProbeState> {
    const { events } = this.#parts;
    const { container } = watch;
    const target = { containerId: watch.id, container, host: this.#host };
    const { ok, message } = await check(probe, target, settings.timeoutMs, this.#parts);
    if (watch.stop.signal.aborted) return state;
    if (!ok)
      events.pod(this.#pod, 'Warning', 'Unhealthy', `${kind} probe failed: ${message}`, container.name);
    const next = judge(state, ok, settings);
    if (next.holds !== state.holds) this.#apply(watch, kind, next.holds, probe);
    return next;
  }

  #apply(watch: Watch, kind: ProbeKind, holds: boolean | undefined, probe: PodProbe): void {
    if (kind === 'Readiness') watch.ready = holds === true;
    else if (holds === false) {
      const seconds = probe.terminationGracePeriodSeconds;
      const why = `Container ${watch.container.name} failed ${kind.toLowerCase()} probe, will be restarted`;
      watch.unhealthy = { why, graceMs: typeof seconds === 'number' ? seconds * 1000 : undefined };
    } else if (kind === 'Startup' && holds) {
      watch.started = true;
      watch.onStarted();
    }
    this.#wake();
  }

  #stored(containerId: string): { ready?: boolean; started?: boolean } | undefined {
    const id = `${this.#parts.runtimeName}://${containerId}`;
    const { containerStatuses = [], initContainerStatuses = [] } = this.#pod.status ?? {};
    const found = [...containerStatuses, ...initContainerStatuses].find((it) => it.containerID === id);
    return found && { ready: found.ready === true, started: found.started === true };
  }
}
