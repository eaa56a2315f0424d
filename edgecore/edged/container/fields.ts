/** Values that a pod reads about itself: fieldRef and resourceFieldRef, for env and downwardAPI volumes. */

import { parseQuantity } from '#protocol/quantity.ts';
import { type Pod, type PodContainer, podNamespace } from '../pod/pod.ts';

export interface PodSurroundings {
  readonly nodeName: string;
  readonly hostIp: string;
  readonly podIp: string;
  readonly allocatable: Readonly<Record<string, string>>;
}

/** Undefined when there is no such field. */
export function fieldValue(pod: Pod, path: string, around: PodSurroundings): string | undefined {
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path);
  if (keyed?.[1] !== undefined && keyed[2] !== undefined) {
    const map = keyed[1] === 'labels' ? pod.metadata.labels : pod.metadata.annotations;
    return map !== null && map !== undefined && Object.hasOwn(map, keyed[2]) ? map[keyed[2]] : '';
  }
  switch (path) {
    case 'metadata.name':
      return pod.metadata.name;
    case 'metadata.namespace':
      return podNamespace(pod);
    case 'metadata.uid':
      return pod.metadata.uid;
    case 'metadata.labels':
      return formatMap(pod.metadata.labels);
    case 'metadata.annotations':
      return formatMap(pod.metadata.annotations);
    case 'spec.nodeName':
      return pod.spec.nodeName ?? around.nodeName;
    case 'spec.serviceAccountName':
      return pod.spec.serviceAccountName ?? '';
    case 'status.hostIP':
    case 'status.hostIPs':
      return around.hostIp;
    case 'status.podIP':
    case 'status.podIPs':
      return around.podIp;
    default:
      return undefined;
  }
}

/** Undefined when there is no such resource. A limit that is not set is the node's allocatable. */
export function resourceValue(
  container: PodContainer,
  reference: { readonly resource: string; readonly divisor?: string | null | undefined },
  around: PodSurroundings,
): string | undefined {
  const match = /^(limits|requests)\.(cpu|memory|ephemeral-storage)$/.exec(reference.resource);
  const [, kind, name] = match ?? [];
  if (kind === undefined || name === undefined) return undefined;
  const { limits, requests } = container.resources ?? {};
  const set = kind === 'limits' ? limits?.[name] : (requests?.[name] ?? limits?.[name]);
  const amount = parseQuantity(set ?? (kind === 'limits' ? (around.allocatable[name] ?? '0') : '0'));
  const divisor = parseQuantity(reference.divisor ?? '1') || 1;
  return String(Math.ceil(amount / divisor - 1e-9));
}

function formatMap(map: Readonly<Record<string, string>> | null | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');
}
