/** Answers a watch: one JSON document a line, no faster than the client reads. */

import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Clock } from '#beehive/clock.ts';
import type { Random } from '#beehive/random.ts';
import type { JsonObject, KubeObject } from '../kube-object.ts';
import type { Rendering } from '../kubectl/accept.ts';
import { partialMetadata, readIncludeObject, renderTable } from '../kubectl/table.ts';
import { limits } from '../limits.ts';
import { apiVersionOf, type ResourceDefinition } from '../resource-definition.ts';
import { parseRevision, type Reader, type Selection } from '../service/reader.ts';
import { StatusError } from '../status-error.ts';
import { type Exchange, renderingOf } from './exchange.ts';
import { isTrue, type ResourceRequest } from './request-info.ts';
import { numberOf } from './write-options.ts';

export interface WatchComponents {
  readonly reader: Reader;
  readonly clock: Clock;
  readonly random: Random;
}

export class WatchStreams {
  readonly #reader: Reader;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #signal: AbortSignal;
  #open = 0;

  /** All streams end when the signal is aborted. */
  constructor({ reader, clock, random }: WatchComponents, signal: AbortSignal) {
    this.#reader = reader;
    this.#clock = clock;
    this.#random = random;
    this.#signal = signal;
  }

  async serve(
    exchange: Exchange<ResourceRequest>,
    definition: ResourceDefinition,
    selection: Selection,
  ): Promise<void> {
    if (this.#open >= limits.watches) {
      throw new StatusError('TooManyRequests', `${limits.watches} watches are open; try again later`, {
        retryAfterSeconds: 5,
      });
    }
    const rendering = renderingOf(exchange);
    const { query, response } = exchange;
    const render = rendererOf(definition, rendering, query, () => this.#clock.now());
    const ended = new AbortController();
    const end = () => ended.abort();
    response.once('close', end);
    this.#signal.addEventListener('abort', end, { once: true });
    this.#open += 1;
    try {
      this.#endInTime(query, ended);
      await this.#pump(exchange, definition, selection, render, ended.signal);
    } finally {
      this.#open -= 1;
      this.#signal.removeEventListener('abort', end);
      ended.abort();
      response.end();
    }
  }

  #endInTime(query: URLSearchParams, ended: AbortController): void {
    const asked = numberOf(query.get('timeoutSeconds'));
    const forMs =
      asked !== undefined && asked > 0 ? asked * 1000 : limits.watchMs * (1 + this.#random.next());
    this.#clock.sleep(forMs, ended.signal).then(
      () => ended.abort(),
      () => {},
    );
  }

  async #pump(
    { query, response }: Exchange,
    definition: ResourceDefinition,
    selection: Selection,
    render: (object: KubeObject) => JsonObject,
    signal: AbortSignal,
  ): Promise<void> {
    const asked = query.get('resourceVersion') ?? '';
    const fresh = asked === '' || asked === '0';
    const initial = query.get('sendInitialEvents') === null ? fresh : isTrue(query.get('sendInitialEvents'));
    const bookmarks = isTrue(query.get('allowWatchBookmarks') ?? 'false');
    const from = fresh || initial ? this.#reader.revision : parseRevision(asked);
    const present = initial ? this.#reader.all(definition, selection) : [];
    const batches = this.#reader.watch(definition, selection, from, {
      signal,
      idle: (given) => this.#clock.sleep(limits.bookmarkMs, given),
    });
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
    response.flushHeaders();
    try {
      if (from > this.#reader.revision) throw futureRevision(from, this.#reader.revision);
      for (const object of present) await send(response, { type: 'ADDED', object: render(object) }, signal);
      if (initial && query.get('sendInitialEvents') !== null && bookmarks) {
        await send(response, bookmark(definition, from, render, true), signal);
      }
      for await (const { events, revision } of batches) {
        for (const { type, object } of events) await send(response, { type, object: render(object) }, signal);
        if (events.length === 0 && bookmarks)
          await send(response, bookmark(definition, revision, render, false), signal);
      }
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      await send(response, { type: 'ERROR', object: error.toStatus() }, signal);
    }
  }
}

function futureRevision(asked: number, newest: number): StatusError {
  return new StatusError(
    'Expired',
    `resource version ${asked} was never given out, the newest is ${newest}; list again`,
  );
}

function rendererOf(
  definition: ResourceDefinition,
  rendering: Rendering,
  query: URLSearchParams,
  now: () => number,
): (object: KubeObject) => JsonObject {
  switch (rendering.kind) {
    case 'object':
      return (object) => object;
    case 'metadata':
      return (object) => partialMetadata(object, rendering.version);
    case 'table': {
      const includeObject = readIncludeObject(query.get('includeObject'));
      return (object) =>
        renderTable(definition, [object], { includeObject, version: rendering.version, nowMs: now() });
    }
  }
}

function bookmark(
  definition: ResourceDefinition,
  revision: number,
  render: (object: KubeObject) => JsonObject,
  initialEnd: boolean,
): JsonObject {
  const object = {
    apiVersion: apiVersionOf(definition),
    kind: definition.kind,
    metadata: {
      name: '',
      resourceVersion: String(revision),
      ...(initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
    },
  };
  return { type: 'BOOKMARK', object: render(object) };
}

async function send(response: ServerResponse, event: JsonObject, signal: AbortSignal): Promise<void> {
  if (signal.aborted || response.destroyed) return;
  if (response.write(`${JSON.stringify(event)}\n`)) return;
  try {
    await once(response, 'drain', { signal });
  } catch (error) {
    // The only way out of this wait other than a drain: the watch ended.
    if (!signal.aborted) throw error;
  }
}
