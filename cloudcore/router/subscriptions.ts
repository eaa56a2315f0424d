/**
 * Keeps every connected edge listening to the topics, and allowing the URLs, that rules ask of it, level-triggered: sent
 * again at each connect, taken back also when the rule went while the edge was away. An edge of ours says at the
 * connect what it holds. A KubeEdge edge cannot: what it was told stands on its Node, in an annotation that is written
 * before the message leaves and shortened after a session has outlived it.
 */

import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import { isNotFound, type KubeApi } from '#cloudcore/kube/kube-api.ts';
import type { Sender } from '#cloudcore/kube/sender.ts';
import type { WorkQueue } from '#cloudcore/kube/work-queue.ts';
import { ruleLimits } from '#protocol/limits.ts';
import { newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import type { SessionKind } from '#protocol/session.ts';
import type { RuleSet } from './rule-set.ts';

export const askedAnnotation = 'hawser.dev/rules';

/** What rules ask of one edge. */
export interface Asked {
  readonly topics: ReadonlySet<string>;
  readonly urls: ReadonlySet<string>;
}

export interface SubscriptionsComponents {
  readonly api: KubeApi;
  readonly node: (name: string) => KubeObject | undefined;
  readonly rules: { readonly set: RuleSet; readonly synced: boolean };
  readonly sender: Sender;
  readonly queue: WorkQueue;
  readonly clock: Clock;
}

interface Session {
  readonly kind: SessionKind;
  readonly over: AbortController;
  /** What the edge was told over this session, or said that it holds; undefined until it has said. */
  told: { topics: Set<string>; urls: Set<string> } | undefined;
  /** KubeEdge: what was taken back over this session, and may leave the annotation once the session outlives it. */
  takenBack: boolean;
}

/** Within so long a link that is dead is found out, at both ends. */
const outlivedAfterMs = 60_000;

export class Subscriptions {
  readonly #components: SubscriptionsComponents;
  readonly #sessions = new Map<string, Session>();

  constructor(components: SubscriptionsComponents) {
    this.#components = components;
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#components.queue.run((node) => this.#sync(node, signal), signal);
  }

  connected(node: string, kind: SessionKind): void {
    this.disconnected(node);
    const told = kind === 'kubeedge' ? { topics: new Set<string>(), urls: new Set<string>() } : undefined;
    this.#sessions.set(node, { kind, over: new AbortController(), told, takenBack: false });
    this.#components.queue.add(node);
  }

  disconnected(node: string): void {
    this.#sessions.get(node)?.over.abort();
    this.#sessions.delete(node);
    this.#components.queue.forget(node);
  }

  /** What an edge of ours holds; of another cluster's rules nothing is taken back. */
  holds(node: string, held: Asked, isForeign: boolean): void {
    const session = this.#sessions.get(node);
    if (session === undefined) return;
    const wanted = this.#wanted(node);
    const only = (all: ReadonlySet<string>, some: ReadonlySet<string>) =>
      new Set([...all].filter((one) => !isForeign || some.has(one)));
    session.told = { topics: only(held.topics, wanted.topics), urls: only(held.urls, wanted.urls) };
    this.#components.queue.add(node);
  }

  /** Rules have changed. */
  changed(): void {
    for (const node of this.#sessions.keys()) this.#components.queue.add(node);
  }

  #wanted(node: string): Asked {
    const { set } = this.#components.rules;
    return {
      topics: new Set(set.uploads.get(node)?.map(({ filter }) => filter)),
      urls: new Set(set.asks.get(node)?.map(({ asked }) => asked)),
    };
  }

  async #sync(node: string, signal: AbortSignal): Promise<void> {
    const session = this.#sessions.get(node);
    // From rules that are not known yet everything would look taken back.
    if (session?.told === undefined || !this.#components.rules.synced) return;
    const { told } = session;
    const wanted = this.#wanted(node);
    const before = session.kind === 'kubeedge' ? await this.#noted(node, wanted, signal) : told;
    if (this.#sessions.get(node) !== session) return;
    for (const topic of wanted.topics) if (!told.topics.has(topic)) await this.#say(node, 'subscribe', topic);
    for (const url of wanted.urls) if (!told.urls.has(url)) await this.#say(node, 'start', url);
    const goneTopics = [...before.topics].filter((one) => !wanted.topics.has(one));
    const goneUrls = [...before.urls].filter((one) => !wanted.urls.has(one));
    for (const topic of goneTopics) await this.#say(node, 'unsubscribe', topic);
    for (const url of goneUrls) await this.#say(node, 'stop', url);
    session.told = { topics: new Set(wanted.topics), urls: new Set(wanted.urls) };
    if (session.kind === 'kubeedge' && goneTopics.length + goneUrls.length > 0) this.#shorten(node, session);
  }

  /** Writes on the Node what the edge will have been told, and resolves with what it was told before. */
  async #noted(node: string, wanted: Asked, signal: AbortSignal): Promise<Asked> {
    const noted = readAsked(this.#components.node(node));
    const all = {
      topics: new Set([...noted.topics, ...wanted.topics]),
      urls: new Set([...noted.urls, ...wanted.urls]),
    };
    if (all.topics.size > noted.topics.size || all.urls.size > noted.urls.size)
      await this.#note(node, all, signal);
    return noted;
  }

  /** Once the session has outlived what was taken back, the edge has heard of it. */
  #shorten(node: string, session: Session): void {
    if (session.takenBack) return;
    session.takenBack = true;
    const { signal } = session.over;
    const shorten = async () => {
      await this.#components.clock.sleep(outlivedAfterMs, signal);
      session.takenBack = false;
      await this.#note(node, this.#wanted(node), signal);
    };
    // What is not shortened now is taken back again at the next connect.
    shorten().catch(() => {});
  }

  async #note(node: string, asked: Asked, signal: AbortSignal): Promise<void> {
    const isEmpty = asked.topics.size + asked.urls.size === 0;
    const text = JSON.stringify({ topics: [...asked.topics], urls: [...asked.urls] });
    const patch = { metadata: { annotations: { [askedAnnotation]: isEmpty ? null : text } } };
    try {
      await this.#components.api.patch({ apiVersion: 'v1', plural: 'nodes', name: node }, 'merge', patch, {
        signal,
      });
    } catch (error) {
      // It has not registered yet, and what cannot be noted is no reason to ask nothing of it.
      if (!isNotFound(error)) throw error;
    }
  }

  async #say(
    node: string,
    verb: 'subscribe' | 'unsubscribe' | 'start' | 'stop',
    what: string,
  ): Promise<void> {
    const isMqtt = verb === operation.subscribe || verb === operation.unsubscribe;
    const route = {
      source: isMqtt ? source.routerEventBus : source.routerServiceBus,
      group: group.user,
      operation: verb,
      resource: `node/${node}/${what}`,
    };
    await this.#components.sender.send(
      newEnvelope(route, null, { timestampMs: this.#components.clock.now() }),
    );
  }
}

const askedSchema = z.object({
  topics: z.array(z.string()).max(2 * ruleLimits.topicsMax),
  urls: z.array(z.string()).max(2 * ruleLimits.urlsMax),
});

/** What others wrote there in another form is as good as nothing. */
function readAsked(node: KubeObject | undefined): Asked {
  const text = node?.metadata.annotations?.[askedAnnotation];
  let parsed: z.infer<typeof askedSchema> | undefined;
  try {
    parsed = askedSchema.safeParse(JSON.parse(text ?? 'null')).data;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { topics: new Set(parsed?.topics), urls: new Set(parsed?.urls) };
}
