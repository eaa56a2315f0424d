/**
 * Collects what edges report of their devices and writes it to DeviceStatus: the first change at once, then at most
 * one write a device in `writeEveryMs`, the last value of each property wins. A report is confirmed to the edge
 * only after the write that carries it: until then the edge keeps it.
 */

import type { Clock } from '#beehive/clock.ts';
import type { ObjectCache } from '#cloudcore/kube/objects.ts';
import type { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import type { DeviceRef } from '#protocol/resource-path.ts';
import { formatDeviceId, parseDeviceId } from '#protocol/resource-path.ts';
import { deviceSchema } from '#protocol/resources/device.ts';
import type { DeviceStatusTwin } from '#protocol/resources/device-status.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { type DeviceStatusStore, wasRemoved } from './device-status-store.ts';
import { emptyReport, mergeReports, type Report, twinList } from './twin-status.ts';

export const reportLimits = {
  writeEveryMs: 1_000,
  /** Reports of one device that wait for one write; older ones go unconfirmed, so that the edge says them again. */
  unconfirmedMax: 1_024,
} as const;

/** Called once the report is durable. */
export type Confirm = () => Promise<void>;

interface Entry {
  pending: Report;
  confirms: Confirm[];
  scheduled: boolean;
  lastWriteMs: number;
  /** What DeviceStatus says, as far as it was read or written here; undefined before the first write. */
  stored:
    | { readonly uid: string | undefined; readonly twins: ReadonlyMap<string, DeviceStatusTwin> }
    | undefined;
}

export interface ReportsComponents {
  readonly cache: Pick<ObjectCache, 'get' | 'onChange' | 'whenSynced'>;
  readonly store: DeviceStatusStore;
  readonly queue: WorkQueue;
  readonly clock: Clock;
}

export class Reports {
  readonly #components: ReportsComponents;
  readonly #entries = new Map<string, Entry>();
  #signal = AbortSignal.abort();

  constructor(components: ReportsComponents) {
    this.#components = components;
    components.cache.onChange(({ kind, type, object }) => {
      if (kind !== 'device') return;
      const { namespace = '', name } = object.metadata;
      const id = formatDeviceId({ namespace, name });
      if (type === 'added') components.queue.add(id);
      else if (type === 'deleted') this.#forget(id);
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    await this.#components.cache.whenSynced(signal, ['device']);
    await this.#components.queue.run((id) => this.#write(id, signal), signal);
  }

  add(device: DeviceRef, report: Report, confirm: Confirm): void {
    const id = formatDeviceId(device);
    const entry = this.#entries.get(id) ?? newEntry();
    this.#entries.set(id, entry);
    entry.pending = mergeReports(entry.pending, report);
    entry.confirms.push(confirm);
    if (entry.confirms.length > reportLimits.unconfirmedMax) entry.confirms.shift();
    this.#schedule(id, entry);
  }

  #schedule(id: string, entry: Entry): void {
    if (entry.scheduled) return;
    entry.scheduled = true;
    const { clock, queue } = this.#components;
    const waitMs = entry.lastWriteMs + reportLimits.writeEveryMs - clock.monotonicMs();
    if (waitMs <= 0) queue.add(id);
    else
      void clock.sleep(waitMs, this.#signal).then(
        () => queue.add(id),
        // Stopping: the edge still has what was not confirmed.
        () => {},
      );
  }

  /** The Device is gone, and its reports with it; who waits hears that they need not be said again. */
  #forget(id: string): void {
    const entry = this.#entries.get(id);
    this.#entries.delete(id);
    for (const confirm of entry?.confirms ?? []) void confirm();
  }

  async #write(id: string, signal: AbortSignal): Promise<void> {
    const { namespace, name } = parseDeviceId(id);
    const device = this.#components.cache.get('device', namespace, name);
    if (device === undefined) {
      this.#forget(id);
      return;
    }
    const entry = this.#entries.get(id) ?? newEntry();
    this.#entries.set(id, entry);
    const report = entry.pending;
    const confirms = entry.confirms;
    entry.pending = emptyReport;
    entry.confirms = [];
    entry.scheduled = false;
    try {
      await this.#store(device, entry, report, signal);
    } catch (error) {
      entry.pending = mergeReports(report, entry.pending);
      entry.confirms = [...confirms, ...entry.confirms].slice(-reportLimits.unconfirmedMax);
      // The queue comes back to this key by itself.
      entry.scheduled = true;
      throw error;
    }
    for (const confirm of confirms) await confirm();
  }

  async #store(device: KubeObject, entry: Entry, report: Report, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#components;
    const { uid } = device.metadata;
    if (entry.stored === undefined || entry.stored.uid !== uid) {
      const { status } = await store.ensure(device, signal);
      const twins = new Map((status?.twins ?? []).map((twin) => [twin.propertyName, twin]));
      entry.stored = { uid, twins };
    }
    const { state, lastOnlineTime } = report;
    if (report.twins.size === 0 && state === undefined && lastOnlineTime === undefined) return;
    const { twins } = mergeReports({ twins: entry.stored.twins }, report);
    const list = twinList(propertiesOf(device), twins);
    const status = {
      ...(report.twins.size === 0 ? {} : { twins: list }),
      ...(state ? { state } : {}),
      ...(lastOnlineTime ? { lastOnlineTime } : {}),
    };
    try {
      await store.write(device, status, signal);
    } catch (error) {
      if (wasRemoved(error)) entry.stored = undefined;
      throw error;
    }
    entry.lastWriteMs = clock.monotonicMs();
    entry.stored = { uid, twins: new Map(list.map((twin) => [twin.propertyName, twin])) };
  }
}

function newEntry(): Entry {
  return {
    pending: emptyReport,
    confirms: [],
    scheduled: false,
    lastWriteMs: Number.NEGATIVE_INFINITY,
    stored: undefined,
  };
}

function propertiesOf(device: KubeObject): string[] {
  const parsed = deviceSchema.safeParse(device);
  return (parsed.data?.spec?.properties ?? []).map(({ name }) => name);
}
