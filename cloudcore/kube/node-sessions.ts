/**
 * What a controller remembers of the nodes that are connected to this CloudHub: the kind of session, what the edge
 * holds as far as is known, and whether it may be sent anything yet. Forgotten at the disconnect: an edge of
 * ours says at the next connect what it holds, and for a KubeEdge edge the delivery ledger knows.
 */

import { z } from 'zod';
import type { Envelope } from '#protocol/message.ts';
import { source } from '#protocol/names.ts';
import { parseObjectPath } from '#protocol/resource-path.ts';
import type { Held, SessionKind } from '#protocol/session.ts';
import type { DeliveryLedger } from './delivery-ledger.ts';
import type { HeldVersion } from './difference.ts';
import { acceptedEpoch, epochOf } from './epoch.ts';
import type { ObjectCache } from './objects.ts';

export interface NodeSession {
  readonly kind: SessionKind;
  /** Path → what the edge holds, or will once CloudHub has delivered. */
  held: Map<string, HeldVersion>;
  /** What it holds of another cluster: left alone until an operator says that it may go. */
  foreign: { readonly epoch: string; readonly held: ReadonlyMap<string, HeldVersion> } | undefined;
  /** False while what the edge holds is not known yet. */
  ready: boolean;
}

export interface NodeSessionsComponents {
  readonly ledger: DeliveryLedger;
  readonly cache: Pick<ObjectCache, 'epoch' | 'get' | 'known'>;
  /** The types that the controller sends. */
  readonly isOwnType: (type: string) => boolean;
}

export class NodeSessions {
  readonly #components: NodeSessionsComponents;
  readonly #sessions = new Map<string, NodeSession>();

  constructor(components: NodeSessionsComponents) {
    this.#components = components;
    components.ledger.onLost((node, path) => this.#lost(node, path));
  }

  get(node: string): NodeSession | undefined {
    return this.#sessions.get(node);
  }

  /** CloudHub closes an old session of the node after the new one has begun. */
  open(node: string, kind: SessionKind): NodeSession {
    const session: NodeSession = { kind, held: new Map(), foreign: undefined, ready: false };
    this.#sessions.set(node, session);
    if (kind === 'kubeedge' && this.#components.ledger.synced) this.#fill(node, session);
    return session;
  }

  /** The ledger has been read: the KubeEdge edges that connected before that can be served. */
  ledgerSynced(): string[] {
    const waiting = [...this.#sessions].filter(([, { kind, ready }]) => kind === 'kubeedge' && !ready);
    for (const [node, session] of waiting) this.#fill(node, session);
    return waiting.map(([node]) => node);
  }

  close(node: string): void {
    this.#sessions.delete(node);
  }

  /**
   * What an edge of ours says it holds. Objects of another epoch are not of this cluster: they are left alone, and
   * what this cluster has for the node is sent in full.
   */
  takeHeld(node: string, told: Held): void {
    const session = this.#sessions.get(node);
    if (session === undefined) return;
    const held = new Map<string, HeldVersion>();
    for (const { path, uid, resourceVersion } of told.objects) {
      if (this.#isOwn(path)) held.set(path, { uid, version: resourceVersion });
    }
    const epoch = epochOf(told, this.#components.cache);
    const isForeign = epoch !== this.#components.cache.epoch;
    session.held = isForeign ? new Map() : held;
    session.foreign = isForeign && epoch !== null ? { epoch, held } : undefined;
    session.ready = true;
    this.acceptForeign(node);
  }

  /** True: an operator has said that what the edge holds of another cluster may go, and now it may. */
  acceptForeign(node: string): boolean {
    const session = this.#sessions.get(node);
    if (session?.foreign === undefined) return false;
    const { epoch, held } = session.foreign;
    if (acceptedEpoch(node, this.#components.cache) !== epoch) return false;
    session.foreign = undefined;
    session.held = new Map([...held, ...session.held]);
    return true;
  }

  nodes(): Iterable<string> {
    return this.#sessions.keys();
  }

  #fill(node: string, session: NodeSession): void {
    for (const [path, held] of this.#components.ledger.heldBy(node)) {
      if (this.#isOwn(path) && !session.held.has(path)) session.held.set(path, held);
    }
    session.ready = true;
  }

  #lost(node: string, path: string): void {
    const held = this.#sessions.get(node)?.held.get(path);
    if (held !== undefined) this.#sessions.get(node)?.held.set(path, { ...held, version: '' });
  }

  /** Paths come from an edge: what is no path, or another controller's, is none of ours. */
  #isOwn(text: string): boolean {
    try {
      return this.#components.isOwnType(parseObjectPath(text).type);
    } catch {
      return false;
    }
  }
}

const newsContent = z.looseObject({ session: z.enum(['hawser', 'kubeedge']).catch('kubeedge') });

export type SessionNews =
  | { readonly node: string; readonly news: 'connected'; readonly session: SessionKind }
  | { readonly node: string; readonly news: 'disconnected' };

/** CloudHub's news about a node, or undefined when the envelope is something else. */
export function readSessionNews({ route, content }: Envelope): SessionNews | undefined {
  if (route.source !== source.cloudHub) return undefined;
  const node = /^node\/([^/]+)$/.exec(route.resource)?.[1];
  if (node === undefined) return undefined;
  if (route.operation === 'disconnected') return { node, news: 'disconnected' };
  if (route.operation !== 'connected') return undefined;
  return {
    node,
    news: 'connected',
    session: newsContent.catch({ session: 'kubeedge' }).parse(content).session,
  };
}

/** The node that an envelope on the cloud's bus is about; envelopes of one node are handled in order. */
export function nodeKeyOf({ route }: Envelope): string {
  return /^node\/([^/]+)/.exec(route.resource)?.[1] ?? route.resource;
}
