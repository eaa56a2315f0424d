/** Decides which node a pod goes to: selectors, affinity to nodes, taints, room; then the node with the fewest pods. Pure. */

import { parseQuantity } from '#protocol/quantity.ts';
import {
  isJsonObject,
  type JsonObject,
  type KubeObject,
  objectsAt,
  textAt,
  valueAt,
} from '../kube-object.ts';
import { selectsNode } from './node-fit.ts';
import { tolerates, unschedulableTaint, untoleratedTaint } from './tolerations.ts';

export type Placement =
  | { readonly node: string }
  /** Why no node fits, in the words of kube-scheduler. */
  | { readonly node: undefined; readonly message: string };

export interface NodeLoad {
  readonly node: KubeObject;
  /** Pods that are on the node and not at their end. */
  readonly pods: readonly KubeObject[];
}

export function place(pod: KubeObject, loads: readonly NodeLoad[]): Placement {
  const reasons = new Map<string, number>();
  let best: NodeLoad | undefined;
  for (const load of loads) {
    const obstacle = obstacleFor(pod, load);
    if (obstacle !== undefined) reasons.set(obstacle, (reasons.get(obstacle) ?? 0) + 1);
    else if (best === undefined || isBetter(load, best)) best = load;
  }
  if (best !== undefined) return { node: best.node.metadata.name };
  const listed = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort();
  const total = `0/${loads.length} nodes are available`;
  const message =
    loads.length === 0 ? 'no nodes available to schedule pods' : `${total}: ${listed.join(', ')}.`;
  return { node: undefined, message };
}

function isBetter(a: NodeLoad, b: NodeLoad): boolean {
  if (a.pods.length !== b.pods.length) return a.pods.length < b.pods.length;
  return a.node.metadata.name < b.node.metadata.name;
}

function obstacleFor(pod: KubeObject, load: NodeLoad): string | undefined {
  const { node } = load;
  if (node.metadata.deletionTimestamp !== undefined) return 'node(s) were being deleted';
  if (isCordoned(pod, node)) return 'node(s) were unschedulable';
  if (!selectsNode(pod.spec, node)) {
    return "node(s) didn't match Pod's node affinity/selector";
  }
  const taint = untoleratedTaint(pod, node);
  if (taint !== undefined) {
    return `node(s) had untolerated taint {${textAt(taint, 'key') ?? ''}: ${textAt(taint, 'value') ?? ''}}`;
  }
  if (portsClash(pod, load.pods)) return "node(s) didn't have free ports for the requested pod ports";
  return missingRoom(pod, load);
}

function isCordoned(pod: KubeObject, node: KubeObject): boolean {
  if (valueAt(node, 'spec', 'unschedulable') !== true) return false;
  const taint = { key: unschedulableTaint, effect: 'NoSchedule' };
  return !objectsAt(pod, 'spec', 'tolerations').some((toleration) => tolerates(toleration, taint));
}

function hostPorts(pod: KubeObject): readonly string[] {
  return objectsAt(pod, 'spec', 'containers').flatMap((container) =>
    objectsAt(container, 'ports').flatMap(({ hostPort, protocol }) =>
      typeof hostPort === 'number' && hostPort > 0 ? [`${String(protocol)}/${hostPort}`] : [],
    ),
  );
}

function portsClash(pod: KubeObject, others: readonly KubeObject[]): boolean {
  const wanted = new Set(hostPorts(pod));
  return wanted.size > 0 && others.some((other) => hostPorts(other).some((port) => wanted.has(port)));
}

/** A node that does not say what it has is taken to have enough. */
function missingRoom(pod: KubeObject, { node, pods }: NodeLoad): string | undefined {
  const allocatable = valueAt(node, 'status', 'allocatable') ?? valueAt(node, 'status', 'capacity');
  if (!isJsonObject(allocatable)) return undefined;
  const mostPods = allocatable.pods;
  if (mostPods !== undefined && pods.length + 1 > amountOf(mostPods)) return 'Too many pods';
  for (const [name, wanted] of requests(pod)) {
    if (wanted === 0) continue;
    const used = pods.reduce((sum, other) => sum + (requests(other).get(name) ?? 0), 0);
    if (used + wanted > amountOf(allocatable[name])) return `Insufficient ${name}`;
  }
  return undefined;
}

/** Containers run together, init containers one after the other before them. */
function requests(pod: KubeObject): ReadonlyMap<string, number> {
  const total = new Map<string, number>();
  for (const container of objectsAt(pod, 'spec', 'containers')) {
    for (const [name, amount] of requestsOf(container)) total.set(name, (total.get(name) ?? 0) + amount);
  }
  for (const container of objectsAt(pod, 'spec', 'initContainers')) {
    for (const [name, amount] of requestsOf(container))
      total.set(name, Math.max(total.get(name) ?? 0, amount));
  }
  return total;
}

function requestsOf(container: JsonObject): readonly (readonly [string, number])[] {
  const stated = valueAt(container, 'resources', 'requests');
  return isJsonObject(stated) ? Object.entries(stated).map(([name, amount]) => [name, amountOf(amount)]) : [];
}

/** What is not a quantity counts as nothing. */
export function amountOf(value: unknown): number {
  const amount = parseQuantity(String(value ?? '0'));
  return Number.isFinite(amount) ? amount : 0;
}
