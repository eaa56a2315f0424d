/**
 * MetaManager: what the cloud sends is stored first, then forwarded to the module that lives by it, then
 * acknowledged; what the edge's modules ask is answered from the store or by the cloud. With no cloud at all it
 * serves what it has.
 *
 * A module whose inbox is full gets nothing, and the message stays unacknowledged: the cloud sends it again.
 * Questions to the cloud run beside the lanes, so that a slow cloud holds up no delivery.
 */

import type { Bus, InboxOptions } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Metrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import type { Random } from '#beehive/random.ts';
import { CancelledError, describeError, ProtocolError } from '#protocol/errors.ts';
import { inboxLimits } from '#protocol/limits.ts';
import { acknowledge, type Envelope, newEnvelope, replyError } from '#protocol/message.ts';
import { connection, group, operation, source } from '#protocol/names.ts';
import type { Store } from '../store/database.ts';
import { StoreError } from '../store/errors.ts';
import { MetaStore } from '../store/meta-store.ts';
import { OutboxStore } from '../store/outbox-store.ts';
import { SessionStore } from '../store/session-store.ts';
import { loadTopics, loadUrls } from '../store/topic-store.ts';
import { CloudCalls } from './cloud-calls.ts';
import { consumerOf, type Incoming, openIncoming, type Plan, planDownstream, rowOf } from './downstream.ts';
import { tellHeldSet } from './held-set.ts';
import { Outbox } from './outbox.ts';
import { RemoteQuery } from './remote-query.ts';
import { TokenCache, tokenType } from './token-cache.ts';
import { Upstream } from './upstream.ts';
import { SeenVersions } from './versions.ts';

export interface MetaManagerOptions {
  readonly remoteQueryTimeoutMs: number;
  /** The modules that this daemon runs; what is for another one is only stored. */
  readonly modules: readonly string[];
}

export interface MetaManagerComponents {
  readonly bus: Bus;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

export const metaManagerInbox: InboxOptions = { capacity: inboxLimits.metaManager, lanesMax: 64 };

/** Questions that may be open at once; more are refused, and asked again by who needs the answer. */
const openCallsMax = 512;

export function createMetaManager(options: MetaManagerOptions, components: MetaManagerComponents): Module {
  const log = components.log.child({ module: source.metaManager });
  const messages = components.metrics.counter(
    'hawser_metamanager_messages_total',
    'Messages handled, by what became of them',
    ['outcome'],
  );
  return {
    name: source.metaManager,
    async run(signal, ready) {
      const work = new Work(options, { ...components, log }, (outcome) => messages.inc({ outcome }), signal);
      ready();
      await components.bus.serve(source.metaManager, (envelope) => work.handle(envelope), signal);
      await work.ended();
    },
  };
}

type Outcome = 'stored' | 'ignored' | 'malformed' | 'not-stored' | 'not-forwarded' | 'asked' | 'refused';

/** One run of the module. */
class Work {
  readonly #options: MetaManagerOptions;
  readonly #components: MetaManagerComponents;
  readonly #count: (outcome: Outcome) => void;
  readonly #signal: AbortSignal;
  readonly #meta: MetaStore;
  readonly #seen = new SeenVersions();
  readonly #cloud: CloudCalls;
  readonly #upstream: Upstream;
  readonly #outbox: Outbox;
  readonly #open = new Set<Promise<void>>();
  #connected = new AbortController();

  constructor(
    options: MetaManagerOptions,
    components: MetaManagerComponents,
    count: (outcome: Outcome) => void,
    signal: AbortSignal,
  ) {
    const { bus, store, clock, random, log } = components;
    this.#options = options;
    this.#components = components;
    this.#count = count;
    this.#signal = signal;
    const meta = new MetaStore(store, { log });
    const seen = this.#seen;
    const cloud = new CloudCalls(bus, options.remoteQueryTimeoutMs, signal);
    const toCloud = (envelope: Envelope) => this.#toCloud(envelope);
    const queries = new RemoteQuery({ meta, seen, cloud, toCloud });
    const tokens = new TokenCache({ meta, cloud, clock });
    this.#meta = meta;
    this.#cloud = cloud;
    this.#outbox = new Outbox({ store: new OutboxStore(store, { log }), bus, clock, random, log });
    this.#upstream = new Upstream({ meta, seen, cloud, queries, tokens, outbox: this.#outbox, log });
  }

  async handle(envelope: Envelope): Promise<void> {
    const { route } = envelope;
    if (route.source === source.edgeHub && route.operation === operation.connect) return this.#news(envelope);
    if (route.group === group.meta) return this.#request(envelope);
    if (route.source === source.bus && route.operation === operation.upload) return this.#upload(envelope);
    if (route.group === group.resource || route.group === group.func) return this.#downstream(envelope);
    this.#count('ignored');
  }

