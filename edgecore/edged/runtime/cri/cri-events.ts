/**
 * What happens to our containers, from the runtime's event stream where it has one, and from a look each second
 * where it has none. A look compares with the one before, so nothing that lasted is missed. What we ourselves changed
 * is no news to who asked for it. Looks are taken only while somebody reads.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { EventFeed } from '../event-feed.ts';
import { type Container, label, type RuntimeEvent, type Sandbox } from '../runtime-service.ts';
import { type CriClient, CriError } from './cri-client.ts';
import { eventItem } from './cri-messages.ts';

export interface CriEventsParts {
  readonly client: Pick<CriClient, 'stream'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly instance: string;
  readonly list: () => Promise<[readonly Sandbox[], readonly Container[]]>;
  readonly signal: AbortSignal;
}

const lookMs = 1000;
/** Beside a stream, which may have missed something. */
const lookBesideStreamMs = 10_000;
const againMs = 5000;

const types = {
  CONTAINER_CREATED_EVENT: 'created',
  CONTAINER_STARTED_EVENT: 'started',
  CONTAINER_STOPPED_EVENT: 'stopped',
  CONTAINER_DELETED_EVENT: 'deleted',
} as const;

export class CriEvents {
  readonly #parts: CriEventsParts;
  readonly #feed = new EventFeed<RuntimeEvent>();
  #seen = new Map<string, { readonly podUid: string; readonly state: string }>();
  #readers = 0;
  #streams = false;
  #failing = false;
  #stop = new AbortController();

  constructor(parts: CriEventsParts) {
    this.#parts = parts;
  }

  async *read(signal: AbortSignal): AsyncGenerator<RuntimeEvent> {
    const either = AbortSignal.any([signal, this.#parts.signal]);
    this.#readers += 1;
    if (this.#readers === 1) this.#begin();
    try {
      yield* this.#feed.read(either);
    } finally {
      this.#readers -= 1;
      if (this.#readers === 0) this.#stop.abort();
    }
  }

  /** What we did ourselves; of what is known already only the state is new. */
  know(id: string, { podUid, state }: { podUid?: string; state: string }): void {
    const owner = podUid ?? this.#seen.get(id)?.podUid;
    if (owner !== undefined) this.#seen.set(id, { podUid: owner, state });
  }

  forget(id: string): void {
    this.#seen.delete(id);
  }

  #begin(): void {
    this.#stop = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, this.#parts.signal]);
    void this.#lookOn(signal);
    void this.#followStream(signal);
  }

  async #lookOn(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts;
    while (!signal.aborted) {
      try {
        this.#compare(...(await this.#parts.list()));
        this.#failing = false;
      } catch (error) {
        if (signal.aborted) return;
        if (!this.#failing) log.warn({ err: error }, 'cannot look at the containers, going on trying');
        this.#failing = true;
      }
      await clock.sleep(this.#streams ? lookBesideStreamMs : lookMs, signal).catch(() => {});
    }
  }

  #compare(sandboxes: readonly Sandbox[], containers: readonly Container[]): void {
    const now = new Map(
      [...sandboxes, ...containers].map(({ id, podUid, state }) => [id, { podUid, state }]),
    );
    const before = this.#seen;
    this.#seen = now;
    for (const [containerId, { podUid, state }] of now) {
      if (before.get(containerId)?.state === state) continue;
      const type =
        state === 'created' || state === 'ready' ? 'created' : state === 'running' ? 'started' : 'stopped';
      this.#feed.publish({ type, podUid, containerId });
    }
    for (const [containerId, { podUid }] of before)
      if (!now.has(containerId)) this.#feed.publish({ type: 'deleted', podUid, containerId });
  }

  async #followStream(signal: AbortSignal): Promise<void> {
    const { client, clock, log, instance } = this.#parts;
    while (!signal.aborted) {
      try {
        for await (const event of client.stream('RuntimeService/GetContainerEvents', {}, eventItem, signal)) {
          this.#streams = true;
          const sandbox = event.pod_sandbox_status;
          if (sandbox?.labels[label.instance] !== instance) continue;
          const type = types[event.container_event_type];
          this.#feed.publish({ type, podUid: sandbox.metadata.uid, containerId: event.container_id });
        }
      } catch (error) {
        if (error instanceof CriError && error.status === 'UNIMPLEMENTED') return;
        if (!signal.aborted) log.debug({ err: error }, 'the stream of container events broke');
      }
      this.#streams = false;
      await clock.sleep(againMs, signal).catch(() => {});
    }
  }
}
