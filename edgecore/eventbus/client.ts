/**
 * The external broker: one MQTT 3.1.1 client to listen and one to publish, as KubeEdge has them, both QoS 1. Each
 * connects again within seconds of a loss and the listener then subscribes anew. A broker that is away or does not
 * answer stalls nobody: messages to it are dropped and counted.
 */

import { readFile } from 'node:fs/promises';
import type { IClientOptions, MqttClient } from 'mqtt';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Filters, MqttLink, Receive } from './link.ts';

export interface ClientOptions {
  readonly url: string;
  readonly listenerId: string;
  readonly publisherId: string;
  readonly username: string;
  readonly password: string;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } | undefined;
}

export interface ClientComponents {
  readonly log: Log;
  readonly filters: Filters;
  readonly receive: Receive;
}

const reconnectMs = 2_000;
const connectTimeoutMs = 10_000;
const probeTimeoutMs = 1_500;
const keepaliveSeconds = 15;
/** Messages that were sent and not acknowledged by the broker. */
const unacknowledgedMax = 1_000;

export async function connectExternal(
  options: ClientOptions,
  components: ClientComponents,
): Promise<MqttLink> {
  const { default: mqtt } = await import('mqtt');
  const { log, filters, receive } = components;
  const shared = await connectionOptions(options);
  const listener = mqtt.connect(brokerUrl(options), { ...shared, clientId: options.listenerId });
  const publisher = mqtt.connect(brokerUrl(options), { ...shared, clientId: options.publisherId });
  tell(listener, options.url, log);
  quiet(publisher, log);

  const subscribe = (topics: string[]) =>
    listener.subscribe(topics, { qos: 1 }, (error) => {
      if (error) log.warn({ topics: topics.length, reason: error.message }, 'broker refused a subscription');
    });
  listener.on('connect', () => subscribe([...filters()]));
  // The broker is answered, and the next message read, when this one is taken.
  listener.handleMessage = (packet, done) => {
    const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
    receive(packet.topic, payload).then(
      () => done(),
      (error: unknown) => {
        log.error({ topic: packet.topic, err: error }, 'a message of a client was lost');
        done();
      },
    );
  };

  let unacknowledged = 0;
  return {
    async publish(topic, payload) {
      if (!publisher.connected || unacknowledged >= unacknowledgedMax) return 'dropped';
      unacknowledged += 1;
      publisher.publish(topic, payload, { qos: 1, retain: false }, () => {
        unacknowledged -= 1;
      });
      return 'sent';
    },
    subscribe(filter) {
      if (listener.connected) subscribe([filter]);
    },
    unsubscribe(filter) {
      if (listener.connected) listener.unsubscribe(filter, () => {});
    },
    async close() {
      await Promise.all([listener.endAsync(true), publisher.endAsync(true)]);
    },
  };
}

/** Whether an MQTT broker answers there now. */
export async function brokerAnswers(options: ClientOptions, clock: Clock): Promise<boolean> {
  const { default: mqtt } = await import('mqtt');
  const shared = await connectionOptions(options);
  const client = mqtt.connect(brokerUrl(options), {
    ...shared,
    clientId: `${options.publisherId}-probe`,
    reconnectPeriod: 0,
    connectTimeout: connectTimeoutMs,
  });
  const answered = await new Promise<boolean>((resolve) => {
    const notLate = clock.after(probeTimeoutMs, () => resolve(false));
    const answer = (answers: boolean) => {
      notLate();
      resolve(answers);
    };
    client.once('connect', () => answer(true));
    client.once('error', () => answer(false));
    client.once('close', () => answer(false));
  });
  client.on('error', () => {});
  await client.endAsync(true);
  return answered;
}

/** The schemes that KubeEdge's client library knows, in the words of ours. */
function brokerUrl({ url, tls }: ClientOptions): string {
  const scheme = url.slice(0, url.indexOf(':'));
  const secure = tls !== undefined || ['ssl', 'tls', 'tcps', 'mqtts'].includes(scheme);
  const known: Readonly<Record<string, string>> = { tcp: 'mqtt', ssl: 'mqtts', tls: 'mqtts', tcps: 'mqtts' };
  const own = known[scheme] ?? scheme;
  const taken = secure ? ({ mqtt: 'mqtts', ws: 'wss' }[own] ?? own) : own;
  return `${taken}${url.slice(scheme.length)}`;
}

async function connectionOptions(options: ClientOptions): Promise<IClientOptions> {
  const { tls, username, password } = options;
  return {
    protocolVersion: 4,
    clean: true,
    reconnectPeriod: reconnectMs,
    connectTimeout: connectTimeoutMs,
    keepalive: keepaliveSeconds,
    // The set may have changed meanwhile, so it is subscribed to by us at each connect.
    resubscribe: false,
    queueQoSZero: false,
    ...(username === '' ? {} : { username, password }),
    ...(tls === undefined
      ? {}
      : { ca: await readFile(tls.ca), cert: await readFile(tls.cert), key: await readFile(tls.key) }),
  };
}

/** One line when the broker is there and one when it is not, however often it is tried. */
function tell(client: MqttClient, url: string, log: Log): void {
  let said: 'up' | 'down' | undefined;
  let reason = 'connection closed';
  client.on('connect', () => {
    if (said !== 'up') log.info({ url }, 'connected to the MQTT broker');
    said = 'up';
  });
  client.on('error', (error) => {
    reason = error.message;
  });
  client.on('close', () => {
    if (said !== 'down') log.warn({ url, reason }, 'no connection to the MQTT broker, trying again');
    said = 'down';
  });
}

function quiet(client: MqttClient, log: Log): void {
  client.on('error', (error) => log.debug({ reason: error.message }, 'MQTT publisher'));
}
