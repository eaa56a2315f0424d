/**
 * Which objects a node should hold, and which of those it holds may be removed: read from the shared cache,
 * decided purely. Pods bound to it, the configMaps and secrets that they name, and its own Node.
 */

import type { HeldVersion, Wanted } from '#cloudcore/kube/difference.ts';
import { claimOf, type Known, type ObjectCache } from '#cloudcore/kube/objects.ts';
import { edgeRoleLabel } from '#protocol/names.ts';
import { formatObjectPath, type ObjectPath, parseObjectPath } from '#protocol/resource-path.ts';

/** The types that this controller sends; devices are another's. */
export const ownTypes = [
  'node',
  'persistentvolume',
  'persistentvolumeclaim',
  'configmap',
  'secret',
  'pod',
] as const;
type OwnType = (typeof ownTypes)[number];

/** Without these nothing can be decided; volumes are looked at when there are any. */
export const neededTypes = ['node', 'configmap', 'secret', 'pod'] as const;

/** What pods name and every edge asks for. */
const volumes: ReadonlySet<string> = new Set(['persistentvolumeclaim', 'persistentvolume']);
/** What pods name and a KubeEdge edge asks for; ours is sent the others. */
const askedFor: ReadonlySet<string> = new Set(['configmap', 'secret', ...volumes]);

export function isOwnType(type: string): type is OwnType {
  return ownTypes.some((own) => own === type);
}

export type Cache = Pick<ObjectCache, 'known' | 'podsOf' | 'referencesOf' | 'references' | 'isSynced'>;

export interface DesiredOptions {
  readonly session: 'hawser' | 'kubeedge';
  /** What it was sent; of what pods name a KubeEdge edge gets what it has asked for (wire 4.5), ours of volumes. */
  readonly held: ReadonlyMap<string, unknown>;
}

export function nodePath(node: string): ObjectPath {
  return { namespace: undefined, type: 'node', name: node };
}

export function isEdgeNode(node: string, cache: Pick<Cache, 'known'>): boolean {
  const labels = cache.known(nodePath(node))?.object.metadata.labels ?? {};
  return Object.hasOwn(labels, edgeRoleLabel);
}

/** In the order in which it is best sent: what a pod needs stands before the pod. Empty unless it is an edge node. */
export function desiredOf(
  node: string,
  cache: Cache,
  { session, held }: DesiredOptions,
): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  if (!isEdgeNode(node, cache)) return wanted;
  // A KubeEdge edge computes its next report from the last state it was sent, so it gets what others changed there.
  const read = session === 'kubeedge' ? everyChange : wantedOf;
  const want = (path: ObjectPath) => {
    const known = cache.known(path);
    if (known !== undefined) wanted.set(formatObjectPath(path), read(known));
  };
  want(nodePath(node));
  for (const path of named(node, cache, session, held)) want(path);
  for (const { metadata } of cache.podsOf(node)) {
    want({ namespace: metadata.namespace, type: 'pod', name: metadata.name });
  }
  return wanted;
}

function* named(
  node: string,
  cache: Cache,
  session: DesiredOptions['session'],
  held: ReadonlyMap<string, unknown>,
): Iterable<ObjectPath> {
  if (session === 'hawser') {
    for (const text of cache.referencesOf(node)) {
      const path = parseObjectPath(text);
      if (path.type === 'configmap' || path.type === 'secret') yield path;
    }
  }
  const asked = session === 'hawser' ? volumes : askedFor;
  for (const text of held.keys()) {
    const path = parseObjectPath(text);
    if (asked.has(path.type) && isReferenced(node, cache, text, path)) yield path;
  }
}

/** A volume is named by the claim that it is bound to. */
function isReferenced(node: string, cache: Cache, text: string, path: ObjectPath): boolean {
  if (path.type !== 'persistentvolume') return cache.references(node, text);
  const volume = cache.known(path)?.object;
  const claim = volume === undefined ? undefined : claimOf(volume);
  return claim !== undefined && cache.references(node, claim);
}

/**
 * A held object that is not wanted goes when a synced cache lacks its uid, or, being a configMap, secret, claim or
 * volume, when no pod of the node names it any more. A node that is not (or no longer) an edge node releases nothing,
 * and a node never loses its own Node.
 */
export function mayRemove(node: string, cache: Cache, text: string, held: HeldVersion): boolean {
  const path = parseObjectPath(text);
  if (!isOwnType(path.type) || path.type === 'node' || !cache.isSynced(path.type)) return false;
  if (cache.known(path)?.uid !== held.uid) return true;
  if (path.type === 'pod') return false;
  return cache.isSynced('pod') && isEdgeNode(node, cache) && !isReferenced(node, cache, text, path);
}

function wantedOf({ uid, resourceVersion, changedVersion }: Known): Wanted {
  return { uid, resourceVersion, changedVersion };
}

function everyChange({ uid, resourceVersion }: Known): Wanted {
  return { uid, resourceVersion, changedVersion: resourceVersion };
}
