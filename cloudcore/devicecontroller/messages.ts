/** What this controller says beside objects: membership of devices, and the confirmations of reports (wire 4.4, 4.5). */

import { randomUUID } from 'node:crypto';
import type { Clock } from '#beehive/clock.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { group, ok, operation, source } from '#protocol/names.ts';
import { withNode } from '#protocol/resource-path.ts';
import type { Member } from '#protocol/twin.ts';

const from = { source: source.deviceController, group: group.twin };

/** One list is used and the other null, as KubeEdge writes it. */
export function membership(
  node: string,
  change: { readonly added: readonly Member[] } | { readonly removed: readonly Member[] },
  clock: Clock,
): Envelope {
  return newEnvelope(
    { ...from, operation: operation.update, resource: withNode(node, 'membership') },
    {
      event_id: randomUUID(),
      timestamp: clock.now(),
      added_devices: 'added' in change ? change.added : null,
      removed_devices: 'removed' in change ? change.removed : null,
    },
  );
}

/** A report is kept here for good: the edge may forget it. */
export function confirmation(node: string, parentId: string): Envelope {
  return newEnvelope({ ...from, operation: operation.response, resource: withNode(node, 'twin') }, ok, {
    parentId,
  });
}

/** A report that will never be taken; that too ends the edge's repeating it. */
export function refusal(node: string, parentId: string, reason: string): Envelope {
  return newEnvelope({ ...from, operation: operation.error, resource: withNode(node, 'twin') }, reason, {
    parentId,
  });
}
