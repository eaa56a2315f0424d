/**
 * Which Devices and DeviceModels a node should hold, and which of those it holds may be removed. Pure: read from
 * the shared cache. A model goes to a node with the first device that uses it, and goes when the last has gone.
 */

import type { HeldVersion, Wanted } from '#cloudcore/kube/difference.ts';
import { deviceModelOf, deviceNodeOf, type ObjectCache } from '#cloudcore/kube/objects.ts';
import { formatObjectPath, type ObjectPath, parseObjectPath } from '#protocol/resource-path.ts';

export type Cache = Pick<ObjectCache, 'known' | 'devicesOf' | 'isSynced'>;

/** Nodes, because they say what may go; see epoch.ts. */
export const neededTypes = ['node', 'device', 'devicemodel'] as const;

export function isOwnType(type: string): type is 'device' | 'devicemodel' {
  return type === 'device' || type === 'devicemodel';
}

/** A model stands before the devices that use it (wire 4.5). */
export function desiredOf(node: string, cache: Cache): Map<string, Wanted> {
  const models = new Map<string, Wanted>();
  const devices = new Map<string, Wanted>();
  const want = (into: Map<string, Wanted>, path: ObjectPath) => {
    const known = cache.known(path);
    if (known === undefined) return;
    const { uid, resourceVersion, changedVersion } = known;
    into.set(formatObjectPath(path), { uid, resourceVersion, changedVersion });
  };
  for (const device of cache.devicesOf(node)) {
    const { namespace, name } = device.metadata;
    const model = deviceModelOf(device);
    if (model !== undefined) want(models, { namespace, type: 'devicemodel', name: model });
    want(devices, { namespace, type: 'device', name });
  }
  return new Map([...models, ...devices]);
}

/**
 * What is not wanted goes when a synced cache lacks its uid, or says that the device is another node's, or
 * that no device of the node uses the model.
 */
export function mayRemove(node: string, cache: Cache, text: string, held: HeldVersion): boolean {
  const path = parseObjectPath(text);
  if (!isOwnType(path.type) || !cache.isSynced('device') || !cache.isSynced('devicemodel')) return false;
  const known = cache.known(path);
  if (known?.uid !== held.uid) return true;
  if (path.type === 'device') return deviceNodeOf(known.object) !== node;
  for (const device of cache.devicesOf(node)) {
    if (device.metadata.namespace === path.namespace && deviceModelOf(device) === path.name) return false;
  }
  return true;
}
