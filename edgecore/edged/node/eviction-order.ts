/**
 * Which pod goes first when a resource of the node is short, and the words for it; pure. The order is the kubelet's:
 * who uses more than was requested, then the lower priority, then who is further above the request. That BestEffort
 * goes before Burstable before Guaranteed follows from it.
 */

import { parseQuantity } from '#protocol/quantity.ts';
import { isSidecar, type Pod, type PodContainer } from '../pod/pod.ts';
import { isStatic } from '../static/static-pod-files.ts';
import type { Met } from './pressure.ts';
import { resourceOf, type Signal } from './thresholds.ts';

export interface ContainerUse {
  readonly name: string;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

export interface PodUse {
  readonly pod: Pod;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly inodes: number;
  readonly processes: number;
  readonly containers: readonly ContainerUse[];
}

/** Priorities from here on are the system's. */
const systemPriority = 2_000_000_000;

/** Such pods are not evicted and not refused. */
export function isCritical(pod: Pod): boolean {
  return isStatic(pod) || priorityOf(pod) >= systemPriority;
}

/** First to go first. Pods whose use is not known count as using too much. */
export function evictionOrder(
  signal: Signal,
  pods: readonly Pod[],
  uses: ReadonlyMap<string, PodUse>,
): readonly Pod[] {
  const resource = resourceOf(signal);
  const ranked = pods.map((pod) => {
    const use = uses.get(pod.metadata.uid);
    const above =
      use === undefined ? Number.POSITIVE_INFINITY : used(use, resource) - requestOf(pod, resource);
    // Nobody can request processes: among them only priority and number count.
    const exceeds = resource === 'pids' ? false : above > 0;
    return { pod, exceeds, above, priority: priorityOf(pod) };
  });
  ranked.sort(
    (a, b) =>
      Number(b.exceeds) - Number(a.exceeds) ||
      a.priority - b.priority ||
      (b.above === a.above ? 0 : b.above - a.above),
  );
  return ranked.map(({ pod }) => pod);
}

/** The kubelet's words, which people search their logs for. */
export function evictionMessage(
  { threshold, observation }: Met,
  thresholdAmount: number,
  use: PodUse | undefined,
  pod: Pod,
): string {
  const resource = resourceOf(threshold.signal);
  const show = (value: number) =>
    resource === 'inodes' || resource === 'pids' ? String(Math.round(value)) : bytes(value);
  const parts = [
    `The node was low on resource: ${resource}. `,
    `Threshold quantity: ${show(thresholdAmount)}, available: ${show(observation.available)}. `,
  ];
  if (resource === 'memory' || resource === 'ephemeral-storage')
    for (const container of use?.containers ?? []) {
      const usedBytes = resource === 'memory' ? container.memoryBytes : container.diskBytes;
      const spec = [...pod.spec.containers, ...pod.spec.initContainers].find(
        (it) => it.name === container.name,
      );
      const request = spec === undefined ? 0 : requestOfContainer(spec, resource);
      if (usedBytes <= request) continue;
      parts.push(
        `Container ${container.name} was using ${bytes(usedBytes)}, request is ${request === 0 ? '0' : bytes(request)}, has larger consumption of ${resource}. `,
      );
    }
  return parts.join('');
}

export function requestOf(pod: Pod, resource: string): number {
  const sidecars = pod.spec.initContainers.filter(isSidecar);
  const sum = [...pod.spec.containers, ...sidecars].reduce(
    (total, it) => total + requestOfContainer(it, resource),
    0,
  );
  const inits = pod.spec.initContainers.filter((it) => !isSidecar(it));
  return Math.max(sum, ...inits.map((it) => requestOfContainer(it, resource)));
}

/** A limit without a request requests as much. */
function requestOfContainer({ resources }: PodContainer, resource: string): number {
  const text = resources?.requests?.[resource] ?? resources?.limits?.[resource];
  return text === undefined ? 0 : parseQuantity(text) || 0;
}

function used(use: PodUse, resource: ReturnType<typeof resourceOf>): number {
  switch (resource) {
    case 'memory':
      return use.memoryBytes;
    case 'ephemeral-storage':
      return use.diskBytes;
    case 'inodes':
      return use.inodes;
    case 'pids':
      return use.processes;
  }
}

function priorityOf(pod: Pod): number {
  return pod.spec.priority ?? 0;
}

function bytes(value: number): string {
  return `${Math.floor(value / 1024)}Ki`;
}
