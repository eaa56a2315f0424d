/**
 * Reports to the cloud: what is marked is sent until it is confirmed. A mark is durable and names a property (or
 * the state) and a revision, never a value: what is sent is the newest value, all marked properties of a device in
 * one message. One message of a device is on its way at a time; what changed meanwhile keeps its mark and follows.
 */

import { Backoff } from '#beehive/backoff.ts';
import type { Bus } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { BusError } from '#beehive/errors.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import { CancelledError, describeError } from '#protocol/errors.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import type { Store } from '../store/database.ts';
import { StoreError } from '../store/errors.ts';
import { clearMark, type Device, type Mark } from '../store/twin-store.ts';
import { reportBody, sorted } from './bodies.ts';
import { stateBody } from './device-state.ts';
import type { Moment } from './outcome.ts';

export interface SyncComponents {
  readonly bus: Bus;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly deviceOf: (id: string) => Device | undefined;
  readonly moment: () => Moment;
}

/** Devices with a message on its way to the cloud at once. */
const devicesInFlightMax = 64;
/** Properties in one message; the rest follow in the next. */
const propertiesPerReportMax = 250;
const confirmTimeoutMs = 30_000;
const retryPause = { firstMs: 2_000, maxMs: 300_000, jitter: 0.3 };

export class TwinSync {
  readonly #components: SyncComponents;
  /** By device, in the order in which they became due. */
  readonly #marks = new Map<string, Map<string, Mark>>();
  readonly #busy = new Map<string, Promise<void>>();
  #link: AbortController | undefined;

  constructor(components: SyncComponents) {
    this.#components = components;
  }

  mark(marks: readonly Mark[]): void {
    for (const mark of marks) {
      const key = `${mark.kind} ${mark.name}`;
      const ofDevice = this.#marks.get(mark.deviceId) ?? new Map<string, Mark>();
      this.#marks.set(mark.deviceId, ofDevice.set(key, mark));
    }
    this.#startWhatMay();
  }

  /** The device is gone, and its marks with it. */
  forget(deviceId: string): void {
    this.#marks.delete(deviceId);
  }

  connected(): void {
    this.#link?.abort();
    this.#link = new AbortController();
    this.#startWhatMay();
  }

  disconnected(): void {
    this.#link?.abort();
    this.#link = undefined;
  }

  /** Gives up what is on its way; the marks stay. */
  async stop(): Promise<void> {
    this.disconnected();
    await Promise.all(this.#busy.values());
  }

  #startWhatMay(): void {
    const link = this.#link;
    if (link === undefined) return;
    for (const id of this.#marks.keys()) {
      if (this.#busy.size >= devicesInFlightMax) return;
      if (this.#busy.has(id)) continue;
      const sending = this.#sendAll(id, link.signal);
      this.#busy.set(
        id,
        sending.then(
          () => {
            this.#busy.delete(id);
            this.#startWhatMay();
          },
          (error: unknown) => {
            this.#busy.delete(id);
            this.#components.log.error(
              { device: id, err: error },
              'report failed, it waits for the next change',
            );
          },
        ),
      );
    }
  }

  /** Until nothing of the device is marked, or the link is gone. */
  async #sendAll(id: string, link: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#components;
    const pause = new Backoff(retryPause, random);
    try {
      while (!link.aborted) {
        const batch = this.#nextBatch(id);
        if (batch === undefined) return;
        if (await this.#send(batch, link)) {
          await this.#confirmed(batch.marks);
          pause.reset();
          continue;
        }
        const pauseMs = Math.round(pause.nextMs());
        log.warn({ device: id, againInMs: pauseMs }, 'the cloud did not confirm a report, it is sent again');
        await clock.sleep(pauseMs, link);
      }
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
    }
  }

  /** True when the cloud confirmed. @throws CancelledError when the link is gone. */
  async #send(batch: Batch, link: AbortSignal): Promise<boolean> {
    const { bus, log } = this.#components;
    try {
      const answer = await bus.request('edgehub', batch.envelope, {
        timeoutMs: confirmTimeoutMs,
        signal: link,
      });
      return answer.route.operation !== operation.error;
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      log.debug(
        { msgId: batch.envelope.header.msg_id, reason: describeError(error) },
        'report not confirmed',
      );
      return false;
    }
  }

  async #confirmed(marks: readonly Mark[]): Promise<void> {
    try {
      await this.#components.store.write((sql) => {
        for (const mark of marks) clearMark(sql, mark);
      });
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      // The mark on the disk outlives this one: after a restart the value is sent once more, which does no harm.
      this.#components.log.warn({ reason: describeError(error) }, 'a confirmation could not be stored');
    }
    for (const mark of marks) {
      const ofDevice = this.#marks.get(mark.deviceId);
      const key = `${mark.kind} ${mark.name}`;
      if (ofDevice?.get(key)?.revision === mark.revision) ofDevice.delete(key);
      if (ofDevice?.size === 0) this.#marks.delete(mark.deviceId);
    }
  }

  /** The properties first, then the state. */
  #nextBatch(id: string): Batch | undefined {
    const marked = [...(this.#marks.get(id)?.values() ?? [])];
    const device = this.#components.deviceOf(id);
    if (device === undefined) {
      this.#marks.delete(id);
      return undefined;
    }
    const properties = marked.filter(({ kind }) => kind === 'twin').slice(0, propertiesPerReportMax);
    if (properties.length > 0) return this.#twinBatch(device, properties);
    return marked.length === 0 ? undefined : this.#stateBatch(device, marked);
  }

  #twinBatch(device: Device, marks: readonly Mark[]): Batch {
    const { newEventId, nowMs } = this.#components.moment();
    const twin: [string, object][] = [];
    for (const { name } of marks) {
      const property = device.twin.get(name);
      if (property !== undefined) twin.push([name, reportBody(property)]);
    }
    const content = { event_id: newEventId(), timestamp: nowMs, twin: sorted(twin) };
    return { marks, envelope: this.#report(`device/${device.id}/twin/edge_updated`, content) };
  }

  /** Wire 4.4: the content is text here, and an object for the twin. */
  #stateBatch(device: Device, marks: readonly Mark[]): Batch {
    const content = JSON.stringify(stateBody(device, this.#components.moment()));
    return { marks, envelope: this.#report(`device/${device.id}/state/update`, content) };
  }

  #report(resource: string, content: unknown): Envelope {
    return newEnvelope(
      { source: source.twin, group: group.resource, operation: operation.update, resource },
      content,
      { timestampMs: this.#components.clock.now() },
    );
  }
}

interface Batch {
  readonly marks: readonly Mark[];
  readonly envelope: Envelope;
}
