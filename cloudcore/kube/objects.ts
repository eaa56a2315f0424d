/**
 * The one cache of Kubernetes objects that the controllers share: pods bound to nodes, nodes, devices and models
 * with their bodies; configMaps and secrets as names and versions only. It says what belongs to which node, and
 * reads bodies for CloudHub. Nothing is decided here about what an edge gets.
 */

import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import { HawserError } from '#protocol/errors.ts';
import { formatObjectPath, type ObjectPath } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { type Delta, Informer, type InformerOptions } from './informer.ts';
import { isNotFound, type KubeApi, type ResourceRef } from './kube-api.ts';
import type { ObjectReader } from './object-reader.ts';
import { isRecord } from './patch.ts';
import { ReferenceIndex } from './reference-index.ts';

export interface ObjectCacheComponents {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export const cachedTypes = [
  'node',
  'pod',
  'configmap',
  'secret',
  'persistentvolume',
  'persistentvolumeclaim',
  'device',
  'devicemodel',
] as const;
export type CachedType = (typeof cachedTypes)[number];

export function isCachedType(type: string): type is CachedType {
  return cachedTypes.some((known) => known === type);
}

export interface Change extends Delta {
  readonly kind: CachedType;
  readonly path: string;
}

/** What the cache knows of one object, whatever its type. */
export interface Known {
  readonly uid: string;
  readonly resourceVersion: string;
  /** The resourceVersion of the last change that an edge has to hear of. */
  readonly changedVersion: string;
  readonly object: KubeObject;
}

/** The API behind our address is not the one that we have been following. */
export class ForeignClusterError extends HawserError<{
  code: 'foreign-cluster';
  expected: string;
  found: string;
}> {}

const deviceVersion = 'devices.kubeedge.io/v1beta1';

/** Type on the wire → resource of the API. */
export const resourceOf: Readonly<Record<CachedType, ResourceRef>> = {
  node: { apiVersion: 'v1', plural: 'nodes' },
  pod: { apiVersion: 'v1', plural: 'pods' },
  configmap: { apiVersion: 'v1', plural: 'configmaps' },
  secret: { apiVersion: 'v1', plural: 'secrets' },
  persistentvolume: { apiVersion: 'v1', plural: 'persistentvolumes' },
  persistentvolumeclaim: { apiVersion: 'v1', plural: 'persistentvolumeclaims' },
  device: { apiVersion: deviceVersion, plural: 'devices' },
  devicemodel: { apiVersion: deviceVersion, plural: 'devicemodels' },
};

const informerOptions: Readonly<Record<CachedType, Omit<InformerOptions, 'ref'>>> = {
  node: {},
  pod: { fieldSelector: 'spec.nodeName!=', trim: withoutManagedFields },
  configmap: { metadataOnly: true, trim: identityOnly },
  secret: { metadataOnly: true, trim: identityOnly },
  persistentvolume: { trim: claimOnly },
  persistentvolumeclaim: { metadataOnly: true, trim: identityOnly },
  device: { trim: withoutManagedFields },
  devicemodel: { trim: withoutManagedFields },
};

/** Of these the cache has no bodies: they are fetched for nodes that may have them. */
const bodiless: ReadonlySet<string> = new Set([
  'configmap',
  'secret',
  'persistentvolume',
  'persistentvolumeclaim',
]);

/** Deleted objects that are still known whole, for edges that need more of them than their identity. */
const lastSeenMax = 1_000;

export class ObjectCache implements ObjectReader {
  readonly #components: ObjectCacheComponents;
  readonly #informers: Readonly<Record<CachedType, Informer>>;
  readonly #index = new ReferenceIndex();
  readonly #changedVersions = new Map<string, string>();
  readonly #devicesOfNode = new Map<string, Map<string, KubeObject>>();
  readonly #handlers = new Set<(change: Change) => void>();
  readonly #lastSeen = new Map<string, KubeObject>();
  #epoch: string | undefined;

  constructor(components: ObjectCacheComponents) {
    this.#components = components;
    const inform = (kind: CachedType): Informer => {
      const checkSource = () => this.checkCluster();
      const options = { ...informerOptions[kind], ref: resourceOf[kind] };
      const informer = new Informer(options, { ...components, checkSource });
      informer.onDelta((delta) => this.#take(kind, delta));
      return informer;
    };
    this.#informers = {
      node: inform('node'),
      pod: inform('pod'),
      configmap: inform('configmap'),
      secret: inform('secret'),
      persistentvolume: inform('persistentvolume'),
      persistentvolumeclaim: inform('persistentvolumeclaim'),
      device: inform('device'),
      devicemodel: inform('devicemodel'),
    };
  }

