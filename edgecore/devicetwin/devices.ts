/**
 * The devices in memory, and their way to the disk: memory is changed at once, rows with the next group commit.
 * When a commit is lost, memory is ahead of the disk: the device then refuses changes until it is read again.
 */

import type { Log } from '#beehive/log.ts';
import type { Sql } from '../store/connection.ts';
import type { Store } from '../store/database.ts';
import {
  type Device,
  deleteAttribute,
  deleteDevice,
  deleteProperty,
  loadDevice,
  loadDevices,
  loadMarks,
  type Mark,
  saveAttribute,
  saveDevice,
  saveMark,
  saveProperty,
} from '../store/twin-store.ts';
import type { Change } from './outcome.ts';

export class Devices {
  /** What was unconfirmed when this was made. */
  readonly storedMarks: readonly Mark[];
  readonly #store: Store;
  readonly #log: Log;
  readonly #devices: Map<string, Device>;
  /** The newest write of each device that is not on the disk yet. */
  readonly #writes = new Map<string, Promise<unknown>>();
  readonly #readAgain = new Set<string>();
  #revision: number;

  constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
    this.#devices = store.read(loadDevices);
    this.storedMarks = store.read(loadMarks);
    this.#revision = this.storedMarks.at(-1)?.revision ?? 0;
  }

  get(id: string): Device | undefined {
    return this.#devices.get(id);
  }

  all(): IterableIterator<Device> {
    return this.#devices.values();
  }

  /** Resolves when all that is decided about the device is on the disk; for '', about all devices. */
  async stored(id: string): Promise<void> {
    if (id === '') await Promise.all(this.#writes.values());
    else await this.#writes.get(id);
  }

  /** The marks that were stored with the change; undefined when nothing was. */
  save(change: Change): Promise<readonly Mark[] | undefined> {
    const { deviceId } = change;
    if (this.#readAgain.has(deviceId)) return Promise.resolve(undefined);
    this.#revision += 1;
    const revision = this.#revision;
    const marks = change.marks.map((mark): Mark => ({ ...mark, deviceId, revision }));
    if (change.device === undefined) this.#devices.delete(deviceId);
    else this.#devices.set(deviceId, change.device);
    const write = this.#write(change, marks);
    this.#writes.set(deviceId, write);
    void write.finally(() => {
      if (this.#writes.get(deviceId) === write) this.#writes.delete(deviceId);
    });
    return write;
  }

  async #write(change: Change, marks: readonly Mark[]): Promise<readonly Mark[] | undefined> {
    const { deviceId } = change;
    try {
      await this.#store.write((sql) => saveChange(sql, change, marks));
      return marks;
    } catch (error) {
      // The store's refusal, or SQLite's own: either way these rows are not on the disk.
      this.#log.error({ device: deviceId, err: error }, 'a change of a device could not be stored');
      await this.#readBack(deviceId);
      return undefined;
    }
  }

  /** Behind what is already on its way to the disk, so that memory and disk are equal afterwards. */
  async #readBack(id: string): Promise<void> {
    if (this.#readAgain.has(id)) return;
    this.#readAgain.add(id);
    try {
      await this.#store.write(() => {}).catch(() => {});
      const device = this.#store.read((sql) => loadDevice(sql, id));
      if (device === undefined) this.#devices.delete(id);
      else this.#devices.set(id, device);
    } finally {
      this.#readAgain.delete(id);
    }
  }
}

function saveChange(sql: Sql, change: Change, marks: readonly Mark[]): void {
  const { device, deviceId } = change;
  if (device === undefined) {
    deleteDevice(sql, deviceId);
    return;
  }
  if (change.row) saveDevice(sql, device);
  for (const name of change.properties) {
    const property = device.twin.get(name);
    if (property === undefined) deleteProperty(sql, deviceId, name);
    else saveProperty(sql, deviceId, name, property);
  }
  for (const name of change.attributes ?? []) {
    const attribute = device.attributes.get(name);
    if (attribute === undefined) deleteAttribute(sql, deviceId, name);
    else saveAttribute(sql, deviceId, name, attribute);
  }
  for (const mark of marks) saveMark(sql, mark);
}
