/**
 * Reports to the cloud: what is marked is sent until it is confirmed. A mark is durable and names a property (or
 * the state) and a revision, never a value: what is sent is the newest value, all marked properties of a device in
 * one message, its state in another. What changes while a report waits for its confirmation keeps its mark and
 * follows a moment later: a cloud that writes once a second then writes what was new a moment ago.
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
/** Reports of one device on their way at once; with the pause between them, more than a cloud confirms in a second. */
const reportsInFlightMax = 12;
/** Between two reports of a device of which the first is not confirmed yet. */
const betweenReportsMs = 200;
/** Properties in one message; the rest follow in the next. */
const propertiesPerReportMax = 250;
const confirmTimeoutMs = 30_000;
const retryPause = { firstMs: 2_000, maxMs: 300_000, jitter: 0.3 };

export class TwinSync {
  readonly #components: SyncComponents;
  /** By device, in the order in which they became due. */
  readonly #marks = new Map<string, Map<string, Mark>>();
  readonly #busy = new Map<string, Lane>();
  #link: AbortController | undefined;

  constructor(components: SyncComponents) {
    this.#components = components;
  }

  mark(marks: readonly Mark[]): void {
    for (const mark of marks) {
      const key = keyOf(mark);
      const ofDevice = this.#marks.get(mark.deviceId) ?? new Map<string, Mark>();
      this.#marks.set(mark.deviceId, ofDevice.set(key, mark));
      this.#busy.get(mark.deviceId)?.wake();
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
    await Promise.all([...this.#busy.values()].map(({ done }) => done));
  }

  #startWhatMay(): void {
    const link = this.#link;
    if (link === undefined) return;
    for (const id of this.#marks.keys()) {
      if (this.#busy.size >= devicesInFlightMax) return;
      if (this.#busy.has(id)) continue;
      const lane: Lane = { sent: new Map(), wake: () => {}, failed: false, done: Promise.resolve() };
      this.#busy.set(id, lane);
      lane.done = this.#sendAll(id, lane, link.signal).then(
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
      );
    }
  }

  /** Until nothing of the device is marked, or the link is gone. */
  async #sendAll(id: string, lane: Lane, link: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#components;
    const pause = new Backoff(retryPause, random);
    const onTheirWay = new Set<Promise<void>>();
    let lastMs = Number.NEGATIVE_INFINITY;
    while (!link.aborted) {
      if (lane.failed) {
        await Promise.all(onTheirWay);
        lane.failed = false;
        const pauseMs = Math.round(pause.nextMs());
        log.warn({ device: id, againInMs: pauseMs }, 'the cloud did not confirm a report, it is sent again');
        await clock.sleep(pauseMs, link).catch(() => {});
        continue;
      }
      const batches = onTheirWay.size < reportsInFlightMax ? this.#nextBatches(id, lane.sent) : [];
      if (batches.length === 0 && onTheirWay.size === 0) return;
      if (batches.length === 0) {
        const woken = new Promise<void>((resolve) => {
          lane.wake = resolve;
        });
        await Promise.race([...onTheirWay, woken]);
        continue;
      }
      const waitMs = lastMs + betweenReportsMs - clock.monotonicMs();
      if (onTheirWay.size > 0 && waitMs > 0) {
        const enough = new AbortController();
        await Promise.race([...onTheirWay, clock.sleep(waitMs, enough.signal).catch(() => {})]);
        enough.abort();
        continue;
      }
      lastMs = clock.monotonicMs();
      for (const batch of batches) {
        const going = this.#deliver(batch, lane, link).then((confirmed) => {
          onTheirWay.delete(going);
          if (confirmed) pause.reset();
        });
        onTheirWay.add(going);
      }
    }
    await Promise.all(onTheirWay);
  }

  /** True when it was confirmed; never throws. */
  async #deliver({ marks, envelope }: Batch, lane: Lane, link: AbortSignal): Promise<boolean> {
    for (const mark of marks) lane.sent.set(keyOf(mark), mark);
    const confirmed = await this.#send(envelope, link).catch((error: unknown) => {
      if (error instanceof CancelledError) return undefined;
      this.#components.log.error(
        { msgId: envelope.header.msg_id, err: error },
        'report failed, it is sent again',
      );
      return false;
    });
    if (confirmed) await this.#confirmed(marks);
    if (confirmed === false) lane.failed = true;
    for (const mark of marks) if (lane.sent.get(keyOf(mark)) === mark) lane.sent.delete(keyOf(mark));
    return confirmed ?? false;
  }

  /** True when the cloud confirmed. @throws CancelledError when the link is gone. */
  async #send(envelope: Envelope, link: AbortSignal): Promise<boolean> {
    const { bus, log } = this.#components;
    try {
      const answer = await bus.request('edgehub', envelope, {
        timeoutMs: confirmTimeoutMs,
        signal: link,
      });
      return answer.route.operation !== operation.error;
    } catch (error) {
      if (!(error instanceof BusError)) throw error;
      log.debug({ msgId: envelope.header.msg_id, reason: describeError(error) }, 'report not confirmed');
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
      const key = keyOf(mark);
      if (ofDevice?.get(key)?.revision === mark.revision) ofDevice.delete(key);
      if (ofDevice?.size === 0) this.#marks.delete(mark.deviceId);
    }
  }

  /** What is marked and not on its way: properties and state, neither waits for the other. */
  #nextBatches(id: string, sent: ReadonlyMap<string, Mark>): Batch[] {
    const device = this.#components.deviceOf(id);
    if (device === undefined) {
      this.#marks.delete(id);
      return [];
    }
    const marked = [...(this.#marks.get(id)?.values() ?? [])].filter(
      (mark) => sent.get(keyOf(mark)) !== mark,
    );
    const properties = marked.filter(({ kind }) => kind === 'twin').slice(0, propertiesPerReportMax);
    const state = marked.filter(({ kind }) => kind === 'state');
    return [
      ...(properties.length > 0 ? [this.#twinBatch(device, properties)] : []),
      ...(state.length > 0 ? [this.#stateBatch(device, state)] : []),
    ];
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

/** The reports of one device. */
interface Lane {
  /** What is on its way, by key. */
  readonly sent: Map<string, Mark>;
  /** Called when something is marked. */
  wake: () => void;
  /** A report was refused, or not confirmed in time. */
  failed: boolean;
  done: Promise<void>;
}

function keyOf({ kind, name }: Mark): string {
  return `${kind} ${name}`;
}
