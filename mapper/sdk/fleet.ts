/** The devices and models that the edge has given to this mapper, each device with its worker. */

import type { DeviceMessage, ModelMessage } from '#protocol/dmi/messages.ts';
import type { DriverClass } from '../hawser-mapper.ts';
import { DeviceWorker, type WorkerComponents } from './device-worker.ts';
import type { Assignment } from './edge-link.ts';
import { MapperError } from './mapper-error.ts';
import { deviceSpec } from './spec.ts';

/** Far more than one program can serve; the edge has a limit of its own. */
const devicesMax = 10_000;

export class Fleet {
  readonly #driverClass: DriverClass;
  readonly #components: WorkerComponents;
  readonly #messages = new Map<string, DeviceMessage>();
  readonly #models = new Map<string, ModelMessage>();
  readonly #workers = new Map<string, DeviceWorker>();
  /** Of each device, so that a stop ends before the next start. */
  readonly #turns = new Map<string, Promise<void>>();

  constructor(driverClass: DriverClass, components: WorkerComponents) {
    this.#driverClass = driverClass;
    this.#components = components;
  }

  get(id: string): DeviceWorker | undefined {
    return this.#workers.get(id);
  }

  model(key: string): ModelMessage | undefined {
    return this.#models.get(key);
  }

  /** All that there is: what is not named is gone. */
  assign({ models, devices }: Assignment): void {
    const named = new Set(devices.slice(0, devicesMax).map(idOf));
    for (const id of [...this.#messages.keys()]) if (!named.has(id)) this.remove(id);
    this.#models.clear();
    for (const model of models) this.#models.set(idOf(model), model);
    for (const device of devices.slice(0, devicesMax)) this.put(device);
  }

  putModel(model: ModelMessage): void {
    this.#models.set(idOf(model), model);
    for (const message of this.#messages.values()) if (modelOf(message) === idOf(model)) this.put(message);
  }

  removeModel(key: string): void {
    this.#models.delete(key);
  }

  /** New, changed or the same. @throws MapperError */
  put(message: DeviceMessage): void {
    const id = idOf(message);
    if (!this.#messages.has(id) && this.#messages.size >= devicesMax)
      throw new MapperError(`a mapper has at most ${devicesMax} devices`, { code: 'busy' });
    this.#messages.set(id, message);
    this.#settle(id);
  }

  remove(id: string): void {
    this.#messages.delete(id);
    this.#settle(id);
  }

  async stop(): Promise<void> {
    this.#messages.clear();
    for (const id of this.#workers.keys()) this.#settle(id);
    await Promise.all(this.#turns.values());
  }

  #settle(id: string): void {
    const turn = (this.#turns.get(id) ?? Promise.resolve()).then(() => this.#bring(id));
    this.#turns.set(id, turn);
    void turn.finally(() => {
      if (this.#turns.get(id) === turn) this.#turns.delete(id);
    });
  }

  /** The device's worker to what is known of the device now. */
  async #bring(id: string): Promise<void> {
    const message = this.#messages.get(id);
    const worker = this.#workers.get(id);
    const model = message === undefined ? undefined : this.#models.get(modelOf(message));
    if (message !== undefined && model === undefined) {
      // Read and written without its types a device would get and give other values than are meant.
      const reason = `its model "${modelOf(message)}" has not come yet`;
      if (worker === undefined) this.#components.log.warn({ device: id, reason }, 'a device waits');
      return;
    }
    const spec = message === undefined ? undefined : deviceSpec(message, model);
    if (spec !== undefined && worker?.change(spec)) return;
    if (worker !== undefined) {
      this.#workers.delete(id);
      await worker.stop();
    }
    if (spec === undefined) return;
    try {
      const fresh = new DeviceWorker(spec, this.#driverClass, this.#components);
      this.#workers.set(id, fresh);
      fresh.start();
    } catch (error) {
      // The driver's constructor: its author's, and so is the message.
      this.#components.log.warn({ device: id, err: error }, 'no driver for a device');
    }
  }
}

export function idOf({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`;
}

/** It stands in the device's own namespace. */
function modelOf({ namespace, spec }: DeviceMessage): string {
  return `${namespace}/${spec?.deviceModelReference ?? ''}`;
}
