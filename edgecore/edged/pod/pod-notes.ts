/**
 * What this edge has decided about a pod, in the pod's directory: when its time began, and that it is over. The cloud
 * may hear of it only after a restart, and until then its status does not say so. It goes with the directory.
 */

import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { keepDurably, keptDurably } from '../durable-file.ts';
import { isStatic } from '../static/static-pod-files.ts';
import type { PodVerdict } from './plan.ts';
import type { Pod } from './pod.ts';

const verdictSchema = z.object({
  phase: z.enum(['Failed', 'Succeeded']),
  reason: z.string(),
  message: z.string(),
  graceMs: z.number().optional(),
});
const startSchema = z.object({ startTimeMs: z.number() });

export class PodNotes {
  readonly startTimeMs: number;
  /** As it was decided before a restart of ours. */
  readonly verdict: PodVerdict | undefined;
  readonly #directory: string;
  /** A static pod has the uid of one that had the same content before. */
  readonly #kept: boolean;
  readonly #log: Log;

  constructor(pod: Pod, directory: string, { clock, log }: { clock: Clock; log: Log }) {
    this.#directory = directory;
    this.#kept = !isStatic(pod);
    this.#log = log;
    this.verdict = keptDurably(this.#file('verdict'), verdictSchema);
    this.startTimeMs = this.#startOf(pod, clock);
  }

  keepVerdict(verdict: PodVerdict): void {
    this.#keep('verdict', verdict);
  }

  /** Kept only where time runs against the pod: it costs a write before its start. */
  #startOf(pod: Pod, clock: Clock): number {
    const reported = pod.status?.startTime;
    if (reported) return Date.parse(reported);
    const kept = keptDurably(this.#file('start'), startSchema);
    if (kept !== undefined) return kept.startTimeMs;
    const startTimeMs = clock.now();
    if (pod.spec.activeDeadlineSeconds != null) this.#keep('start', { startTimeMs });
    return startTimeMs;
  }

  #keep(name: 'verdict' | 'start', content: unknown): void {
    if (!this.#kept) return;
    try {
      keepDurably(this.#file(name), content);
    } catch (error) {
      // The disk may be what is short: the pod starts and ends all the same.
      this.#log.warn({ err: error, note: name }, 'what was decided about the pod cannot be kept');
    }
  }

  #file(name: string): string {
    return join(this.#directory, `${name}.json`);
  }
}
