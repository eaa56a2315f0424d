/**
 * What the embedded broker remembers, within limits: retained messages, and of clients that come and go their
 * subscriptions and the messages that wait for them. aedes asks for it by the names of its persistence packages
 * (aedes-persistence 11), whose own store in memory has no limits and forgets no client. A message from a client
 * needs no body here: aedes asks only whether it has been seen.
 */

import { Readable } from 'node:stream';
import { brokerLimits } from '#protocol/limits.ts';
import { topicMatches } from '#protocol/topics.ts';

interface Named {
  readonly id: string;
}

interface Subscription {
  readonly topic: string;
  readonly qos: number;
}

interface ClientSubscription extends Subscription {
  readonly clientId: string;
}

/** Of a message, or of the step that follows it (`pubrel`). */
interface Packet {
  readonly cmd?: string;
  readonly topic?: string;
  readonly payload?: string | Uint8Array;
  readonly qos?: number;
  /** Numbers the messages of the broker. */
  readonly brokerCounter?: number;
  /** By which the client acknowledges it. */
  messageId?: number | undefined;
}

interface Session {
  readonly subscriptions: Map<string, Subscription>;
  /** By `brokerCounter`, in the order in which they came. */
  readonly queue: Map<number, Packet>;
  /** `messageId` to `brokerCounter`. */
  readonly sent: Map<number, number>;
}

export interface BrokerMemoryOptions {
  /** Messages that wait for a client that is away. */
  readonly sessionQueueMax: number;
  /** Whether the client was allowed that filter: aedes names all that it asked for, also those that it was refused. */
  readonly granted: (client: Named, filter: string) => boolean;
  readonly refused: (reason: 'retain' | 'session' | 'does-not-acknowledge') => void;
}

export class BrokerMemory {
  readonly #options: BrokerMemoryOptions;
  readonly #retained = new Map<string, Packet>();
  #retainedBytes = 0;
  readonly #sessions = new Map<string, Session>();
  #subscriptions = 0;
  #queuedBytes = 0;
  /** Messages of clients, QoS 2, that are not at their last step. */
  readonly #unfinished = new Map<string, Set<number>>();
  #isConnected: (clientId: string) => boolean = () => false;

  constructor(options: BrokerMemoryOptions) {
    this.#options = options;
  }

  async setup(broker: { readonly clients: object }): Promise<void> {
    this.#isConnected = (clientId) => Object.hasOwn(broker.clients, clientId);
  }

  /** Drops the session of a client that is away. */
  forget(client: Named): void {
    const session = this.#sessions.get(client.id);
    for (const counter of session?.queue.keys() ?? []) this.#take(session, counter);
    this.#subscriptions -= session?.subscriptions.size ?? 0;
    this.#sessions.delete(client.id);
    this.#unfinished.delete(client.id);
  }

