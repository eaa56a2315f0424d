/**
 * Keeps every connected edge holding what it should, level-triggered: whatever changed, the node's desired set
 * is computed anew, compared with what it was sent, and only the difference goes to CloudHub. What a pod or
 * configMap says is not read here, and delivery is CloudHub's.
 */

import type { DeliveryLedger } from '#cloudcore/kube/delivery-ledger.ts';
import { applySteps, difference, type HeldVersion } from '#cloudcore/kube/difference.ts';
import type { NodeSession } from '#cloudcore/kube/node-sessions.ts';
import { NodeSync } from '#cloudcore/kube/node-sync.ts';
import { type Change, claimOf, type ObjectCache } from '#cloudcore/kube/objects.ts';
import { nodeNameOf } from '#cloudcore/kube/pod-references.ts';
import type { Sender } from '#cloudcore/kube/sender.ts';
import type { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import { newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import { formatObjectPath, parseObjectPath, withNode } from '#protocol/resource-path.ts';
import type { Held, SessionKind } from '#protocol/session.ts';
import { desiredOf, isOwnType, mayRemove, neededTypes, nodePath } from './desired.ts';

export interface DownstreamComponents {
  readonly cache: ObjectCache;
  readonly ledger: DeliveryLedger;
  readonly sender: Sender;
  readonly queue: WorkQueue;
}

export class Downstream {
  readonly #cache: ObjectCache;
  readonly #ledger: DeliveryLedger;
  readonly #sender: Sender;
  readonly #nodes: NodeSync;

  constructor({ cache, ledger, sender, queue }: DownstreamComponents) {
    this.#cache = cache;
    this.#ledger = ledger;
    this.#sender = sender;
    this.#nodes = new NodeSync({ isOwnType, neededTypes }, { cache, ledger, queue });
    cache.onChange((change) => this.#changed(change));
  }

  /** Works until the signal is aborted; sends nothing before the cache has been filled. */
  run(signal: AbortSignal): Promise<void> {
    return this.#nodes.run(
      signal,
      (node, session) => this.#syncNode(node, session),
      (node) => this.#pushNode(node),
    );
  }

  connected(node: string, kind: SessionKind): void {
    if (this.#nodes.open(node, kind)) this.#pushNode(node);
  }

  disconnected(node: string): void {
    this.#nodes.close(node);
  }

  held(node: string, held: Held): void {
    this.#nodes.held(node, held);
  }

  /**
   * An object is handed out as the answer to a query: from now on a KubeEdge edge is sent its changes.
   * @throws KubeError when that cannot be noted
   */
  async answers(node: string, path: string, held: HeldVersion): Promise<void> {
    const session = this.#nodes.session(node);
    if (session?.kind === 'kubeedge') await this.#ledger.intend(node, parseObjectPath(path), held.uid);
    session?.held.set(path, held);
  }

  isOurs(node: string): boolean {
    return this.#nodes.session(node)?.kind === 'hawser';
  }

  /** It has just learnt that there is a Node of its own (wire 6.4): it has started, and may have lost its store. */
  registeredAgain(node: string): void {
    if (this.#nodes.session(node)?.kind === 'kubeedge') this.#ledger.unsure(node);
    this.#pushNode(node);
  }

  /** Sends the node its own Node again, whatever it has. */
  #pushNode(node: string): void {
    this.#nodes.session(node)?.held.delete(formatObjectPath(nodePath(node)));
    this.#nodes.wake(node);
  }

  #changed({ kind, path, object, before, type }: Change): void {
    switch (kind) {
      case 'node': {
        const { name } = object.metadata;
        if (type === 'deleted') this.#endSession(name);
        else this.#nodes.acceptForeign(name);
        this.#nodes.wake(name);
        break;
      }
      case 'pod':
        this.#nodes.wake(nodeNameOf(object));
        if (before !== undefined) this.#nodes.wake(nodeNameOf(before));
        break;
      case 'persistentvolume':
        for (const volume of [object, before]) this.#wakeUsers(volume && claimOf(volume));
        break;
      case 'configmap':
      case 'secret':
      case 'persistentvolumeclaim':
        this.#wakeUsers(path);
    }
  }

  #wakeUsers(path: string | undefined): void {
    if (path === undefined) return;
    for (const node of this.#cache.nodesReferencing(path)) this.#nodes.wake(node);
  }

  /** Who has no Node any more is no node; CloudHub ends its session on this message. */
  #endSession(node: string): void {
    const resource = withNode(node, formatObjectPath(nodePath(node)));
    const route = {
      source: source.edgeController,
      group: group.resource,
      operation: operation.delete,
      resource,
    };
    void this.#sender.send(newEnvelope(route, { metadata: { name: node } }));
  }

  async #syncNode(node: string, session: NodeSession): Promise<void> {
    const isKubeEdge = session.kind === 'kubeedge';
    const wanted = desiredOf(node, this.#cache, { session: session.kind, held: session.held });
    const steps = difference(wanted, session.held, (path, held) => mayRemove(node, this.#cache, path, held));
    session.held = applySteps(session.held, steps);
    const to = { source: source.edgeController, node, upsert: 'update' } as const;
    for (const step of steps) {
      const last = isKubeEdge ? this.#cache.lastSeen(parseObjectPath(step.path), step.uid) : undefined;
      await this.#sender.sendStep(to, step, last);
    }
  }
}
