/**
 * Looks every ten seconds whether the node is short of memory, disk or processes, says so, and takes back what it
 * can: on a short disk first what nobody needs (dead containers, unused images), and only then a pod, one a round.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { describeError } from '#protocol/errors.ts';
import type { EdgedMetrics } from '../edged-metrics.ts';
import type { EventRecorder, NodeEvents } from '../events.ts';
import type { PodVerdict } from '../pod/plan.ts';
import { type Pod, podKey } from '../pod/pod.ts';
import { evictionMessage, evictionOrder, isCritical, type PodUse } from './eviction-order.ts';
import type { MachineUse } from './machine-use.ts';
import type { Met, Pressure } from './pressure.ts';
import { goRounds } from './rounds.ts';
import { amountOf, conditionOf, type PressureCondition, resourceOf, type Signal } from './thresholds.ts';

/** A pod that runs here. */
export interface EvictablePod {
  readonly pod: Pod;
  /** It has ended, or is told to. */
  readonly isEnding: boolean;
  fail(verdict: PodVerdict): void;
}

export interface EvictionParts {
  readonly pressure: Pressure;
  readonly machine: () => Promise<MachineUse>;
  readonly pods: () => readonly EvictablePod[];
  /** What each pod uses, by uid; asked only under pressure. */
  readonly uses: (signal: Signal) => Promise<ReadonlyMap<string, PodUse>>;
  /** Pods that write more than they allow themselves, with the reason, by uid. */
  readonly storageFaults: () => Promise<ReadonlyMap<string, string>>;
  /** Whether something of the pod still runs. */
  readonly runs: (pod: Pod) => Promise<boolean>;
  /** Frees disk without ending anything. */
  readonly reclaimDisk: () => Promise<void>;
  readonly events: EventRecorder & NodeEvents;
  readonly counted: Pick<EdgedMetrics, 'evicted'>;
  /** The conditions of the node have changed. */
  readonly changed: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

export interface EvictionOptions {
  readonly nodeName: string;
  /** For pods that are evicted for a soft threshold. */
  readonly graceMaxMs: number;
}

const everyMs = 10_000;
const hardGraceMs = 1000;
const endedWithinMs = 30_000;
const lookMs = 1000;

export class Eviction {
  readonly #options: EvictionOptions;
  readonly #with: EvictionParts;
  #known: ReadonlySet<PressureCondition> = new Set();

  constructor(options: EvictionOptions, parts: EvictionParts) {
    this.#options = options;
    this.#with = parts;
  }

  async run(signal: AbortSignal): Promise<void> {
    const look = async () => {
      const evicted = await this.round();
      if (evicted !== undefined) await this.#ended(evicted, signal);
      return evicted !== undefined;
    };
    const fault = 'cannot see whether the node is short of something';
    await goRounds({ everyMs, look, fault }, this.#with, signal);
  }

  /** One look, and what follows from it: the pod that had to go. */
  async round(): Promise<Pod | undefined> {
    const ownFault = await this.#evictOverLimits();
    const [first] = await this.#look();
    if (ownFault !== undefined || first === undefined) return ownFault;
    const { signal } = first.threshold;
    const { events, log } = this.#with;
    const resource = resourceOf(signal);
    log.warn({ signal, ...first.observation }, 'the node is short of something, reclaiming it');
    events.node('Warning', 'EvictionThresholdMet', `Attempting to reclaim ${resource}`);
    if (conditionOf(signal) === 'DiskPressure') {
      await this.#reclaimDisk();
      if (!(await this.#look()).some((it) => it.threshold === first.threshold)) return undefined;
    }
    return this.#evictOne(first);
  }

  /** All of them at once: it is their own limit, whatever the node has left. The last of them. */
  async #evictOverLimits(): Promise<Pod | undefined> {
    const faults = await this.#with.storageFaults();
    let last: Pod | undefined;
    for (const it of this.#with.pods()) {
      const message = faults.get(it.pod.metadata.uid);
      if (message === undefined || it.isEnding || isCritical(it.pod)) continue;
      this.#evict(it, message, hardGraceMs);
      this.#with.counted.evicted('own-limit');
      last = it.pod;
    }
    return last;
  }

  #evict(chosen: EvictablePod, message: string, graceMs: number): void {
    const { events, log } = this.#with;
    log.warn({ pod: podKey(chosen.pod), why: message }, 'evicting a pod');
    events.pod(chosen.pod, 'Warning', 'Evicted', message);
    chosen.fail({ phase: 'Failed', reason: 'Evicted', message, graceMs });
  }

  async #look(): Promise<readonly Met[]> {
    const { pressure, machine, clock } = this.#with;
    const met = pressure.look(await machine(), clock.now());
    this.#tellChanges(new Set(pressure.conditions));
    return met;
  }

