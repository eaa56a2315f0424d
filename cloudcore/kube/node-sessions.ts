/**
 * What a controller remembers of the nodes that are connected to this CloudHub: the kind of session, what was
 * sent in it, and whether it may be sent anything yet. Forgotten at the disconnect, except what a KubeEdge edge
 * was sent: that one cannot say at the next connect what it still has, and must lose what went meanwhile.
 */

import { z } from 'zod';
import type { Envelope } from '#protocol/message.ts';
import { source } from '#protocol/names.ts';
import type { HeldVersion } from './difference.ts';

export type SessionKind = 'hawser' | 'kubeedge';

export interface NodeSession {
  readonly kind: SessionKind;
  /** Path → what the edge holds, or will once CloudHub has delivered. */
  held: Map<string, HeldVersion>;
  /** False while an edge of ours has not said yet what it holds. */
  ready: boolean;
}

export class NodeSessions {
  readonly #sessions = new Map<string, NodeSession>();
  /** KubeEdge node → what it was sent in earlier sessions; bounded by the objects of the nodes. */
  readonly #kept = new Map<string, Map<string, HeldVersion>>();

  get(node: string): NodeSession | undefined {
    return this.#sessions.get(node);
  }

  open(node: string, kind: SessionKind): NodeSession {
    // CloudHub closes the old session after the new one has begun: what that one sent counts too.
    this.close(node);
    const held = kind === 'kubeedge' ? this.#kept.get(node) : undefined;
    const session = { kind, held: new Map(held), ready: kind === 'kubeedge' };
    this.#kept.delete(node);
    this.#sessions.set(node, session);
    return session;
  }

  close(node: string): void {
    const session = this.#sessions.get(node);
    this.#sessions.delete(node);
    if (session?.kind !== 'kubeedge') return;
    // Without a version each is sent again: nobody knows which of them arrived.
    const unsure = [...session.held].map(([path, { uid }]) => [path, { uid, version: '' }] as const);
    this.#kept.set(node, new Map(unsure));
  }

  /** The node is gone for good. */
  forget(node: string): void {
    this.#kept.delete(node);
  }

  nodes(): Iterable<string> {
    return this.#sessions.keys();
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
