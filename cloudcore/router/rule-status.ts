/**
 * What rules carried, counted in their status: the first change at once, then at most one write a rule a second. The
 * numbers go on from those that stand there. A Rule that can make no route says why in `errors`; else the last failure
 * stands there.
 */

import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import { isNotFound, type KubeApi } from '#cloudcore/kube/kube-api.ts';
import type { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import type { RuleKey } from './rule-set.ts';
import { rulesVersion } from './rules.ts';

const writeEveryMs = 1_000;
const errorCharsMax = 1_000;
/** Tells a rule that cannot work from one that failed. */
const refusedPrefix = 'refused: ';

const statusSchema = z
  .looseObject({
    successMessages: z.number().nullish(),
    failMessages: z.number().nullish(),
    errors: z.array(z.string()).nullish(),
  })
  .nullish()
  .catch(undefined);

export interface RuleStatusComponents {
  readonly api: KubeApi;
  readonly rules: { get(key: RuleKey): KubeObject | undefined };
  readonly queue: WorkQueue;
  readonly clock: Clock;
}

interface Entry {
  readonly uid: string | undefined;
  success: number;
  fail: number;
  error: string | undefined;
  fault: string | undefined;
  scheduled: boolean;
  lastWriteMs: number;
  /** As it was written last. */
  written: string;
}

export class RuleStatus {
  readonly #components: RuleStatusComponents;
  readonly #entries = new Map<RuleKey, Entry>();
  #signal = AbortSignal.abort();

  constructor(components: RuleStatusComponents) {
    this.#components = components;
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    await this.#components.queue.run((key, stop) => this.#write(key, stop), signal);
    // What was counted within the last second.
    const stop = AbortSignal.timeout(writeEveryMs);
    const unwritten = [...this.#entries].filter(([, entry]) => entry.scheduled);
    await Promise.allSettled(unwritten.map(([key]) => this.#write(key, stop)));
  }

  succeeded(rule: RuleKey): void {
    this.#change(rule, (entry) => {
      entry.success += 1;
    });
  }

  /** `final`: the message is not tried any more. */
  failed(rule: RuleKey, reason: string, final: boolean): void {
    this.#change(rule, (entry) => {
      if (final) entry.fail += 1;
      entry.error = reason.slice(0, errorCharsMax);
    });
  }

  /** Every Rule there is, and the reasons of those that can make no route. */
  review(keys: Iterable<RuleKey>, faults: ReadonlyMap<RuleKey, string>): void {
    const present = new Set(keys);
    for (const key of this.#entries.keys()) if (!present.has(key)) this.#entries.delete(key);
    for (const key of present) {
      const fault = faults.get(key);
      const entry = this.#entryOf(key);
      if (entry === undefined || entry.fault === fault) continue;
      this.#change(key, (changed) => {
        changed.fault = fault;
      });
    }
  }

  #change(rule: RuleKey, change: (entry: Entry) => void): void {
    const entry = this.#entryOf(rule);
    if (entry === undefined) return;
    change(entry);
    this.#schedule(rule, entry);
  }

  /** Undefined for a Rule that is gone. One that came under its name counts from its own. */
  #entryOf(rule: RuleKey): Entry | undefined {
    const object = this.#components.rules.get(rule);
    if (object === undefined) return undefined;
    const { uid } = object.metadata;
    const known = this.#entries.get(rule);
    if (known !== undefined && known.uid === uid) return known;
    const status = statusSchema.parse(object.status);
    const [error] = status?.errors ?? [];
    const wasRefused = error?.startsWith(refusedPrefix) === true;
    const entry: Entry = {
      uid,
      success: status?.successMessages ?? 0,
      fail: status?.failMessages ?? 0,
      error: wasRefused ? undefined : error,
      fault: wasRefused ? error.slice(refusedPrefix.length) : undefined,
      scheduled: false,
      lastWriteMs: Number.NEGATIVE_INFINITY,
      written: '',
    };
    this.#entries.set(rule, entry);
    return entry;
  }

  #schedule(rule: RuleKey, entry: Entry): void {
    if (entry.scheduled) return;
    entry.scheduled = true;
    const { clock, queue } = this.#components;
    const waitMs = entry.lastWriteMs + writeEveryMs - clock.monotonicMs();
    if (waitMs <= 0) queue.add(rule);
    else
      void clock.sleep(waitMs, this.#signal).then(
        () => queue.add(rule),
        // Stopping: `run` writes it.
        () => {},
      );
  }

  async #write(rule: RuleKey, signal: AbortSignal): Promise<void> {
    const entry = this.#entries.get(rule);
    const object = this.#components.rules.get(rule);
    if (entry === undefined || object === undefined || object.metadata.uid !== entry.uid) return;
    entry.scheduled = false;
    const error = entry.fault === undefined ? entry.error : refusedPrefix + entry.fault;
    const status = {
      successMessages: entry.success,
      failMessages: entry.fail,
      errors: error === undefined ? [] : [error],
    };
    const text = JSON.stringify(status);
    if (text === entry.written) return;
    const { name, namespace } = object.metadata;
    // A Rule that was replaced meanwhile is another one.
    const patch = { metadata: { uid: entry.uid }, status };
    try {
      await this.#components.api.patch(
        { apiVersion: rulesVersion, plural: 'rules', namespace, name },
        'merge',
        patch,
        {
          signal,
        },
      );
    } catch (failure) {
      if (isNotFound(failure)) return;
      entry.scheduled = true;
      throw failure;
    }
    entry.written = text;
    entry.lastWriteMs = this.#components.clock.monotonicMs();
  }
}
