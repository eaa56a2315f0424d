/**
 * Router: what Rules lead between HTTP in the cloud and MQTT and HTTP apps at the edges. This file connects the bus and
 * the API to its parts: rest-front (HTTP in the cloud asks), uploads (MQTT clients say), asks (apps at the edge ask),
 * subscriptions (what edges are told of the rules), rule-status (what came of it).
 */

import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Bus, InboxOptions } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { keepListening } from '#beehive/http-listener.ts';
import type { Log } from '#beehive/log.ts';
import type { Metrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import type { Random } from '#beehive/random.ts';
import { epochOf } from '#cloudcore/kube/epoch.ts';
import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { nodeKeyOf, readSessionNews } from '#cloudcore/kube/node-sessions.ts';
import type { ObjectCache } from '#cloudcore/kube/objects.ts';
import { Sender } from '#cloudcore/kube/sender.ts';
import { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import { HawserError } from '#protocol/errors.ts';
import { httpListenerLimits, inboxLimits } from '#protocol/limits.ts';
import { acknowledge, type Envelope } from '#protocol/message.ts';
import { group, source } from '#protocol/names.ts';
import { ackHeader, ackLater, heldSchema, type SessionKind, statusHeader } from '#protocol/session.ts';
import { topicMatches } from '#protocol/topics.ts';
import { Asks } from './asks.ts';
import type { RouterConfig } from './config.ts';
import { EdgeCalls } from './edge-calls.ts';
import { createRestFront } from './rest-front.ts';
import type { AskRoute } from './rule-set.ts';
import { RuleStatus } from './rule-status.ts';
import { Rules } from './rules.ts';
import { Subscriptions } from './subscriptions.ts';
import { Uploads } from './uploads.ts';

export interface RouterOptions extends Omit<RouterConfig, 'enable'> {
  readonly limits?: typeof httpListenerLimits;
}

export interface RouterComponents {
  readonly bus: Bus;
  readonly api: KubeApi;
  readonly cache: Pick<ObjectCache, 'get' | 'known' | 'epoch' | 'checkCluster' | 'whenSynced'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Told the port when it is open. */
  readonly listening?: (port: number) => void;
}

/** A file that the config names cannot be read: nobody is served before it can. */
export class RouterFileError extends HawserError<{ readonly code: 'no-file'; readonly file: string }> {}

/** One lane a node; nothing in a lane waits for an edge or a target. */
export const routerInbox: InboxOptions = {
  capacity: inboxLimits.router,
  lanesMax: 256,
  keyOf: nodeKeyOf,
};

const name = 'router';
const retry = { firstMs: 200, maxMs: 30_000 };
/** For a target in the cloud; an edge asks again after 30 s. */
const targetTimeoutMs = 25_000;

export function createRouter(options: RouterOptions, components: RouterComponents): Module {
  const log = components.log.child({ module: name });
  const counter = components.metrics.counter(
    'hawser_router_messages_total',
    'Messages of rules, by where they went and what came of them',
    ['flow', 'outcome'],
  );
  const count: Count = (flow, outcome) => counter.inc({ flow, outcome });
  return {
    name,
    async run(signal, ready) {
      const files = {
        token: await readOptional(options.tokenFile, 'tokenFile'),
        ca: await readOptional(options.targetCAFile, 'targetCAFile'),
      };
      const own = AbortSignal.any([signal]);
      // Each call that is open listens to it, and Node would warn of so many listeners.
      setMaxListeners(0, own);
      await new Work(options, files, { ...components, log }, count, own).run(ready);
    },
  };
}

type Flow = 'rest-eventbus' | 'rest-servicebus' | 'eventbus-rest' | 'servicebus-rest';
type Outcome = 'ok' | 'failed' | 'again' | 'repeated' | 'no-rule' | 'not-asked';
type Count = (flow: Flow, outcome: Outcome) => void;

/** One run of the module. */
class Work {
  readonly #options: RouterOptions;
  readonly #components: RouterComponents;
  readonly #token: string | undefined;
  readonly #count: Count;
  readonly #signal: AbortSignal;
  readonly #sender: Sender;
  readonly #rules: Rules;
  readonly #status: RuleStatus;
  readonly #calls: EdgeCalls;
  readonly #subscriptions: Subscriptions;
  readonly #uploads: Uploads;
  readonly #asks: Asks;

  constructor(
    options: RouterOptions,
    files: { readonly token: string | undefined; readonly ca: string | undefined },
    components: RouterComponents,
    count: Count,
    signal: AbortSignal,
  ) {
    const { bus, api, cache, clock, random, log } = components;
    const base = { api, clock, random, log };
    const queue = (queueName: string) => new WorkQueue({ name: queueName, workersMax: 16, retry }, base);
    const target = { clock, ca: files.ca, timeoutMs: targetTimeoutMs };
    this.#options = options;
    this.#components = components;
    this.#token = files.token;
    this.#count = count;
    this.#signal = signal;
    this.#sender = new Sender(bus);
    this.#rules = new Rules({ ...base, checkSource: () => cache.checkCluster() });
    this.#status = new RuleStatus({ ...base, rules: this.#rules, queue: queue('rulestatuses') });
    this.#calls = new EdgeCalls({ bus, clock });
    const node = (nodeName: string) => cache.get('node', undefined, nodeName);
    const parts = { ...base, node, rules: this.#rules, sender: this.#sender };
    this.#subscriptions = new Subscriptions({ ...parts, queue: queue('subscriptions') });
    this.#uploads = new Uploads(
      {
        ...target,
        count: (rule, end, failure) => {
          this.#count('eventbus-rest', end === 'taken' ? 'ok' : end === 'again' ? 'again' : 'failed');
          if (end === 'taken') this.#status.succeeded(rule);
          else this.#status.failed(rule, failure, end === 'given-up');
        },
        repeated: () => this.#count('eventbus-rest', 'repeated'),
      },
      signal,
    );
    this.#asks = new Asks(
      { ...target, log, counted: (rule, failure) => this.#counted('servicebus-rest', rule, failure) },
      signal,
    );
    this.#rules.onChange(() => this.#rulesChanged());
  }

  async run(ready: () => void): Promise<void> {
    const { bus, cache, clock, log, listening } = this.#components;
    const signal = this.#signal;
    const following = this.#rules.run(signal);
    ready();
    const known = Promise.all([this.#rules.whenSynced(signal), cache.whenSynced(signal, ['node'])]);
    const { address: host, port, limits = httpListenerLimits } = this.#options;
    const front = createRestFront({
      calls: this.#calls,
      routes: () => this.#rules.set.rest,
      isNode: (nodeName) => cache.get('node', undefined, nodeName) !== undefined,
      clock,
      token: this.#token,
      timeoutMs: this.#options.restTimeout * 1000,
      count: (rule, flow, failure) => this.#counted(flow, rule, failure),
    });
    const complaint = 'nobody can ask through rules: cannot listen; set modules.router.port to a free port';
    const listen = async () => {
      await known;
      const listener = { host, port, limits, complaint };
      await keepListening(listener, front, { clock, log }, signal, { opened: listening });
    };
    await Promise.all([
      following,
      known.then(() => this.#rulesChanged()),
      this.#status.run(signal),
      this.#subscriptions.run(signal),
      bus.serve(name, async (envelope) => this.#handle(envelope), signal),
      listen(),
    ]);
    await Promise.all([this.#uploads.ended(), this.#asks.ended()]);
  }

  #handle(envelope: Envelope): void {
    const news = readSessionNews(envelope);
    if (news?.news === 'connected') this.#connected(news.node, news.session);
    else if (news?.news === 'disconnected') this.#disconnected(news.node);
    else this.#said(envelope);
  }

  /** By an edge. */
  #said(envelope: Envelope): void {
    const [, node = '', resource = ''] = /^node\/([^/]+)\/(.*)$/s.exec(envelope.route.resource) ?? [];
    if (envelope.route.group === group.session) this.#held(node, envelope);
    else if (envelope.header.parent_msg_id) {
      // If nobody takes it, it is the answer to another node's call, or late.
      if (!this.#calls.take(node, envelope)) this.#count('rest-servicebus', 'not-asked');
    } else if (envelope.route.source === source.bus) this.#uploaded(node, resource, envelope);
    else if (envelope.route.source === source.serviceBus) this.#asked(node, resource, envelope);
  }

  #connected(node: string, session: SessionKind): void {
    this.#calls.connected(node, session);
    this.#subscriptions.connected(node, session);
  }

  #disconnected(node: string): void {
    this.#calls.disconnected(node);
    this.#subscriptions.disconnected(node);
  }

  #held(node: string, envelope: Envelope): void {
    const held = heldSchema.safeParse(envelope.content).data;
    if (held === undefined) return;
    const { cache } = this.#components;
    const epoch = epochOf(held, cache);
    const asked = { topics: new Set(held.topics), urls: new Set(held.urls) };
    this.#subscriptions.holds(node, asked, epoch !== null && epoch !== cache.epoch);
  }

  #uploaded(node: string, topic: string, envelope: Envelope): void {
    const { content: text } = envelope;
    const of = this.#rules.set.uploads.get(node) ?? [];
    const routes = typeof text === 'string' ? of.filter(({ filter }) => topicMatches(filter, topic)) : [];
    if (routes.length === 0) this.#count('eventbus-rest', 'no-rule');
    const { synced } = this.#rules;
    const isKept = envelope.header[ackHeader] === true;
    const tell = (outcome: 'done' | 'later') => {
      const answer = acknowledge(envelope);
      if (outcome === 'later') answer.header[ackHeader] = ackLater;
      void this.#sender.send(answer);
    };
    if (!synced) {
      // It would look like one that nobody wants, and be lost.
      if (isKept) tell('later');
      return;
    }
    this.#uploads.add(
      { node, topic, text: String(text), envelope, acknowledge: isKept ? tell : undefined },
      routes,
    );
  }

  #asked(node: string, url: string, envelope: Envelope): void {
    const route = this.#rules.set.asks.get(node)?.find(({ asked }) => asked === url);
    if (route === undefined) this.#count('servicebus-rest', 'no-rule');
    void this.#answer(node, route, envelope);
  }

  async #answer(node: string, route: AskRoute | undefined, envelope: Envelope): Promise<void> {
    const answer = await this.#asks.answer(node, route, envelope);
    const { [statusHeader]: _, ...bare } = answer.header;
    const isOurs = this.#calls.sessionOf(node) === 'hawser';
    await this.#sender.send(isOurs ? answer : { ...answer, header: bare });
  }

  #counted(flow: Flow, rule: string, failure: string | undefined): void {
    this.#count(flow, failure === undefined ? 'ok' : 'failed');
    if (failure === undefined) this.#status.succeeded(rule);
    else this.#status.failed(rule, failure, true);
  }

  #rulesChanged(): void {
    if (!this.#rules.synced) return;
    const keys = this.#rules.keys();
    this.#status.review(keys, this.#rules.set.faults);
    this.#uploads.forgetAllBut(new Set(keys));
    this.#subscriptions.changed();
  }
}

/** @throws RouterFileError */
async function readOptional(file: string, field: string): Promise<string | undefined> {
  if (file === '') return undefined;
  const problem = (what: string, cause?: unknown) =>
    new RouterFileError(
      `modules.router.${field} ${file} ${what}`,
      { code: 'no-file', file },
      { retry: 'backoff', cause },
    );
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw problem('cannot be read', error);
  }
  if (text === '') throw problem('is empty');
  return text;
}