  /** Resolves when no question is open any more. */
  async ended(): Promise<void> {
    this.#connected.abort();
    await Promise.all(this.#open);
  }

  #news(envelope: Envelope): void {
    this.#connected.abort();
    this.#cloud.linkLost();
    if (envelope.content !== connection.connected) return;
    this.#seen.forget();
    this.#connected = new AbortController();
    const signal = AbortSignal.any([this.#connected.signal, this.#signal]);
    const isOurs = envelope.header.hawserSession === true;
    this.#beside(this.#outbox.run(isOurs ? 'hawser' : 'kubeedge', signal));
    if (!isOurs) return;
    const { store, clock, random, log } = this.#components;
    const session = new SessionStore(store);
    const rules = () => store.read((sql) => ({ topics: loadTopics(sql), urls: loadUrls(sql) }));
    const components = { meta: this.#meta, rules, session, cloud: this.#cloud, clock, random, log };
    this.#beside(tellHeldSet(components, signal));
  }

  #request(request: Envelope): void {
    const { bus } = this.#components;
    if (this.#open.size >= openCallsMax) {
      this.#count('refused');
      bus.answer(replyError(request, 'too many questions to the cloud are open; ask again later'));
      return;
    }
    this.#count('asked');
    this.#beside(this.#answer(request));
  }

  async #answer(request: Envelope): Promise<void> {
    const { bus } = this.#components;
    try {
      bus.answer(await this.#upstream.answer(request));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      bus.answer(replyError(request, error.message, { source: source.metaManager }));
    }
  }

  /** In the lane: uploads are kept in the order in which they came. */
  async #upload(request: Envelope): Promise<void> {
    const { bus } = this.#components;
    try {
      bus.answer(await this.#upstream.upload(request));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      bus.answer(replyError(request, error.message, { source: source.metaManager }));
    }
  }

  async #downstream(envelope: Envelope): Promise<void> {
    const { log } = this.#components;
    const about = { msgId: envelope.header.msg_id, resource: envelope.route.resource };
    try {
      const incoming = openIncoming(envelope);
      if (incoming === undefined) {
        this.#count('ignored');
        log.debug(about, 'not an object, dropped');
        return;
      }
      const plan = await this.#keep(incoming);
      if (plan.ignored !== undefined) log.debug({ ...about, reason: plan.ignored }, 'changes nothing here');
      if (plan.forward && !this.#forward(incoming.type, envelope)) {
        this.#count('not-forwarded');
        return;
      }
      this.#count(plan.forward ? 'stored' : 'ignored');
      this.#toCloud(acknowledge(envelope));
    } catch (error) {
      if (!(error instanceof StoreError) && !(error instanceof ProtocolError)) throw error;
      this.#count(error instanceof StoreError ? 'not-stored' : 'malformed');
      log.warn({ ...about, reason: describeError(error) }, 'could not take an object');
      this.#toCloud(replyError(envelope, error.message, { source: source.metaManager }));
    }
  }

  /** Decides inside the transaction, so that nothing can come between the look and the change. */
  #keep(incoming: Incoming): Promise<Plan> {
    const { uid, resourceVersion } = incoming.object.metadata;
    return this.#meta.write((rows) => {
      const stale = this.#seen.isStale(incoming.key, uid, resourceVersion);
      const plan = planDownstream(incoming, rows.get(incoming.key), stale);
      if (plan.rows === 'delete') {
        rows.delete(incoming.key);
        if (incoming.type === 'pod' && uid !== undefined) rows.deleteByUid(tokenType, uid);
      }
      if (plan.rows === 'put') rows.put(rowOf(incoming));
      if (plan.forward) this.#seen.note(incoming.key, uid, incoming.deletes ? undefined : resourceVersion);
      return plan;
    });
  }

  /** False when the module cannot take it now. */
  #forward(type: string, envelope: Envelope): boolean {
    const to = consumerOf(type);
    if (to === undefined || !this.#options.modules.includes(to)) return true;
    if (to === source.edged) return this.#components.bus.send(to, envelope) === 'accepted';
    const { operation: verb, resource } = envelope.route;
    const route = { source: source.meta, group: group.twin, operation: verb, resource };
    return this.#components.bus.send(to, newEnvelope(route, envelope.content)) === 'accepted';
  }

  /** Acknowledgements: what does not get through is asked for again by who waits for it. */
  #toCloud(envelope: Envelope): void {
    this.#components.bus.send(source.edgeHub, envelope);
  }

  #beside(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => {
        if (error instanceof CancelledError) return;
        this.#components.log.error({ err: error }, 'a question to the cloud failed');
      })
      .finally(() => this.#open.delete(tracked));
    this.#open.add(tracked);
  }
}
