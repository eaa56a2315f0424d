/**
 * The limit that aedes lacks: how many messages its memory keeps for a client that is away. The newest is not
 * kept when the queue is full; a client that is connected takes its messages from its socket, which has a limit
 * of its own.
 */

import type { Aedes } from 'aedes';

interface Session {
  readonly clientId: string;
}

/** The part of aedes' persistence that is used here (aedes-persistence 11). */
interface Persistence {
  outgoingEnqueueCombi(sessions: readonly Session[], packet: unknown): Promise<void>;
  outgoingStream(client: { id: string }): AsyncIterable<unknown>;
}

export function boundSessions(broker: Aedes, queueMax: number, dropped: () => void): void {
  const persistence: unknown = Reflect.get(broker, 'persistence');
  const clients: unknown = Reflect.get(broker, 'clients');
  if (!isPersistence(persistence) || clients === null || typeof clients !== 'object') {
    throw new TypeError('this version of aedes keeps sessions in another way than session-queue.ts knows');
  }
  const enqueue = persistence.outgoingEnqueueCombi.bind(persistence);
  persistence.outgoingEnqueueCombi = async (sessions, packet) => {
    const kept: Session[] = [];
    for (const session of sessions) {
      const away = !Object.hasOwn(clients, session.clientId);
      if (away && (await length(persistence, session.clientId)) >= queueMax) dropped();
      else kept.push(session);
    }
    await enqueue(kept, packet);
  };
}

async function length(persistence: Persistence, clientId: string): Promise<number> {
  let count = 0;
  for await (const _ of persistence.outgoingStream({ id: clientId })) count += 1;
  return count;
}

function isPersistence(value: unknown): value is Persistence {
  return (
    value !== null &&
    typeof value === 'object' &&
    'outgoingEnqueueCombi' in value &&
    typeof value.outgoingEnqueueCombi === 'function' &&
    'outgoingStream' in value &&
    typeof value.outgoingStream === 'function'
  );
}
