/**
 * What a mapper should know, from the objects that the edge holds, and the calls that make it so. Decided purely and
 * from the whole, so that nothing depends on which change was heard of and which was not.
 */

import type { Device } from '#protocol/resources/device.ts';
import type { DeviceModel } from '#protocol/resources/device-model.ts';
import { type DeviceForMapper, deviceMessage, type ModelForMapper, modelMessage } from './device-message.ts';
import { digestOf } from './mapper-rows.ts';

/** The objects of this node as MetaManager told them. */
export interface HeldSpecs {
  devices(): Iterable<readonly [id: string, object: Device]>;
  models(): Iterable<readonly [key: string, model: DeviceModel]>;
  modelOf(id: string): DeviceModel | undefined;
}

interface Item<T> {
  readonly message: T;
  readonly digest: string;
}

export interface Wanted {
  readonly models: ReadonlyMap<string, Item<ModelForMapper>>;
  readonly devices: ReadonlyMap<string, Item<DeviceForMapper>>;
  /** Devices of the mapper that cannot be told, and why: what it knows of them stays. */
  readonly untold: ReadonlyMap<string, string>;
}

export const nothingWanted: Wanted = { models: new Map(), devices: new Map(), untold: new Map() };

export interface Step {
  /** What is told about: `model ns/name` or `device ns/name`. */
  readonly key: string;
  readonly method: string;
  readonly request: object;
  /** Of what is known to the mapper afterwards; undefined when it knows nothing of it any more. */
  readonly digest: string | undefined;
}

/** Builds messages, each only when its object or model is another. */
export class WantedSpecs {
  readonly #specs: HeldSpecs;
  readonly #devices = new WeakMap<
    Device,
    { model: DeviceModel | undefined; item: Item<DeviceForMapper> | string }
  >();
  readonly #models = new WeakMap<DeviceModel, Item<ModelForMapper>>();

  constructor(specs: HeldSpecs) {
    this.#specs = specs;
  }

  of(protocol: string): Wanted {
    const devices = new Map<string, Item<DeviceForMapper>>();
    const models = new Map<string, Item<ModelForMapper>>();
    const untold = new Map<string, string>();
    for (const [key, model] of this.#specs.models()) {
      if (model.spec?.protocol === protocol) models.set(key, this.#model(model));
    }
    for (const [id, object] of this.#specs.devices()) {
      if (object.spec?.protocol?.protocolName !== protocol) continue;
      const model = this.#specs.modelOf(id);
      const item = this.#device(object, model);
      if (typeof item === 'string') untold.set(id, item);
      else devices.set(id, item);
      if (model !== undefined) {
        models.set(`${id.slice(0, id.indexOf('/'))}/${model.metadata.name}`, this.#model(model));
      }
    }
    return { models, devices, untold };
  }

  #device(object: Device, model: DeviceModel | undefined): Item<DeviceForMapper> | string {
    const known = this.#devices.get(object);
    if (known !== undefined && known.model === model) return known.item;
    const message = deviceMessage(object, model);
    const item = typeof message === 'string' ? message : { message, digest: digestOf(message) };
    this.#devices.set(object, { model, item });
    return item;
  }

  #model(model: DeviceModel): Item<ModelForMapper> {
    const known = this.#models.get(model);
    if (known !== undefined) return known;
    const message = modelMessage(model);
    const item = { message, digest: digestOf(message) };
    this.#models.set(model, item);
    return item;
  }
}

/** Models before the devices that name them, and after them when they go. `complete`: what is not wanted is gone. */
export function plan(wanted: Wanted, told: ReadonlyMap<string, string>, complete: boolean): Step[] {
  const steps: Step[] = [];
  for (const [id, { message: model, digest }] of wanted.models) {
    const key = `model ${id}`;
    if (told.get(key) === digest) continue;
    const method = told.has(key) ? 'UpdateDeviceModel' : 'CreateDeviceModel';
    steps.push({ key, method, request: { model }, digest });
  }
  for (const [id, { message: device, digest }] of wanted.devices) {
    const key = `device ${id}`;
    if (told.get(key) === digest) continue;
    steps.push({
      key,
      method: told.has(key) ? 'UpdateDevice' : 'RegisterDevice',
      request: { device },
      digest,
    });
  }
  if (!complete) return steps;
  const leaving = [...told.keys()].filter((key) => {
    const id = key.slice(key.indexOf(' ') + 1);
    if (key.startsWith('device ')) return !wanted.devices.has(id) && !wanted.untold.has(id);
    return !wanted.models.has(id);
  });
  const first = leaving.filter((key) => key.startsWith('device '));
  const last = leaving.filter((key) => !key.startsWith('device '));
  return [...steps, ...[...first, ...last].map(removal)];
}

/** What the mapper knows once it has all that is wanted. */
export function digestsOf(wanted: Wanted): Map<string, string> {
  return new Map([
    ...[...wanted.models].map(([id, { digest }]) => [`model ${id}`, digest] as const),
    ...[...wanted.devices].map(([id, { digest }]) => [`device ${id}`, digest] as const),
  ]);
}

function removal(key: string): Step {
  const [kind = '', id = ''] = key.split(' ');
  const [namespace = '', name = ''] = id.split('/');
  return kind === 'device'
    ? {
        key,
        method: 'RemoveDevice',
        request: { deviceName: name, deviceNamespace: namespace },
        digest: undefined,
      }
    : {
        key,
        method: 'RemoveDeviceModel',
        request: { modelName: name, modelNamespace: namespace },
        digest: undefined,
      };
}
