/**
 * Which node's pods name which configMap, secret, claim or service account: kept up to date pod by pod,
 * asked in both directions. Knows nothing of whether the named object exists.
 */

import { formatObjectPath } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { nodeNameOf, referencesOf } from './pod-references.ts';

interface PodEntry {
  readonly node: string;
  readonly pod: KubeObject;
  readonly paths: readonly string[];
}

export class ReferenceIndex {
  readonly #pods = new Map<string, PodEntry>();
  readonly #podsOfNode = new Map<string, Map<string, KubeObject>>();
  /** path → node → how many of its pods name it */
  readonly #nodesOfPath = new Map<string, Map<string, number>>();

  put(pod: KubeObject): void {
    const key = keyOf(pod);
    this.remove(pod);
    const node = nodeNameOf(pod);
    if (node === undefined) return;
    const paths = pathsOf(pod);
    this.#pods.set(key, { node, pod, paths });
    const pods = this.#podsOfNode.get(node) ?? new Map<string, KubeObject>();
    pods.set(key, pod);
    this.#podsOfNode.set(node, pods);
    for (const path of paths) {
      const nodes = this.#nodesOfPath.get(path) ?? new Map<string, number>();
      nodes.set(node, (nodes.get(node) ?? 0) + 1);
      this.#nodesOfPath.set(path, nodes);
    }
  }

  remove(pod: KubeObject): void {
    const key = keyOf(pod);
    const entry = this.#pods.get(key);
    if (entry === undefined) return;
    this.#pods.delete(key);
    const pods = this.#podsOfNode.get(entry.node);
    pods?.delete(key);
    if (pods?.size === 0) this.#podsOfNode.delete(entry.node);
    for (const path of entry.paths) {
      const nodes = this.#nodesOfPath.get(path);
      const left = (nodes?.get(entry.node) ?? 0) - 1;
      if (left > 0) nodes?.set(entry.node, left);
      else nodes?.delete(entry.node);
      if (nodes?.size === 0) this.#nodesOfPath.delete(path);
    }
  }

  podsOf(node: string): Iterable<KubeObject> {
    return this.#podsOfNode.get(node)?.values() ?? [];
  }

  /** Object paths that the node's pods name, in the order of the pods. */
  referencesOf(node: string): ReadonlySet<string> {
    const paths = new Set<string>();
    for (const key of this.#podsOfNode.get(node)?.keys() ?? []) {
      for (const path of this.#pods.get(key)?.paths ?? []) paths.add(path);
    }
    return paths;
  }

  nodesReferencing(path: string): Iterable<string> {
    return this.#nodesOfPath.get(path)?.keys() ?? [];
  }

  references(node: string, path: string): boolean {
    return this.#nodesOfPath.get(path)?.has(node) ?? false;
  }
}

function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function pathsOf(pod: KubeObject): string[] {
  const { namespace } = pod.metadata;
  const found = referencesOf(pod);
  const paths = (type: string, names: Iterable<string>) =>
    [...names].map((name) => formatObjectPath({ namespace, type, name }));
  return [
    ...paths('configmap', found.configMaps),
    ...paths('secret', found.secrets),
    ...paths('persistentvolumeclaim', found.claims),
    ...paths('serviceaccount', [found.serviceAccount]),
  ];
}
