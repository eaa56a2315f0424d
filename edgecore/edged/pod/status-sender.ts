/**
 * Brings pod status to the cloud: per pod the newest only, one request at a time, again after a failure and when
 * the link comes back. What was accepted is not sent twice; an older status never follows a newer one.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { operation } from '#protocol/names.ts';
import type { CloudRequests } from '../cloud-requests.ts';
import { type Pod, podNamespace } from './pod.ts';
import type { PodStatusValue } from './pod-status.ts';

interface Entry {
  readonly resource: string;
  patch: string;
  accepted: string | undefined;
  busy: boolean;
  failed: boolean;
  readonly waiters: (() => void)[];
}

const inFlightMax = 8;
const retryMs = 10_000;

/** The cloud has the last word: the pod is gone, is another, or may not be written. Sending again cannot help. */
const final = new Set(['NotFound', 'Conflict', 'Forbidden', 'Invalid']);

/** Where a pod's worker reports. */
export interface StatusReporter {
  report(pod: Pod, status: PodStatusValue): void;
  /** Resolves once the cloud has the newest status of the pod, or wants none. */
  settled(pod: Pod, signal: AbortSignal): Promise<void>;
  forget(uid: string): void;
}

export class StatusSender implements StatusReporter {
  readonly #cloud: CloudRequests;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #seen: (object: unknown) => void;
  readonly #entries = new Map<string, Entry>();
  #inFlight = 0;

  /** `seen` gets the pod as the cloud answers it. */
  constructor(components: { cloud: CloudRequests; clock: Clock; log: Log; seen: (object: unknown) => void }) {
    this.#cloud = components.cloud;
    this.#clock = components.clock;
    this.#log = components.log;
    this.#seen = components.seen;
  }

  report(pod: Pod, status: PodStatusValue): void {
    const { uid } = pod.metadata;
    const patch = JSON.stringify({ metadata: { uid }, status });
    const entry = this.#entries.get(uid);
    if (entry === undefined) {
      const resource = `${podNamespace(pod)}/podpatch/${pod.metadata.name}`;
      this.#entries.set(uid, {
        resource,
        patch,
        accepted: undefined,
        busy: false,
        failed: false,
        waiters: [],
      });
    } else entry.patch = patch;
    this.#pump();
  }

  async settled(pod: Pod, signal: AbortSignal): Promise<void> {
    const entry = this.#entries.get(pod.metadata.uid);
    if (entry === undefined || entry.accepted === entry.patch || signal.aborted) return;
    await new Promise<void>((resolve) => {
      entry.waiters.push(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  forget(uid: string): void {
    const entry = this.#entries.get(uid);
    this.#entries.delete(uid);
    for (const wake of entry?.waiters.splice(0) ?? []) wake();
  }

  /** The link is back: what failed goes again at once. */
  connected(): void {
    for (const entry of this.#entries.values()) entry.failed = false;
    this.#pump();
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#clock.sleep(retryMs, signal).catch(() => {});
      if (!signal.aborted) this.connected();
    }
  }

  #pump(): void {
    for (const entry of this.#entries.values()) {
      if (this.#inFlight >= inFlightMax) return;
      if (entry.busy || entry.failed || entry.accepted === entry.patch) continue;
      void this.#send(entry);
    }
  }

  async #send(entry: Entry): Promise<void> {
    const { patch, resource } = entry;
    entry.busy = true;
    this.#inFlight += 1;
    try {
      const answer = await this.#cloud.ask(operation.patch, resource, patch);
      if (answer.kind === 'unanswered') {
        entry.failed = true;
        this.#log.debug({ resource, why: answer.why }, 'pod status waits');
      } else if (answer.kind === 'refused' && !final.has(answer.reason)) {
        entry.failed = true;
        this.#log.warn({ resource, reason: answer.reason, said: answer.message }, 'pod status refused');
      } else {
        entry.accepted = patch;
        if (answer.kind === 'object') this.#seen(answer.object);
      }
    } catch (error) {
      entry.failed = true;
      this.#log.warn({ resource, err: error }, 'cannot send pod status');
    }
    entry.busy = false;
    this.#inFlight -= 1;
    if (entry.accepted === entry.patch) for (const wake of entry.waiters.splice(0)) wake();
    this.#pump();
  }

  /** For the log: pods whose newest status the cloud lacks. */
  get pending(): readonly string[] {
    return [...this.#entries.values()].filter((it) => it.accepted !== it.patch).map((it) => it.resource);
  }
}
