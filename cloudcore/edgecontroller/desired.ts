/**
 * Which objects a node should hold, and which of those it holds may be removed: read from the shared cache,
 * decided purely. Pods bound to it, the configMaps and secrets that they name, and its own Node.
 */

import type { HeldVersion, Wanted } from '#cloudcore/kube/difference.ts';
import type { Known, ObjectCache } from '#cloudcore/kube/objects.ts';
import { edgeRoleLabel } from '#protocol/names.ts';
import { formatObjectPath, type ObjectPath, parseObjectPath } from '#protocol/resource-path.ts';

/** The types that this controller sends; devices are another's. */
export const ownTypes = ['node', 'configmap', 'secret', 'pod'] as const;
type OwnType = (typeof ownTypes)[number];

export function isOwnType(type: string): type is OwnType {
  return ownTypes.some((own) => own === type);
}

export type Cache = Pick<ObjectCache, 'known' | 'podsOf' | 'referencesOf' | 'references' | 'isSynced'>;

export interface DesiredOptions {
  readonly session: 'hawser' | 'kubeedge';
  /** For a KubeEdge edge: the configMaps and secrets that it has asked for (wire 4.5). */
  readonly asked: ReadonlySet<string>;
}

export function nodePath(node: string): ObjectPath {
  return { namespace: undefined, type: 'node', name: node };
}

export function isEdgeNode(node: string, cache: Pick<Cache, 'known'>): boolean {
  const labels = cache.known(nodePath(node))?.object.metadata.labels ?? {};
  return Object.hasOwn(labels, edgeRoleLabel);
}

/** In the order in which it is best sent: what a pod needs stands before the pod. Empty unless it is an edge node. */
export function desiredOf(node: string, cache: Cache, options: DesiredOptions): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  if (!isEdgeNode(node, cache)) return wanted;
  const want = (path: ObjectPath, read = wantedOf) => {
    const known = cache.known(path);
    if (known !== undefined) wanted.set(formatObjectPath(path), read(known));
  };
  // A KubeEdge edge is used to every change of its Node; ours knows its own status.
  want(nodePath(node), options.session === 'kubeedge' ? everyChange : wantedOf);
  for (const text of cache.referencesOf(node)) {
    const path = parseObjectPath(text);
    if (path.type !== 'configmap' && path.type !== 'secret') continue;
    if (options.session === 'hawser' || options.asked.has(text)) want(path);
  }
  for (const { metadata } of cache.podsOf(node)) {
    want({ namespace: metadata.namespace, type: 'pod', name: metadata.name });
  }
  return wanted;
}

/**
 * A held object that is not wanted goes when a synced cache lacks its uid, or, being a configMap or secret,
 * when no pod of the node names it any more. A node that is not (or no longer) an edge node releases nothing,
 * and a node never loses its own Node.
 */
export function mayRemove(node: string, cache: Cache, text: string, held: HeldVersion): boolean {
  const path = parseObjectPath(text);
  if (!isOwnType(path.type) || path.type === 'node' || !cache.isSynced(path.type)) return false;
  if (cache.known(path)?.uid !== held.uid) return true;
  if (path.type === 'pod') return false;
  return cache.isSynced('pod') && isEdgeNode(node, cache) && !cache.references(node, text);
}

function wantedOf({ uid, resourceVersion, changedVersion }: Known): Wanted {
  return { uid, resourceVersion, changedVersion };
}

function everyChange({ uid, resourceVersion }: Known): Wanted {
  return { uid, resourceVersion, changedVersion: resourceVersion };
}
