/**
 * What an operator says about an edge that comes from another cluster: by an annotation on its Node, which names the
 * epoch whose objects may be removed from the edge.
 */

import type { ObjectCache } from './objects.ts';

export const acceptEpochAnnotation = 'hawser.dev/accept-epoch';

export function acceptedEpoch(node: string, cache: Pick<ObjectCache, 'get'>): string | undefined {
  return cache.get('node', undefined, node)?.metadata.annotations?.[acceptEpochAnnotation];
}

/** What to type, for logs and events. */
export function acceptCommand(node: string, epoch: string): string {
  return `kubectl annotate node ${node} --overwrite ${acceptEpochAnnotation}=${epoch}`;
}
