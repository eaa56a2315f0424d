/**
 * DeviceStatus in the Kubernetes API: one for each Device, owned by it so that it goes with it, and written as a
 * whole list of twins (it has no status subresource, and a merge patch replaces lists).
 */

import type { Log } from '#beehive/log.ts';
import { isAlreadyExists, isNotFound, type KubeApi, type ObjectRef } from '#cloudcore/kube/kube-api.ts';
import { type DeviceStatus, deviceStatusSchema } from '#protocol/resources/device-status.ts';
import type { KubeObject } from '#protocol/resources/object.ts';

const apiVersion = 'devices.kubeedge.io/v1beta1';
const collection = { apiVersion, plural: 'devicestatuses' };

export class DeviceStatusStore {
  readonly #api: KubeApi;
  readonly #log: Log;

  constructor({ api, log }: { readonly api: KubeApi; readonly log: Log }) {
    this.#api = api;
    this.#log = log;
  }

  /** The status of this very Device, created when there is none. @throws KubeError */
  async ensure(device: KubeObject, signal: AbortSignal): Promise<DeviceStatus> {
    try {
      return deviceStatusSchema.parse(await this.#create(device, signal));
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    const found = await this.#api.get(refOf(device), { signal });
    const owner = found.metadata.ownerReferences?.find(({ kind }) => kind === 'Device');
    if (owner?.uid === device.metadata.uid) return this.#read(found);
    // It belongs to an earlier Device of the name; the garbage collector would take our values with it.
    await this.#api.delete(refOf(device), {
      signal,
      ...(found.metadata.uid === undefined ? {} : { preconditions: { uid: found.metadata.uid } }),
    });
    return this.#read(await this.#create(device, signal));
  }

  /** @throws KubeError; `notFound` when somebody removed it meanwhile */
  async write(device: KubeObject, status: object, signal: AbortSignal): Promise<void> {
    await this.#api.patch(refOf(device), 'merge', { status }, { signal });
  }

  async #create(device: KubeObject, signal: AbortSignal): Promise<KubeObject> {
    const { name, namespace, uid } = device.metadata;
    const owner = { apiVersion, kind: 'Device', name, uid, controller: true, blockOwnerDeletion: false };
    const metadata = { name, namespace, ownerReferences: [owner] };
    const object = { apiVersion, kind: 'DeviceStatus', metadata, spec: {} };
    return await this.#api.create({ ...collection, namespace }, object, { signal });
  }

  /** What others wrote there in another form is not kept. */
  #read(object: KubeObject): DeviceStatus {
    const parsed = deviceStatusSchema.safeParse(object);
    if (parsed.success) return parsed.data;
    const { namespace, name } = object.metadata;
    this.#log.warn({ device: `${namespace}/${name}`, err: parsed.error }, 'DeviceStatus has an unknown form');
    return { ...object, spec: {}, status: {} };
  }
}

export function wasRemoved(error: unknown): boolean {
  return isNotFound(error);
}

function refOf({ metadata }: KubeObject): ObjectRef {
  return { ...collection, namespace: metadata.namespace, name: metadata.name };
}
