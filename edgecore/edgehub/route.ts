/** Where a frame from the cloud goes on this edge: by group, and for rules by source; content is not looked at (wire 4). */

import type { Envelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';

export type Destination = 'metamanager' | 'twin' | 'eventbus' | 'servicebus';

export interface Routing {
  /** An answer goes to who waits for it; `to` gets it only when nobody does. */
  readonly answers: boolean;
  readonly to: Destination | undefined;
}

const destinations: ReadonlyMap<string, Destination> = new Map([
  [group.resource, 'metamanager'],
  [group.func, 'metamanager'],
  [group.session, 'metamanager'],
  [group.twin, 'twin'],
]);

/** In these groups an answer that nobody waits for (any more) means nothing to anybody (wire 4.1). */
const answersAreLost: readonly string[] = [group.resource, group.func, group.session, group.user];

export function routeOf(envelope: Envelope): Routing {
  const { route, header } = envelope;
  // News of the link are EdgeHub's own; a cloud that sends some is not believed.
  if (route.operation === operation.connect || route.source === source.edgeHub) {
    return { answers: false, to: undefined };
  }
  const answers = header.parent_msg_id !== undefined && header.parent_msg_id !== '';
  if (answers && answersAreLost.includes(route.group)) return { answers, to: undefined };
  if (route.group === group.user) return { answers, to: busOf(route.source) };
  return { answers, to: destinations.get(route.group) };
}

function busOf(from: string): Destination | undefined {
  if (from === source.routerEventBus) return 'eventbus';
  return from === source.routerServiceBus ? 'servicebus' : undefined;
}
