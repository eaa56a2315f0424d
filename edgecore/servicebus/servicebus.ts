/**
 * ServiceBus: HTTP between rules of the cloud and apps on this machine. Calls of rules go to apps on loopback and
 * their answers up; what apps ask goes to the cloud, as long as a rule allows the URL. Nothing is repeated: whether
 * an app or a target has acted on a call that failed on the way, only who made it can know.
 */

import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Bus, InboxOptions } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { BusError } from '#beehive/errors.ts';
import { keepListening } from '#beehive/http-listener.ts';
import type { Log } from '#beehive/log.ts';
import type { Metrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import { CancelledError, HawserError } from '#protocol/errors.ts';
import { httpListenerLimits, inboxLimits, ruleLimits } from '#protocol/limits.ts';
import { type Envelope, newEnvelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import { statusHeader } from '#protocol/session.ts';
import type { Store } from '../store/database.ts';
import { deleteUrl, loadUrls, saveUrl } from '../store/topic-store.ts';
import { callApp } from './app-call.ts';
import { type AppReply, createAppHandler, said } from './app-server.ts';
import type { ServiceBusConfig } from './config.ts';

export interface ServiceBusOptions extends Omit<ServiceBusConfig, 'enable'> {
  readonly limits?: typeof httpListenerLimits;
}

export interface ServiceBusComponents {
  readonly bus: Bus;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Told the port for apps when it is open. */
  readonly listening?: (port: number) => void;
}

/** The token that apps must send cannot be read: nobody is served before it can. */
export class TokenFileError extends HawserError<{ readonly code: 'no-token'; readonly file: string }> {}

/** Calls side by side; what rules allow, one after the other. */
export const serviceBusInbox: InboxOptions = {
  capacity: inboxLimits.serviceBus,
  lanesMax: inboxLimits.serviceBus,
  keyOf: ({ route, header }) => (isAllowance(route.operation) ? 'urls' : header.msg_id),
};

export function createServiceBus(options: ServiceBusOptions, components: ServiceBusComponents): Module {
  const log = components.log.child({ module: source.serviceBus });
  const calls = components.metrics.counter(
    'hawser_servicebus_calls_total',
    'Calls, by direction and status',
    ['direction', 'status'],
  );
  const count: Count = (direction, status) => calls.inc({ direction, status });
  return {
    name: source.serviceBus,
    async run(signal, ready) {
      const token = options.tokenFile === '' ? undefined : await readToken(options.tokenFile);
      const own = AbortSignal.any([signal]);
      // Each call that is open listens to it, and Node would warn of so many listeners.
      setMaxListeners(0, own);
      const work = new Work(options, { ...components, log }, count, token, own);
      ready();
      await components.bus.serve(source.serviceBus, (envelope) => work.handle(envelope), own);
      await work.ended();
    },
  };
}

type Count = (direction: 'to-app' | 'from-app', status: number) => void;

/** One run of the module. */
class Work {
  readonly #options: ServiceBusOptions;
  readonly #components: ServiceBusComponents;
  readonly #count: Count;
  readonly #token: string | undefined;
  readonly #signal: AbortSignal;
  readonly #urls: Set<string>;
  /** What is open for apps; undefined while no URL is allowed. */
  #server: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;

  constructor(
    options: ServiceBusOptions,
    components: ServiceBusComponents,
    count: Count,
    token: string | undefined,
    signal: AbortSignal,
  ) {
    this.#options = options;
    this.#components = components;
    this.#count = count;
    this.#token = token;
    this.#signal = signal;
    this.#urls = new Set(components.store.read(loadUrls));
    this.#openOrClose();
  }

  async handle(envelope: Envelope): Promise<void> {
    const { route } = envelope;
    if (route.source !== source.routerServiceBus) return;
    if (route.operation === operation.start) return this.#allow(route.resource);
    if (route.operation === operation.stop) return this.#forbid(route.resource);
    const answer = await callApp(envelope, this.#components.clock, this.#signal);
    this.#count('to-app', answer.status_code);
    const own = { source: source.serviceBus, group: group.user, operation: operation.upload, resource: '' };
    await this.#toCloud(newEnvelope(own, answer, { parentId: envelope.header.msg_id }));
  }

  async ended(): Promise<void> {
    this.#server?.stop.abort();
    await this.#server?.done;
  }

  async #allow(url: string): Promise<void> {
    const { log, store } = this.#components;
    const isFull = this.#urls.size >= ruleLimits.urlsMax && !this.#urls.has(url);
    if (url === '' || url.length > ruleLimits.resourceCharsMax || isFull) {
      log.warn(
        { url: url.slice(0, 200), urls: this.#urls.size },
        'not allowed for a rule: too many, or too long',
      );
      return;
    }
    await store.write((sql) => saveUrl(sql, url));
    this.#urls.add(url);
    this.#openOrClose();
  }

  /** KubeEdge's cloud names what it takes back with one slash where it had named two. */
  async #forbid(url: string): Promise<void> {
    const meant = [...this.#urls].filter((one) => one === url || one.replaceAll(/\/{2,}/g, '/') === url);
    for (const one of meant) {
      await this.#components.store.write((sql) => deleteUrl(sql, one));
      this.#urls.delete(one);
    }
    this.#openOrClose();
  }

  #openOrClose(): void {
    if (this.#urls.size === 0) {
      this.#server?.stop.abort();
      this.#server = undefined;
      return;
    }
    if (this.#server !== undefined) return;
    const { server: host, port, limits = httpListenerLimits } = this.#options;
    const { clock, log, listening } = this.#components;
    const stop = new AbortController();
    const handler = createAppHandler({
      isAllowed: (url) => this.#urls.has(url),
      token: this.#token,
      ask: (url, text) => this.#ask(url, text),
    });
    const complaint = 'apps cannot ask the cloud: cannot listen; set modules.serviceBus.port to a free port';
    const done = keepListening(
      { host, port, limits, complaint },
      handler,
      { clock, log },
      AbortSignal.any([stop.signal, this.#signal]),
      { opened: listening },
    );
    this.#server = { stop, done };
  }

  async #ask(url: string, text: string): Promise<AppReply> {
    const reply = await this.#answerOf(url, text);
    this.#count('from-app', reply.code);
    return reply;
  }

  async #answerOf(url: string, text: string): Promise<AppReply> {
    const { bus, clock } = this.#components;
    const route = {
      source: source.serviceBus,
      group: group.user,
      operation: operation.upload,
      resource: url,
    };
    const content = Buffer.from(text).toString('base64');
    const envelope = newEnvelope(route, content, { timestampMs: clock.now() });
    const timeoutMs = this.#options.timeout * 1000;
    try {
      const answer = await bus.request(source.edgeHub, envelope, { timeoutMs, signal: this.#signal });
      return replyOf(answer);
    } catch (error) {
      if (error instanceof CancelledError) return said(503, 'this edge is stopping');
      if (!(error instanceof BusError)) throw error;
      if (error.code !== 'timeout') return said(503, error.message);
      return said(504, `the cloud did not answer within ${this.#options.timeout} s; it may have acted on it`);
    }
  }

  async #toCloud(envelope: Envelope): Promise<void> {
    const { bus } = this.#components;
    while (!this.#signal.aborted && bus.send(source.edgeHub, envelope) === 'full')
      await bus.drained(source.edgeHub);
  }
}

/** EdgeHub's own word is that nothing was sent. */
function replyOf({ route, header, content }: Envelope): AppReply {
  const text = typeof content === 'string' ? content : JSON.stringify(content ?? '');
  if (route.group === group.link) return said(503, text);
  const status = header[statusHeader];
  if (route.operation === operation.error) return said(typeof status === 'number' ? status : 502, text);
  if (typeof status === 'number') return said(status, status < 400 ? 'ok' : 'the target refused it', text);
  return said(200, 'ok', text);
}

function isAllowance(verb: string): boolean {
  return verb === operation.start || verb === operation.stop;
}

/** @throws TokenFileError */
async function readToken(file: string): Promise<string> {
  let token: string;
  try {
    token = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw noToken(file, 'cannot be read', error);
  }
  if (token === '') throw noToken(file, 'is empty');
  return token;
}

function noToken(file: string, what: string, cause?: unknown): TokenFileError {
  const text = `modules.serviceBus.tokenFile ${file} ${what}: put the token there that apps shall send`;
  return new TokenFileError(text, { code: 'no-token', file }, { retry: 'backoff', cause });
}
