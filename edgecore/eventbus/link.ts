/** What EventBus needs of a broker, be it embedded or external. */

export interface MqttLink {
  /** Hands the message over, or drops it when the broker cannot take it now. Waits no longer than a local turn. */
  publish(topic: string, payload: string): Promise<'sent' | 'dropped'>;
  /** The set of subscriptions has changed. */
  subscribe(filter: string): void;
  unsubscribe(filter: string): void;
  close(): Promise<void>;
}

/** A message of a client. The link reads no more from that client until it is taken. */
export type Receive = (topic: string, payload: Uint8Array) => Promise<void>;

/** What the edge listens to now. */
export type Filters = () => Iterable<string>;
