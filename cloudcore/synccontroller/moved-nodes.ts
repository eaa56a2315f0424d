/**
 * Nodes that had a KubeEdge edge and have one of ours now. What the KubeEdge edge was sent still lies in its store, so
 * its notes are kept for the case that it comes back: then what went meanwhile is removed from it, and what changed is
 * sent. After some days they go. Since when it is so stands on the Node, so that it outlives cloudcore.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { isNotFound, type KubeApi } from '#cloudcore/kube/kube-api.ts';
import type { ObjectCache } from '#cloudcore/kube/objects.ts';
import type { SessionKind } from '#protocol/session.ts';

export const movedLimits = {
  /** Who tries the move out, or goes back after a bad week. */
  notesKeptMs: 7 * 86_400_000,
  checkEveryMs: 3_600_000,
} as const;

export const movedAnnotation = 'hawser.dev/kubeedge-until';

export interface MovedNodesComponents {
  readonly api: KubeApi;
  readonly cache: Pick<ObjectCache, 'get'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly hasNotes: (node: string) => boolean;
  readonly dropNotes: (node: string) => void;
}

export class MovedNodes {
  readonly #components: MovedNodesComponents;
  /** As long as there is a Node. */
  readonly #kinds = new Map<string, SessionKind>();

  constructor(components: MovedNodesComponents) {
    this.#components = components;
  }

  served(node: string, kind: SessionKind): void {
    this.#kinds.set(node, kind);
  }

  /** May be called at any time. @throws KubeError */
  async check(node: string): Promise<void> {
    const { cache, clock, log, hasNotes, dropNotes } = this.#components;
    const object = cache.get('node', undefined, node);
    if (object === undefined) {
      this.#kinds.delete(node);
      return;
    }
    const kind = this.#kinds.get(node);
    const since = object.metadata.annotations?.[movedAnnotation];
    if (kind === 'kubeedge' || !hasNotes(node)) {
      if (since !== undefined) await this.#annotate(node, null);
    } else if (since === undefined) {
      if (kind === 'hawser') await this.#annotate(node, new Date(clock.now()).toISOString());
    } else if (clock.now() - Date.parse(since) >= movedLimits.notesKeptMs) {
      log.info({ node, since }, 'its KubeEdge edge has not come back: what that was sent is forgotten');
      dropNotes(node);
      await this.#annotate(node, null);
    }
  }

  async #annotate(node: string, since: string | null): Promise<void> {
    const patch = { metadata: { annotations: { [movedAnnotation]: since } } };
    try {
      await this.#components.api.patch({ apiVersion: 'v1', plural: 'nodes', name: node }, 'merge', patch);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