  async storeRetained(packet: Packet & { readonly topic: string }): Promise<void> {
    const bytes = bytesOf(packet);
    const before = this.#retained.get(packet.topic);
    const total = this.#retainedBytes - (before === undefined ? 0 : bytesOf(before)) + bytes;
    const isNew = before === undefined && bytes > 0;
    if (isNew && this.#retained.size >= brokerLimits.retainedMax) return this.#options.refused('retain');
    if (total > brokerLimits.retainedBytesMax) return this.#options.refused('retain');
    this.#retainedBytes = total;
    if (bytes === 0) this.#retained.delete(packet.topic);
    else this.#retained.set(packet.topic, { ...packet });
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    const found = [...this.#retained].filter(([topic]) =>
      filters.some((filter) => topicMatches(filter, topic)),
    );
    return Readable.from(found.map(([, packet]) => packet));
  }

  async addSubscriptions(client: Named, subscriptions: readonly Subscription[]): Promise<void> {
    const session = this.#sessions.get(client.id) ?? {
      subscriptions: new Map(),
      queue: new Map(),
      sent: new Map(),
    };
    this.#sessions.set(client.id, session);
    for (const subscription of subscriptions) {
      if (!this.#options.granted(client, subscription.topic)) continue;
      const isNew = !session.subscriptions.has(subscription.topic);
      if (isNew && this.#subscriptions >= brokerLimits.sessionSubscriptionsMax)
        throw new Error('sessions have too many subscriptions');
      if (isNew) this.#subscriptions += 1;
      session.subscriptions.set(subscription.topic, { ...subscription });
    }
  }

  async removeSubscriptions(client: Named, topics: readonly string[]): Promise<void> {
    const session = this.#sessions.get(client.id);
    for (const topic of topics) if (session?.subscriptions.delete(topic)) this.#subscriptions -= 1;
  }

  async cleanSubscriptions(client: Named): Promise<void> {
    this.forget(client);
  }

  async subscriptionsByClient(client: Named): Promise<Subscription[]> {
    return [...(this.#sessions.get(client.id)?.subscriptions.values() ?? [])];
  }

  /** Of those that want to miss nothing, one for each client. */
  async subscriptionsByTopic(topic: string): Promise<ClientSubscription[]> {
    const found: ClientSubscription[] = [];
    for (const [clientId, { subscriptions }] of this.#sessions) {
      for (const subscription of subscriptions.values()) {
        if (subscription.qos === 0 || !topicMatches(subscription.topic, topic)) continue;
        found.push({ ...subscription, clientId });
        break;
      }
    }
    return found;
  }

  /** The newest is not kept when a queue is full. */
  async outgoingEnqueueCombi(
    subscriptions: readonly ClientSubscription[],
    packet: Packet & { readonly brokerCounter: number },
  ): Promise<void> {
    for (const subscription of subscriptions) {
      const session = this.#sessions.get(subscription.clientId);
      if (session !== undefined) this.#enqueue(session, subscription, packet);
    }
  }

  /** @throws when it was not kept: aedes then ends the connection, and the client gets what was when it comes again. */
  async outgoingUpdate({ id }: Named, packet: Packet & { readonly messageId: number }): Promise<void> {
    const session = this.#sessions.get(id);
    const { cmd, messageId } = packet;
    const counter = cmd === 'pubrel' ? session?.sent.get(messageId) : packet.brokerCounter;
    const queued = counter === undefined ? undefined : session?.queue.get(counter);
    if (session === undefined || counter === undefined || queued === undefined)
      throw new Error('the client acknowledges too little, or what it was not sent');
    if (cmd === 'pubrel') {
      this.#queuedBytes -= bytesOf(queued);
      session.queue.set(counter, { cmd, messageId, brokerCounter: counter });
    } else {
      queued.messageId = messageId;
      session.sent.set(messageId, counter);
    }
  }

  async outgoingClearMessageId({ id }: Named, packet: Packet): Promise<Packet | undefined> {
    const session = this.#sessions.get(id);
    const counter =
      packet.messageId === undefined ? packet.brokerCounter : session?.sent.get(packet.messageId);
    return counter === undefined ? undefined : this.#take(session, counter);
  }

  outgoingStream({ id }: Named): Readable {
    return Readable.from([...(this.#sessions.get(id)?.queue.values() ?? [])]);
  }

  async incomingStorePacket({ id }: Named, { messageId }: { readonly messageId: number }): Promise<void> {
    const unfinished = this.#unfinished.get(id) ?? new Set();
    if (unfinished.size >= brokerLimits.unfinishedMax) throw new Error('too many messages are not released');
    this.#unfinished.set(id, unfinished.add(messageId));
  }

  /** @throws when it has not been seen. */
  async incomingGetPacket({ id }: Named, packet: { readonly messageId: number }): Promise<object> {
    if (!this.#unfinished.get(id)?.has(packet.messageId)) throw new Error('no such message');
    return packet;
  }

  async incomingDelPacket({ id }: Named, { messageId }: { readonly messageId: number }): Promise<void> {
    const unfinished = this.#unfinished.get(id);
    unfinished?.delete(messageId);
    if (unfinished?.size === 0) this.#unfinished.delete(id);
  }

  async cleanIncoming({ id }: Named): Promise<void> {
    this.#unfinished.delete(id);
  }

  /** aedes keeps the will with the connection; a store would need it only for another broker's clients. */
  async putWill(): Promise<void> {}

  async delWill(): Promise<void> {}

  streamWill(): Readable {
    return Readable.from([]);
  }

  #enqueue(session: Session, { clientId, qos }: ClientSubscription, packet: Packet): void {
    const { brokerCounter = 0 } = packet;
    const isConnected = this.#isConnected(clientId);
    const queueMax = isConnected ? brokerLimits.unacknowledgedMax : this.#options.sessionQueueMax;
    const total = this.#queuedBytes + bytesOf(packet);
    if (session.queue.size >= queueMax || total > brokerLimits.sessionBytesMax) {
      this.#options.refused(isConnected ? 'does-not-acknowledge' : 'session');
      return;
    }
    this.#queuedBytes = total;
    const granted = Math.min(packet.qos ?? 0, qos);
    session.queue.set(brokerCounter, { ...packet, qos: granted, messageId: undefined });
  }

  #take(session: Session | undefined, counter: number): Packet | undefined {
    const packet = session?.queue.get(counter);
    if (session === undefined || packet === undefined) return undefined;
    session.queue.delete(counter);
    if (packet.messageId !== undefined) session.sent.delete(packet.messageId);
    this.#queuedBytes -= bytesOf(packet);
    return packet;
  }
}

function bytesOf(packet: Packet | undefined): number {
  const { payload = '', topic = '' } = packet ?? {};
  const body = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length;
  return body === 0 ? 0 : body + topic.length;
}
