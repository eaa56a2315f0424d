/** The Device and DeviceModel objects as MetaManager last told them: which types and wishes a twin gets from them. */

import { z } from 'zod';
import type { Bus } from '#beehive/bus.ts';
import { BusError } from '#beehive/errors.ts';
import { newEnvelope } from '#protocol/message.ts';
import { group, noNamespace, operation, source } from '#protocol/names.ts';
import { type Device as DeviceObject, deviceSchema } from '#protocol/resources/device.ts';
import { type DeviceModel, deviceModelSchema } from '#protocol/resources/device-model.ts';
import { kubeObjectSchema } from '#protocol/resources/object.ts';
import type { Device } from '../store/twin-store.ts';
import { applySpec } from './device-spec.ts';
import type { Moment, Outcome } from './outcome.ts';

const queryTimeoutMs = 30_000;
const listSchema = z.array(kubeObjectSchema);

export interface StoredSpecs {
  /** All that MetaManager holds, also those that cannot be read. */
  readonly ids: ReadonlySet<string>;
  readonly devices: readonly { readonly id: string; readonly object: DeviceObject }[];
}

export class Specs {
  readonly #bus: Bus;
  readonly #node: string;
  readonly #objects = new Map<string, DeviceObject>();
  readonly #models = new Map<string, DeviceModel>();
  /** Paths told about since the question was asked: what was told is newer than the answer. */
  #told: Set<string> | undefined;

  constructor(bus: Bus, node: string) {
    this.#bus = bus;
    this.#node = node;
  }

  put(known: Device | undefined, id: string, object: DeviceObject, moment: Moment): Outcome {
    this.#told?.add(`device ${id}`);
    this.#objects.set(id, object);
    return applySpec(known, object, { id, node: this.#node, model: this.#modelOf(id, object) }, moment);
  }

  devices(): Iterable<readonly [id: string, object: DeviceObject]> {
    return this.#objects;
  }

  models(): Iterable<readonly [key: string, model: DeviceModel]> {
    return this.#models;
  }

  modelOf(id: string): DeviceModel | undefined {
    const object = this.#objects.get(id);
    return object === undefined ? undefined : this.#modelOf(id, object);
  }

  forget(id: string): void {
    this.#told?.add(`device ${id}`);
    this.#objects.delete(id);
  }

  /** The model is new, changed or gone; what follows for each device that names it. */
  putModel(
    key: string,
    model: DeviceModel | undefined,
    deviceOf: (id: string) => Device | undefined,
    moment: Moment,
  ): { readonly id: string; readonly outcome: Outcome }[] {
    this.#told?.add(`devicemodel ${key}`);
    if (model === undefined) this.#models.delete(key);
    else this.#models.set(key, model);
    const node = this.#node;
    return [...this.#objects]
      .filter(([id, object]) => modelKey(id, object) === key && deviceOf(id) !== undefined)
      .map(([id, object]) => ({
        id,
        outcome: applySpec(deviceOf(id), object, { id, node, model }, moment),
      }));
  }

  /**
   * Asks MetaManager for all models and devices; models are taken over, devices handed back to be put.
   * Undefined when it did not answer. @throws CancelledError
   */
  async load(signal: AbortSignal): Promise<StoredSpecs | undefined> {
    this.#told = new Set();
    try {
      const models = await this.#list('devicemodel', signal);
      const devices = models && (await this.#list('device', signal));
      if (devices === undefined) return undefined;
      for (const { id, value } of models ?? []) {
        const model = deviceModelSchema.safeParse(value);
        if (model.success && !this.#told.has(`devicemodel ${id}`)) this.#models.set(id, model.data);
      }
      const devicesToPut: { id: string; object: DeviceObject }[] = [];
      for (const { id, value } of devices) {
        const object = deviceSchema.safeParse(value);
        if (object.success && !this.#told.has(`device ${id}`)) devicesToPut.push({ id, object: object.data });
      }
      return {
        ids: new Set([...this.#objects.keys(), ...devices.map(({ id }) => id)]),
        devices: devicesToPut,
      };
    } finally {
      this.#told = undefined;
    }
  }

  async #list(
    type: 'device' | 'devicemodel',
    signal: AbortSignal,
  ): Promise<{ id: string; value: unknown }[] | undefined> {
    const question = newEnvelope(
      {
        source: source.twin,
        group: group.meta,
        operation: operation.query,
        resource: `${noNamespace}/${type}`,
      },
      null,
    );
    try {
      const answer = await this.#bus.request('metamanager', question, { timeoutMs: queryTimeoutMs, signal });
      const list = listSchema.safeParse(answer.content);
      if (answer.route.operation === operation.error || !list.success) return undefined;
      return list.data.map((value) => ({
        id: `${value.metadata.namespace ?? ''}/${value.metadata.name}`,
        value,
      }));
    } catch (error) {
      if (error instanceof BusError) return undefined;
      throw error;
    }
  }

  #modelOf(id: string, object: DeviceObject): DeviceModel | undefined {
    const key = modelKey(id, object);
    return key === undefined ? undefined : this.#models.get(key);
  }
}

/** The model stands in the device's own namespace. */
function modelKey(id: string, object: DeviceObject): string | undefined {
  const name = object.spec?.deviceModelRef?.name;
  return name === undefined ? undefined : `${id.slice(0, id.indexOf('/'))}/${name}`;
}
