/**
 * EventBus: between the bus and MQTT. What clients say about devices goes to DeviceTwin, all else that the edge
 * listens to goes up; what DeviceTwin and the cloud's rules say goes out. It looks at topics only, never into a
 * payload, but that it must be text. What goes up is kept in the outbox of MetaManager before its client is answered.
 *
 * Envelopes are handled in the order they came, side by side where a broker takes its time, so each is its own
 * key on the bus. A broker that is away costs its own messages and nothing else.
 */

import { isUtf8 } from 'node:buffer';
import type { Bus, InboxOptions } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { BusError } from '#beehive/errors.ts';
import type { Log } from '#beehive/log.ts';
import type { Metrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import { CancelledError } from '#protocol/errors.ts';
import { mqttLimits, ruleLimits } from '#protocol/limits.ts';
import { acknowledge, type Envelope, newEnvelope, replyError } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import { ackHeader } from '#protocol/session.ts';
import { fixedSubscriptions, isLocalTopic } from '#protocol/topics.ts';
import type { Store } from '../store/database.ts';
import { deleteTopic, loadTopics, saveTopic } from '../store/topic-store.ts';
import { startBroker } from './broker.ts';
import { covers } from './broker-access.ts';
import { filterRefusal, topicRefusal } from './broker-rules.ts';
import { brokerAnswers, type ClientOptions, connectExternal } from './client.ts';
import type { EventBusConfig } from './config.ts';
import type { MqttLink } from './link.ts';

export interface EventBusComponents {
  readonly bus: Bus;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export const eventBusModule = 'eventbus';

export const eventBusInbox: InboxOptions = {
  capacity: 4_096,
  lanesMax: 256,
  keyOf: (envelope) => envelope.header.msg_id,
};

/**
 * Uploads that are on their way to the disk; who sends more waits. Far below MetaManager's inbox, so that no client can
 * fill it.
 */
const openUploadsMax = 32;
const keepTimeoutMs = 60_000;

export function createEventBus(options: EventBusConfig, components: EventBusComponents): Module {
  const { metrics } = components;
  const log = components.log.child({ module: eventBusModule });
  const messages = metrics.counter('hawser_eventbus_messages_total', 'MQTT messages, by where they went', [
    'direction',
    'outcome',
  ]);
  const refusals = metrics.counter(
    'hawser_eventbus_refused_total',
    'What clients of the embedded broker were refused',
    ['reason'],
  );
  const count: Count = (direction, outcome) => messages.inc({ direction, outcome });
  const refused = (reason: string) => refusals.inc({ reason });
  return {
    name: eventBusModule,
    async run(signal, ready) {
      const work = new Work({ ...components, log }, count, signal);
      try {
        await work.open(options, refused);
        ready();
        await components.bus.serve(eventBusModule, (envelope) => work.handle(envelope), signal);
      } finally {
        await work.close();
      }
    },
  };
}

type Count = (direction: 'in' | 'out', outcome: 'twin' | 'upload' | 'sent' | 'dropped' | 'refused') => void;

/** One run of the module. */
class Work {
  readonly #components: EventBusComponents;
  readonly #count: Count;
  readonly #signal: AbortSignal;
  readonly #links: MqttLink[] = [];
  readonly #ruleTopics: Set<string>;
  #filters: readonly string[];
  #openUploads = 0;
  readonly #uploadTurns: (() => void)[] = [];

  constructor(components: EventBusComponents, count: Count, signal: AbortSignal) {
    this.#components = components;
    this.#count = count;
    this.#signal = signal;
    this.#ruleTopics = new Set(components.store.read(loadTopics));
    this.#filters = filtersWith(this.#ruleTopics);
  }

  async open(options: EventBusConfig, refused: (reason: string) => void): Promise<void> {
    const { log, clock } = this.#components;
    const external = clientOptions(options, clock.now());
    const mode = options.mqttMode ?? ((await brokerAnswers(external, clock)) ? 2 : 0);
    const shared = {
      log,
      filters: () => this.#filters,
      receive: (topic: string, payload: Uint8Array) => this.#receive(topic, payload),
    };
    if (mode !== 2) {
      const broker = await startBroker(
        {
          url: options.mqttServerInternal,
          qos: options.mqttQOS,
          retain: options.mqttRetain,
          sessionQueueMax: options.mqttSessionQueueSize,
          tls: options.internalBroker.tls,
          access: options.internalBroker,
        },
        { ...shared, clock, refused },
      );
      this.#links.push(broker);
      log.info({ url: options.mqttServerInternal, port: broker.port }, 'embedded MQTT broker listens');
    }
    if (mode !== 0) this.#links.push(await connectExternal(external, shared));
  }

  async close(): Promise<void> {
    await Promise.all(this.#links.map((link) => link.close()));
  }

  async handle(envelope: Envelope): Promise<void> {
    const { route, content } = envelope;
    if (route.source === source.twin && route.operation === operation.publish) {
      await this.#publish(route.resource, content);
      return;
    }
    if (route.source !== source.routerEventBus) return;
    switch (route.operation) {
      case operation.publish:
        return this.#publishForRule(envelope);
      case operation.subscribe:
        return this.#subscribe(route.resource);
      case operation.unsubscribe:
        return this.#unsubscribe(route.resource);
      default:
        this.#count('out', 'refused');
    }
  }

  /** A cloud of ours is told what became of it; KubeEdge's expects no answer. */
  async #publishForRule(request: Envelope): Promise<void> {
    const fault = await this.#publish(request.route.resource, request.content);
    if (request.header[ackHeader] !== true) return;
    const answer = fault === undefined ? acknowledge(request) : replyError(request, fault);
    this.#components.bus.send(source.edgeHub, answer);
  }

  /** Wire 0: text goes out as it is, any other value as its JSON. Resolves with why no broker has it. */
  async #publish(topic: string, content: unknown): Promise<string | undefined> {
    const payload = typeof content === 'string' ? content : (JSON.stringify(content) ?? '');
    const reason = topic === '' ? 'no topic' : topicRefusal(topic);
    if (reason !== undefined) {
      this.#count('out', 'refused');
      this.#components.log.warn({ topic: topic.slice(0, 200), reason }, 'not published');
      return reason;
    }
    const outcomes = await Promise.all(this.#links.map((link) => link.publish(topic, payload)));
    for (const outcome of outcomes) this.#count('out', outcome);
    return outcomes.includes('sent') ? undefined : 'the MQTT broker of the edge does not take it now';
  }

  async #subscribe(topic: string): Promise<void> {
    const { log, store } = this.#components;
    const full =
      this.#ruleTopics.size >= ruleLimits.topicsMax
        ? `rules listen to ${ruleLimits.topicsMax} topics`
        : undefined;
    const reason = filterRefusal(topic) ?? (this.#ruleTopics.has(topic) ? undefined : full);
    if (reason !== undefined) {
      log.warn({ topic: topic.slice(0, 200), reason }, 'not subscribed for a rule');
      return;
    }
    await store.write((sql) => saveTopic(sql, topic));
    this.#ruleTopics.add(topic);
    this.#listenTo(filtersWith(this.#ruleTopics));
  }

  async #unsubscribe(topic: string): Promise<void> {
    await this.#components.store.write((sql) => deleteTopic(sql, topic));
    this.#ruleTopics.delete(topic);
    this.#listenTo(filtersWith(this.#ruleTopics));
  }

  /** What is new first, so that nothing is missed where one filter takes the place of another. */
  #listenTo(filters: readonly string[]): void {
    const before = this.#filters;
    this.#filters = filters;
    for (const link of this.#links) {
      for (const filter of filters) if (!before.includes(filter)) link.subscribe(filter);
      for (const filter of before) if (!filters.includes(filter)) link.unsubscribe(filter);
    }
  }

  async #receive(topic: string, payload: Uint8Array): Promise<void> {
    const reason = topicRefusal(topic) ?? payloadRefusal(payload);
    if (reason !== undefined) {
      this.#count('in', 'refused');
      // Counted, and not worth a line each: a client may send any number of them.
      this.#components.log.debug({ topic: topic.slice(0, 200), reason }, 'an MQTT message was dropped');
      return;
    }
    const text = Buffer.from(payload).toString('utf8');
    if (isLocalTopic(topic)) return this.#toTwin(topic, text);
    return this.#upload(topic, text);
  }

  /** Waits for room: the client that sends so much waits with it, and others have their turn. */
  async #toTwin(topic: string, text: string): Promise<void> {
    const { bus } = this.#components;
    const envelope = this.#envelope(group.twin, operation.publish, topic, text);
    try {
      while (!this.#signal.aborted) {
        await bus.drained(source.twin);
        if (bus.send(source.twin, envelope) === 'full') continue;
        this.#count('in', 'twin');
        return;
      }
    } catch (error) {
      // DeviceTwin is switched off.
      if (!(error instanceof BusError && error.code === 'unknown-module')) throw error;
    }
    this.#count('in', 'dropped');
  }

  /** Resolves when it is on the disk, or cannot be: the client that sent it waits that long. */
  async #upload(topic: string, text: string): Promise<void> {
    const envelope = this.#envelope(group.user, operation.upload, topic, text);
    if (this.#openUploads >= openUploadsMax)
      await new Promise<void>((resolve) => this.#uploadTurns.push(resolve));
    else this.#openUploads += 1;
    try {
      this.#count('in', await this.#keep(envelope));
    } finally {
      const next = this.#uploadTurns.shift();
      // Who waits takes over the place.
      if (next !== undefined) next();
      else this.#openUploads -= 1;
    }
  }

  async #keep(envelope: Envelope): Promise<'upload' | 'dropped' | 'refused'> {
    const { bus, log } = this.#components;
    try {
      const options = { timeoutMs: keepTimeoutMs, signal: this.#signal };
      const answer = await bus.request(source.metaManager, envelope, options);
      return answer.route.operation === operation.error ? 'refused' : 'upload';
    } catch (error) {
      if (error instanceof CancelledError) return 'dropped';
      if (!(error instanceof BusError)) throw error;
      log.warn({ topic: envelope.route.resource.slice(0, 200), reason: error.message }, 'an upload was lost');
      return 'dropped';
    }
  }

  #envelope(toGroup: string, verb: string, topic: string, text: string): Envelope {
    return newEnvelope({ source: source.bus, group: toGroup, operation: verb, resource: topic }, text, {
      timestampMs: this.#components.clock.now(),
    });
  }
}

