/**
 * ObjectSync and ClusterObjectSync (wire 5.1): how a note about one object at one node is written in the API, as
 * KubeEdge's cloudcore writes and reads it. Pure.
 */

import { z } from 'zod';
import type { ObjectRef, ResourceRef } from '#cloudcore/kube/kube-api.ts';
import type { ObjectPath } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';

const apiVersion = 'reliablesyncs.kubeedge.io/v1alpha1';

export const namespacedSyncs: ResourceRef = { apiVersion, plural: 'objectsyncs' };
export const clusterSyncs: ResourceRef = { apiVersion, plural: 'clusterobjectsyncs' };

/** What KubeEdge writes for an object that was sent and never acknowledged. */
export const neverAcknowledged = '0';

const device = 'devices.kubeedge.io/v1beta1';

/** Type on the wire → what stands in `spec`. Other types are not noted. */
const kinds: ReadonlyMap<string, { readonly apiVersion: string; readonly kind: string }> = new Map([
  ['pod', { apiVersion: 'v1', kind: 'Pod' }],
  ['node', { apiVersion: 'v1', kind: 'Node' }],
  ['configmap', { apiVersion: 'v1', kind: 'ConfigMap' }],
  ['secret', { apiVersion: 'v1', kind: 'Secret' }],
  ['persistentvolume', { apiVersion: 'v1', kind: 'PersistentVolume' }],
  ['persistentvolumeclaim', { apiVersion: 'v1', kind: 'PersistentVolumeClaim' }],
  ['device', { apiVersion: device, kind: 'Device' }],
  ['devicemodel', { apiVersion: device, kind: 'DeviceModel' }],
]);

/** That a node was sent an object. */
export interface Note {
  readonly node: string;
  readonly path: ObjectPath & { readonly name: string };
  /** Of the object, not of the note. */
  readonly uid: string;
  /** Empty: none acknowledged. */
  readonly version: string;
}

export function isNoted(path: ObjectPath): path is ObjectPath & { readonly name: string } {
  return kinds.has(path.type) && path.name !== undefined;
}

export function syncRef({ node, path, uid }: Pick<Note, 'node' | 'path' | 'uid'>): ObjectRef {
  const name = `${node}.${uid}`;
  if (path.namespace === undefined) return { ...clusterSyncs, name };
  return { ...namespacedSyncs, namespace: path.namespace, name };
}

export function syncObject(note: Pick<Note, 'node' | 'path' | 'uid'>): object {
  const { name, namespace } = syncRef(note);
  const { apiVersion: objectAPIVersion, kind: objectKind } = kinds.get(note.path.type) ?? {};
  return {
    apiVersion,
    kind: namespace === undefined ? 'ClusterObjectSync' : 'ObjectSync',
    metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
    spec: { objectAPIVersion, objectKind, objectName: note.path.name },
  };
}

const syncSchema = z.looseObject({
  spec: z.looseObject({ objectKind: z.string(), objectName: z.string() }),
  status: z.looseObject({ objectResourceVersion: z.string().optional() }).optional(),
});

/** The node's name may have dots, a uid has none. Undefined for what is not about an object of ours. */
export function readSync(object: KubeObject): Note | undefined {
  const node = nodeOfSync(object);
  const { data } = syncSchema.safeParse(object);
  if (node === undefined || data === undefined) return undefined;
  const { name, namespace } = object.metadata;
  const type = data.spec.objectKind.toLowerCase();
  const path = { namespace, type, name: data.spec.objectName };
  if (!kinds.has(type) || path.name === '') return undefined;
  const version = data.status?.objectResourceVersion ?? '';
  const uid = name.slice(node.length + 1);
  return { node, path, uid, version: version === neverAcknowledged ? '' : version };
}

export function nodeOfSync({ metadata }: KubeObject): string | undefined {
  const dot = metadata.name.lastIndexOf('.');
  return dot <= 0 || dot === metadata.name.length - 1 ? undefined : metadata.name.slice(0, dot);
}

/** Versions of the API count up; what is no number is older than any. */
export function isNewer(version: string, than: string): boolean {
  const number = (text: string) => (/^\d{1,20}$/.test(text) ? BigInt(text) : -1n);
  return number(version) > number(than);
}
