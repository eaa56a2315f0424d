/**
 * Of which cluster are the objects that an edge holds? It says so by their epoch; uids are used once only, so one that
 * is known here answers for an edge that does not know. About an edge that comes from another cluster an operator
 * decides: by an annotation on its Node, which names the epoch whose objects may be removed from the edge.
 */

import { parseObjectPath } from '#protocol/resource-path.ts';
import { type Held, unknownEpoch } from '#protocol/session.ts';
import type { ObjectCache } from './objects.ts';

export const acceptEpochAnnotation = 'hawser.dev/accept-epoch';

export function acceptedEpoch(node: string, cache: Pick<ObjectCache, 'get'>): string | undefined {
  return cache.get('node', undefined, node)?.metadata.annotations?.[acceptEpochAnnotation];
}

/** What to type, for logs and events. */
export function acceptCommand(node: string, epoch: string): string {
  return `kubectl annotate node ${node} --overwrite ${acceptEpochAnnotation}=${epoch}`;
}

/** The epoch of what the edge holds; null: it holds nothing yet. */
export function epochOf(
  { epoch, objects }: Held,
  cache: Pick<ObjectCache, 'epoch' | 'known'>,
): string | null {
  if (epoch !== unknownEpoch || cache.epoch === undefined) return epoch;
  return objects.some(({ path, uid }) => uidAt(path, cache) === uid) ? cache.epoch : epoch;
}

/** Paths come from an edge. */
function uidAt(path: string, cache: Pick<ObjectCache, 'known'>): string | undefined {
  try {
    return cache.known(parseObjectPath(path))?.uid;
  } catch {
    return undefined;
  }
}
