/**
 * What each KubeEdge edge was ever sent, and the version that it acknowledged last. Such an edge cannot say what it
 * holds; this is all that is known of it, also after a restart. CloudHub writes, controllers read;
 * SyncController keeps it in the API. Edges of ours are not in it.
 */

import type { ObjectPath } from '#protocol/resource-path.ts';
import type { SessionKind } from '#protocol/session.ts';
import type { HeldVersion } from './difference.ts';

export interface DeliveryLedger {
  /** False until what earlier runs wrote has been read: before that nothing may be concluded from it. */
  readonly synced: boolean;
  /** Resolves when it is, or when the signal is aborted. */
  whenSynced(signal: AbortSignal): Promise<void>;
  /** Path → what the node was sent; the version is empty while it has acknowledged none. */
  heldBy(node: string): ReadonlyMap<string, HeldVersion>;
  /**
   * Notes that the node is about to be sent an object: before it leaves, so that its deletion cannot be missed.
   * @throws KubeError when that cannot be written now
   */
  intend(node: string, path: ObjectPath, uid: string): Promise<void>;
  /** The node has this version. Written some time later, the last one only: a version that is too old costs one send. */
  acknowledged(node: string, path: ObjectPath, uid: string, version: string): void;
  /** The node no longer has the object. */
  removed(node: string, path: ObjectPath, uid: string): void;
  /** Nobody knows any more what the node has acknowledged: it may have lost its store. */
  unsure(node: string): void;
  /** Which kind of edge the node has now: notes of one that has another now are kept for some days only. */
  served(node: string, kind: SessionKind): void;
  /** Somebody removed what was noted, which is how operators ask for an object to be sent again; or see `unsure`. */
  onLost(handler: (node: string, path: string) => void): void;
}