  #tellChanges(now: ReadonlySet<PressureCondition>): void {
    const { events, changed } = this.#with;
    const before = this.#known;
    this.#known = now;
    const began = [...now].filter((it) => !before.has(it)).map((it) => names[it].began);
    const ended = [...before].filter((it) => !now.has(it)).map((it) => names[it].ended);
    for (const it of [...began, ...ended])
      events.node('Normal', it, `Node ${this.#options.nodeName} status is now: ${it}`);
    if (began.length + ended.length > 0) changed();
  }

  async #reclaimDisk(): Promise<void> {
    try {
      await this.#with.reclaimDisk();
    } catch (error) {
      this.#with.log.warn({ why: describeError(error) }, 'no disk reclaimed');
    }
  }

  async #evictOne(met: Met): Promise<Pod | undefined> {
    const { pods, uses, log } = this.#with;
    const active = pods().filter((it) => !it.isEnding);
    if (active.length === 0) return undefined;
    const { threshold, observation } = met;
    const used = await uses(threshold.signal);
    const order = evictionOrder(
      threshold.signal,
      active.map((it) => it.pod),
      used,
    );
    const pod = order.find((it) => !isCritical(it));
    const chosen = active.find((it) => it.pod === pod);
    if (pod === undefined || chosen === undefined) {
      log.warn({ signal: threshold.signal }, 'no pod that may be evicted is left');
      return undefined;
    }
    const least = amountOf(threshold.amount, observation.capacity);
    const message = evictionMessage(met, least, used.get(pod.metadata.uid), pod);
    const graceMs = threshold.softMs === undefined ? hardGraceMs : this.#softGraceMs(pod);
    this.#evict(chosen, message, graceMs);
    this.#with.counted.evicted(threshold.signal);
    return pod;
  }

  #softGraceMs(pod: Pod): number {
    return Math.min(this.#options.graceMaxMs, (pod.spec.terminationGracePeriodSeconds ?? 30) * 1000);
  }

  /** The next look is for what the pod has left behind, so it waits for the pod. */
  async #ended(pod: Pod, signal: AbortSignal): Promise<void> {
    const { clock, runs, log } = this.#with;
    const deadlineMs = clock.monotonicMs() + endedWithinMs;
    while (!signal.aborted && clock.monotonicMs() < deadlineMs) {
      await clock.sleep(lookMs, signal).catch(() => {});
      try {
        if (!(await runs(pod))) return;
      } catch (error) {
        log.debug({ why: describeError(error) }, 'cannot see whether the evicted pod has ended');
      }
    }
  }
}

const names: Readonly<Record<PressureCondition, { readonly began: string; readonly ended: string }>> = {
  MemoryPressure: { began: 'NodeHasInsufficientMemory', ended: 'NodeHasSufficientMemory' },
  DiskPressure: { began: 'NodeHasDiskPressure', ended: 'NodeHasNoDiskPressure' },
  PIDPressure: { began: 'NodeHasInsufficientPID', ended: 'NodeHasSufficientPID' },
};
