/**
 * What controllers that keep connected nodes in step have in common: whose turn it is, and what is known of the node's
 * session. Nothing is sent before the cache has been filled, and to a KubeEdge edge not before the ledger was read.
 */

import type { Held, SessionKind } from '#protocol/session.ts';
import type { DeliveryLedger } from './delivery-ledger.ts';
import { type NodeSession, NodeSessions } from './node-sessions.ts';
import type { CachedType, ObjectCache } from './objects.ts';
import type { WorkQueue } from './work-queue.ts';

export interface NodeSyncOptions {
  /** Of the objects that the controller sends. */
  readonly isOwnType: (type: string) => boolean;
  /** Without these in the cache nothing can be decided. */
  readonly neededTypes: readonly CachedType[];
}

export interface NodeSyncComponents {
  readonly cache: ObjectCache;
  readonly ledger: DeliveryLedger;
  readonly queue: WorkQueue;
}

export class NodeSync {
  readonly #options: NodeSyncOptions;
  readonly #components: NodeSyncComponents;
  readonly #sessions: NodeSessions;

  constructor(options: NodeSyncOptions, components: NodeSyncComponents) {
    this.#options = options;
    this.#components = components;
    this.#sessions = new NodeSessions({ ...components, isOwnType: options.isOwnType });
    components.ledger.onLost((node) => this.wake(node));
  }

  /**
   * Works until the signal is aborted.
   * @param ready told of each KubeEdge edge that had to wait for the ledger
   */
  async run(
    signal: AbortSignal,
    sync: (node: string, session: NodeSession) => Promise<void>,
    ready: (node: string) => void,
  ): Promise<void> {
    const { cache, queue, ledger } = this.#components;
    await cache.whenSynced(signal, this.#options.neededTypes);
    const work = async (node: string) => {
      const session = this.#sessions.get(node);
      if (session?.ready) await sync(node, session);
    };
    const ledgerRead = ledger.whenSynced(signal).then(() => {
      for (const node of this.#sessions.ledgerSynced()) ready(node);
    });
    await Promise.all([queue.run(work, signal), ledgerRead]);
  }

  /** False while it is not known what the edge holds. */
  open(node: string, kind: SessionKind): boolean {
    return this.#sessions.open(node, kind).ready;
  }

  close(node: string): void {
    this.#sessions.close(node);
    this.#components.queue.forget(node);
  }

  held(node: string, held: Held): void {
    this.#sessions.takeHeld(node, held);
    this.#components.queue.add(node);
  }

  /** Something changed that may be this node's affair. */
  wake(node: string | undefined): void {
    if (node !== undefined && this.#sessions.get(node)?.ready) this.#components.queue.add(node);
  }

  session(node: string): NodeSession | undefined {
    return this.#sessions.get(node);
  }

  nodes(): Iterable<string> {
    return this.#sessions.nodes();
  }

  acceptForeign(node: string): boolean {
    return this.#sessions.acceptForeign(node);
  }
}
