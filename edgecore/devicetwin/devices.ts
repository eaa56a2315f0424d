/**
 * The devices in memory, and their way to the disk: memory is changed at once, rows with the next group commit, which
 * writes each row once, however often it changed meanwhile. When a commit is lost, memory is ahead of the disk: the
 * device then refuses changes until it is read again.
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
  /** Writes that have not begun, which later changes of the same device join. */
  readonly #next = new Map<string, NextWrite>();
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
    const stored = this.#join(change, marks) ?? this.#begin(change, marks);
    return stored.then((isStored) => (isStored ? marks : undefined));
  }

  #join(change: Change, marks: readonly Mark[]): Promise<boolean> | undefined {
    const next = this.#next.get(change.deviceId);
    if (next === undefined || change.device === undefined) return undefined;
    next.rows.add(change, marks);
    return next.stored;
  }

  #begin(change: Change, marks: readonly Mark[]): Promise<boolean> {
    const { deviceId } = change;
    const rows = new DirtyRows(change, marks);
    const stored = this.#write(rows);
    // Nothing joins a deletion: what comes after it is another device.
    if (change.device === undefined) this.#next.delete(deviceId);
    else this.#next.set(deviceId, { rows, stored });
    this.#writes.set(deviceId, stored);
    void stored.then(() => {
      if (this.#writes.get(deviceId) === stored) this.#writes.delete(deviceId);
    });
    return stored;
  }

  async #write(rows: DirtyRows): Promise<boolean> {
    const { deviceId } = rows;
    try {
      await this.#store.write((sql) => {
        if (this.#next.get(deviceId)?.rows === rows) this.#next.delete(deviceId);
        rows.save(sql);
      });
      return true;
    } catch (error) {
      // The store's refusal, or SQLite's own: either way these rows are not on the disk.
      if (this.#next.get(deviceId)?.rows === rows) this.#next.delete(deviceId);
      this.#log.error({ device: deviceId, err: error }, 'a change of a device could not be stored');
      await this.#readBack(deviceId);
      return false;
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

interface NextWrite {
  readonly rows: DirtyRows;
  readonly stored: Promise<boolean>;
}

/** Which rows of one device differ from the disk, and its state that they are written from. */
class DirtyRows {
  readonly deviceId: string;
  #device: Device | undefined;
  #row = false;
  readonly #properties = new Set<string>();
  readonly #attributes = new Set<string>();
  readonly #marks = new Map<string, Mark>();

  constructor(change: Change, marks: readonly Mark[]) {
    this.deviceId = change.deviceId;
    this.add(change, marks);
  }

  add({ device, row, properties, attributes = [] }: Change, marks: readonly Mark[]): void {
    this.#device = device;
    this.#row ||= row;
    for (const name of properties) this.#properties.add(name);
    for (const name of attributes) this.#attributes.add(name);
    for (const mark of marks) this.#marks.set(`${mark.kind} ${mark.name}`, mark);
  }

  save(sql: Sql): void {
    const { deviceId } = this;
    const device = this.#device;
    if (device === undefined) {
      deleteDevice(sql, deviceId);
      return;
    }
    if (this.#row) saveDevice(sql, device);
    for (const name of this.#properties) {
      const property = device.twin.get(name);
      if (property === undefined) deleteProperty(sql, deviceId, name);
      else saveProperty(sql, deviceId, name, property);
    }
    for (const name of this.#attributes) {
      const attribute = device.attributes.get(name);
      if (attribute === undefined) deleteAttribute(sql, deviceId, name);
      else saveAttribute(sql, deviceId, name, attribute);
    }
    for (const mark of this.#marks.values()) saveMark(sql, mark);
  }
}
