/**
 * Keeps every connected edge holding what it should, level-triggered: whatever changed, the node's desired set
 * is computed anew, compared with what it was sent, and only the difference goes to CloudHub. What a pod or
 * configMap says is not read here, and delivery is CloudHub's.
 */

import { applySteps, difference, type HeldVersion } from '#cloudcore/kube/difference.ts';
import { NodeSessions, type SessionKind } from '#cloudcore/kube/node-sessions.ts';
import type { Change, ObjectCache } from '#cloudcore/kube/objects.ts';
import { nodeNameOf } from '#cloudcore/kube/pod-references.ts';
import type { Sender } from '#cloudcore/kube/sender.ts';
import type { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import { source } from '#protocol/names.ts';
import { formatObjectPath, parseObjectPath } from '#protocol/resource-path.ts';
import type { Held } from '#protocol/session.ts';
import { desiredOf, isOwnType, mayRemove, nodePath, ownTypes } from './desired.ts';

export interface DownstreamComponents {
  readonly cache: ObjectCache;
  readonly sender: Sender;
  readonly queue: WorkQueue;
}

export class Downstream {
  readonly #cache: ObjectCache;
  readonly #sender: Sender;
  readonly #queue: WorkQueue;
  readonly #sessions = new NodeSessions();
  /** KubeEdge node → configMaps and secrets that it asked for; its own store outlives a session. */
  readonly #asked = new Map<string, Set<string>>();

  constructor({ cache, sender, queue }: DownstreamComponents) {
    this.#cache = cache;
    this.#sender = sender;
    this.#queue = queue;
    cache.onChange((change) => this.#changed(change));
  }

  /** Works until the signal is aborted; sends nothing before the cache has been filled. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#cache.whenSynced(signal, ownTypes);
    await this.#queue.run((node) => this.#syncNode(node), signal);
  }

  connected(node: string, kind: SessionKind): void {
    if (this.#sessions.open(node, kind).ready) this.#queue.add(node);
  }

  disconnected(node: string): void {
    this.#sessions.close(node);
    this.#queue.forget(node);
  }

  /**
   * What an edge of ours says it holds. Objects of another epoch are not of this cluster: they are left alone, and
   * what this cluster has for the node is sent in full.
   */
  held(node: string, { epoch, objects }: Held): void {
    const session = this.#sessions.get(node);
    if (session === undefined) return;
    session.held = new Map<string, HeldVersion>();
    if (epoch !== null && epoch === this.#cache.epoch) {
      for (const { path, uid, resourceVersion } of objects) {
        if (hasOwnPath(path)) session.held.set(path, { uid, version: resourceVersion });
      }
    }
    session.ready = true;
    this.#queue.add(node);
  }

  /** A configMap or secret was handed out as the answer to a query: from now on its changes are pushed. */
  answered(node: string, path: string, held: HeldVersion): void {
    const asked = this.#asked.get(node) ?? new Set<string>();
    this.#asked.set(node, asked.add(path));
    this.#sessions.get(node)?.held.set(path, held);
  }

  /** Sends the node its own Node again, because it just learnt that there is one (wire 6.4). */
  pushNode(node: string): void {
    this.#sessions.get(node)?.held.delete(formatObjectPath(nodePath(node)));
    this.#queue.add(node);
  }

  #changed({ kind, path, object, before, type }: Change): void {
    if (kind === 'node') {
      if (type === 'deleted') {
        this.#asked.delete(object.metadata.name);
        this.#sessions.forget(object.metadata.name);
      }
      this.#wake(object.metadata.name);
    } else if (kind === 'pod') {
      this.#wake(nodeNameOf(object));
      if (before !== undefined) this.#wake(nodeNameOf(before));
    } else if (kind === 'configmap' || kind === 'secret') {
      for (const node of this.#cache.nodesReferencing(path)) this.#wake(node);
    }
  }

  #wake(node: string | undefined): void {
    if (node !== undefined && this.#sessions.get(node)?.ready) this.#queue.add(node);
  }

  async #syncNode(node: string): Promise<void> {
    const session = this.#sessions.get(node);
    if (!session?.ready) return;
    const asked = this.#asked.get(node) ?? new Set<string>();
    const wanted = desiredOf(node, this.#cache, { session: session.kind, asked });
    const steps = difference(wanted, session.held, (path, held) => mayRemove(node, this.#cache, path, held));
    session.held = applySteps(session.held, steps);
    for (const step of steps) {
      if (step.do === 'remove') asked.delete(step.path);
      await this.#sender.sendStep(source.edgeController, node, step, 'update');
    }
  }
}

/** Paths come from an edge: what is no path, or another controller's, is none of ours. */
function hasOwnPath(text: string): boolean {
  try {
    return isOwnType(parseObjectPath(text).type);
  } catch {
    return false;
  }
}
