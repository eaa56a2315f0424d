/** What is asked at the router's port: `/<node>/<namespace>/<path>[?query]` → the rule that is meant and what it sends. Pure. */

import { ruleLimits } from '#protocol/limits.ts';
import { decoded, isMoreParticular, matchPath } from './path-pattern.ts';
import type { EdgeTarget, RestRoute } from './rule-set.ts';

export interface RestRequest {
  readonly node: string;
  readonly namespace: string;
  /** Of the path behind the namespace, as they came. */
  readonly segments: readonly string[];
  /** With its `?`; empty when there is none. */
  readonly query: string;
}

export interface Refusal {
  readonly status: number;
  readonly reason: string;
}

export function readRestRequest(target: string): RestRequest | Refusal {
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const query = mark < 0 ? '' : target.slice(mark);
  const [empty, node = '', namespace = '', ...segments] = path.split('/');
  if (empty !== '' || node === '' || namespace === '')
    return { status: 404, reason: 'ask for /<node>/<namespace>/<path of a rule>' };
  if (segments.length > ruleLimits.pathSegmentsMax)
    return { status: 404, reason: `a path has at most ${ruleLimits.pathSegmentsMax} segments` };
  for (const segment of segments) {
    const plain = decoded(segment);
    // Behind a rule's path they would lead to what the rule does not.
    if (plain === '.' || plain === '..' || /[\\/\0]/.test(plain))
      return { status: 400, reason: 'a path may not lead elsewhere by "..", or by an escaped slash' };
  }
  return { node, namespace, segments, query };
}

export interface RestMatch {
  readonly route: RestRoute;
  /** What the path has beyond the rule's. */
  readonly rest: string;
}

export function matchRule(request: RestRequest, routes: Iterable<RestRoute>): RestMatch | undefined {
  let best: RestMatch | undefined;
  for (const route of routes) {
    if (route.namespace !== request.namespace) continue;
    const taken = matchPath(route.pattern, request.segments);
    if (taken === undefined) continue;
    if (best !== undefined && !isMoreParticular(route.pattern, best.route.pattern)) continue;
    best = { route, rest: request.segments.slice(taken).join('/') };
  }
  return best;
}

/** `route.resource` of the message to the edge, below its node (wire 9.1). */
export function resourceFor(target: EdgeTarget, rest: string, query: string): string | Refusal {
  if (target.kind === 'eventbus') {
    if (/[+#]/.test(rest)) return { status: 400, reason: 'a topic to publish to has no wildcards' };
    return limited(joined(target.topic, rest));
  }
  // The edge takes the resource apart at its one colon.
  const path = `${joined(target.path, rest)}${query}`.replaceAll(':', '%3A');
  return limited(`${target.port}:${path}`);
}

function joined(start: string, rest: string): string {
  return rest === '' ? start : `${start.replace(/\/$/, '')}/${rest}`;
}

function limited(resource: string): string | Refusal {
  if (resource.length <= ruleLimits.resourceCharsMax) return resource;
  return {
    status: 414,
    reason: `what a rule leads to has at most ${ruleLimits.resourceCharsMax} characters`,
  };
}