/** A topic that another filter covers needs none of its own, and an external broker would deliver it twice. */
function filtersWith(ruleTopics: ReadonlySet<string>): readonly string[] {
  const all = [...new Set([...fixedSubscriptions, ...ruleTopics])];
  return all.filter((one) => !all.some((other) => other !== one && covers(other, one)));
}

/** It travels as text in JSON; the embedded broker has the same limit, an external one its own. */
function payloadRefusal(payload: Uint8Array): string | undefined {
  if (payload.length > mqttLimits.payloadBytesMax) {
    return `a payload has at most ${mqttLimits.payloadBytesMax} bytes`;
  }
  return isUtf8(payload) ? undefined : 'the payload is not text';
}

/** KubeEdge names its clients by the second in which it starts. */
function clientOptions(options: EventBusConfig, nowMs: number): ClientOptions {
  const second = Math.floor(nowMs / 1_000);
  const { eventBusTLS: tls } = options;
  return {
    url: options.mqttServerExternal,
    listenerId: options.mqttSubClientID || `hub-client-sub-${second}`,
    publisherId: options.mqttPubClientID || `hub-client-pub-${second}`,
    username: options.mqttUsername,
    password: options.mqttPassword,
    tls: tls.enable
      ? { ca: tls.tlsMqttCAFile, cert: tls.tlsMqttCertFile, key: tls.tlsMqttPrivateKeyFile }
      : undefined,
  };
}