  /** Follows the API until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(Object.values(this.#informers).map((informer) => informer.run(signal)));
  }

  /** Resolves once all of these types have been listed, or when the signal is aborted. */
  async whenSynced(signal: AbortSignal, types: readonly CachedType[] = cachedTypes): Promise<void> {
    const all = Promise.all(types.map((type) => this.#informers[type].whenSynced()));
    const stopped = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([all, stopped]);
  }

  isSynced(type: CachedType): boolean {
    return this.#informers[type].synced;
  }

  /** The uid of the namespace kube-system: tells one cluster's objects from another's. Known once synced. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  onChange(handler: (change: Change) => void): void {
    this.#handlers.add(handler);
  }

  get(type: CachedType, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.#informers[type].get(namespace, name);
  }

  /** By path; undefined for what does not exist, or is of a type that is not kept here. */
  known(path: ObjectPath): Known | undefined {
    if (path.name === undefined || !isCachedType(path.type)) return undefined;
    const object = this.get(path.type, path.namespace, path.name);
    const { uid, resourceVersion } = object?.metadata ?? {};
    if (object === undefined || uid === undefined || resourceVersion === undefined) return undefined;
    const changedVersion = this.#changedVersions.get(formatObjectPath(path)) ?? resourceVersion;
    return { uid, resourceVersion, changedVersion, object };
  }

  /**
   * The version since which the object, as the API has just answered it, differs from what is known here in nothing
   * that an edge reads; undefined when it does, or is not known.
   */
  sameSince(type: CachedType, answered: KubeObject): string | undefined {
    const { namespace, name, uid } = answered.metadata;
    const known = this.known({ namespace, type, name });
    if (known === undefined || known.uid !== uid || concernsEdge(type, known.object, answered))
      return undefined;
    return known.changedVersion;
  }

  /** An object as it was when it was last there; undefined when that is no longer known, or without a body. */
  lastSeen(path: ObjectPath, uid: string): KubeObject | undefined {
    if (bodiless.has(path.type)) return undefined;
    const object = this.known(path)?.object;
    if (object?.metadata.uid === uid) return object;
    return this.#lastSeen.get(uid);
  }

  podsOf(node: string): Iterable<KubeObject> {
    return this.#index.podsOf(node);
  }

  /** Paths of the configMaps, secrets, claims and service accounts that the node's pods name. */
  referencesOf(node: string): ReadonlySet<string> {
    return this.#index.referencesOf(node);
  }

  nodesReferencing(path: string): Iterable<string> {
    return this.#index.nodesReferencing(path);
  }

  references(node: string, path: string): boolean {
    return this.#index.references(node, path);
  }

  devicesOf(node: string): Iterable<KubeObject> {
    return this.#devicesOfNode.get(node)?.values() ?? [];
  }

  devices(): Iterable<KubeObject> {
    return this.#informers.device.list();
  }

  async read(path: ObjectPath): Promise<KubeObject | undefined> {
    if (path.name === undefined || !isCachedType(path.type)) return undefined;
    if (!bodiless.has(path.type)) return this.get(path.type, path.namespace, path.name);
    const ref = { ...resourceOf[path.type], namespace: path.namespace, name: path.name };
    try {
      return withoutManagedFields(await this.#components.api.get(ref));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /**
   * An API that was replaced by an empty one must not look like a deletion of everything.
   * @throws ForeignClusterError
   */
  async checkCluster(): Promise<void> {
    const ref = { apiVersion: 'v1', plural: 'namespaces', name: 'kube-system' };
    const found = (await this.#components.api.get(ref)).metadata.uid ?? '';
    this.#epoch ??= found;
    if (found === this.#epoch) return;
    throw new ForeignClusterError(
      'the Kubernetes API is another cluster than before; restart cloudcore if that is meant',
      { code: 'foreign-cluster', expected: this.#epoch, found },
    );
  }

  #take(kind: CachedType, delta: Delta): void {
    const { namespace, name } = delta.object.metadata;
    const path = formatObjectPath({ namespace, type: kind, name });
    if (delta.type === 'deleted') {
      this.#changedVersions.delete(path);
      this.#keepLast(kind, delta.object);
    } else if (delta.before === undefined || concernsEdge(kind, delta.before, delta.object)) {
      this.#changedVersions.set(path, delta.object.metadata.resourceVersion ?? '');
    }
    if (kind === 'pod') {
      if (delta.type === 'deleted') this.#index.remove(delta.object);
      else this.#index.put(delta.object);
    }
    if (kind === 'device') this.#indexDevice(delta);
    for (const handler of this.#handlers) handler({ ...delta, kind, path });
  }

  #keepLast(kind: CachedType, object: KubeObject): void {
    const { uid } = object.metadata;
    if (uid === undefined || bodiless.has(kind)) return;
    this.#lastSeen.set(uid, object);
    for (const oldest of this.#lastSeen.keys()) {
      if (this.#lastSeen.size <= lastSeenMax) break;
      this.#lastSeen.delete(oldest);
    }
  }

  #indexDevice({ type, object, before }: Delta): void {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    const was = before === undefined ? undefined : deviceNodeOf(before);
    if (was !== undefined) {
      const devices = this.#devicesOfNode.get(was);
      devices?.delete(key);
      if (devices?.size === 0) this.#devicesOfNode.delete(was);
    }
    const node = deviceNodeOf(object);
    if (type === 'deleted' || node === undefined) return;
    const devices = this.#devicesOfNode.get(node) ?? new Map<string, KubeObject>();
    devices.set(key, object);
    this.#devicesOfNode.set(node, devices);
  }
}

/** The node that a Device belongs to; none while `nodeName` is empty. */
export function deviceNodeOf(device: KubeObject): string | undefined {
  const name = isRecord(device.spec) ? device.spec.nodeName : undefined;
  return typeof name === 'string' && name !== '' ? name : undefined;
}

/** The model of a Device, in its namespace. */
export function deviceModelOf(device: KubeObject): string | undefined {
  const ref = isRecord(device.spec) ? device.spec.deviceModelRef : undefined;
  const name = isRecord(ref) ? ref.name : undefined;
  return typeof name === 'string' && name !== '' ? name : undefined;
}

/**
 * Whether a change is news to an edge. Its own status reports come back as changes of pods and nodes, and labels
 * of devices mean nothing there (devices 5.1); an object that is on its way out always is.
 */
function concernsEdge(kind: CachedType, before: KubeObject, after: KubeObject): boolean {
  if (Boolean(before.metadata.deletionTimestamp) !== Boolean(after.metadata.deletionTimestamp)) return true;
  if (before.metadata.deletionGracePeriodSeconds !== after.metadata.deletionGracePeriodSeconds) return true;
  if (kind === 'device' || kind === 'devicemodel') return !isDeepStrictEqual(before.spec, after.spec);
  if (bodiless.has(kind)) return true;
  if (kind === 'node' && isSilent(after) && !isSilent(before)) return true;
  return !isDeepStrictEqual(essence(before), essence(after));
}

/** The control plane has found the node silent. An edge that is connected can say otherwise. */
function isSilent(node: KubeObject): boolean {
  const conditions = isRecord(node.status) ? node.status.conditions : undefined;
  if (!Array.isArray(conditions)) return false;
  return conditions.some((it) => isRecord(it) && it.type === 'Ready' && it.status === 'Unknown');
}

function essence(object: KubeObject): unknown {
  const { status: _, metadata, ...rest } = object;
  const { resourceVersion: _version, managedFields: _fields, generation: _generation, ...kept } = metadata;
  return { ...rest, metadata: kept };
}

function withoutManagedFields(object: KubeObject): KubeObject {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** Enough to know whose volume it is. */
function claimOnly(volume: KubeObject): KubeObject {
  const claim = isRecord(volume.spec) ? volume.spec.claimRef : undefined;
  const { namespace, name } = isRecord(claim) ? claim : {};
  return { ...identityOnly(volume), spec: { claimRef: { namespace, name } } };
}

/** The path of the claim that a PersistentVolume is bound to. */
export function claimOf(volume: KubeObject): string | undefined {
  const claim = isRecord(volume.spec) ? volume.spec.claimRef : undefined;
  const { namespace, name } = isRecord(claim) ? claim : {};
  if (typeof namespace !== 'string' || typeof name !== 'string') return undefined;
  return formatObjectPath({ namespace, type: 'persistentvolumeclaim', name });
}

function identityOnly({ metadata }: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion } = metadata;
  return { metadata: { name, namespace, uid, resourceVersion } };
}
