/**
 * Keeps a cache of one resource equal to the API: list, then watch; relist when the version is too old; back
 * off with jitter when the API fails. Handlers hear of changes level-triggered: a relist yields only what really
 * differs, and versions may be skipped. Lists are consistent reads (no resourceVersion), so that what a
 * synced cache lacks does not exist; a failing API leaves the cache as it was.
 */

import { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import { CancelledError, describeError } from '#protocol/errors.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { isGone, type KubeApi, type ResourceRef, type SelectorOptions } from './kube-api.ts';

export interface InformerOptions
  extends Pick<SelectorOptions, 'labelSelector' | 'fieldSelector' | 'metadataOnly'> {
  readonly ref: ResourceRef;
  /** Cuts what nobody reads before it is kept. */
  readonly trim?: (object: KubeObject) => KubeObject;
}

export interface InformerComponents {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Runs before each list and watch; while it fails, the cache stays as it is. */
  readonly checkSource?: () => Promise<void>;
}

export interface Delta {
  readonly type: 'added' | 'updated' | 'deleted';
  /** For `deleted`: as it was last seen. */
  readonly object: KubeObject;
  readonly before: KubeObject | undefined;
}

const pageSize = 500;
const watchSeconds = 300;

export class Informer {
  readonly #options: InformerOptions;
  readonly #components: InformerComponents;
  readonly #backoff: Backoff;
  readonly #cache = new Map<string, KubeObject>();
  readonly #handlers = new Set<(delta: Delta) => void>();
  #synced: boolean = false;
  #syncWaiters: (() => void)[] = [];
  #version: string | undefined;

  constructor(options: InformerOptions, components: InformerComponents) {
    this.#options = options;
    this.#components = components;
    this.#backoff = new Backoff({ firstMs: 500, maxMs: 30_000, jitter: 0.5 }, components.random);
  }

  /** True once the first list is in the cache. */
  get synced(): boolean {
    return this.#synced;
  }

  get size(): number {
    return this.#cache.size;
  }

  get(namespace: string | undefined, name: string): KubeObject | undefined {
    return this.#cache.get(keyOf(namespace, name));
  }

  list(): IterableIterator<KubeObject> {
    return this.#cache.values();
  }

  /** Handlers run at once, one after another, with the cache already changed; they must not throw. */
  onDelta(handler: (delta: Delta) => void): void {
    this.#handlers.add(handler);
  }

  whenSynced(): Promise<void> {
    if (this.#synced) return Promise.resolve();
    return new Promise((resolve) => this.#syncWaiters.push(resolve));
  }

  /** Resolves when the signal is aborted. */
  async run(daemonSignal: AbortSignal): Promise<void> {
    // A signal of its own: each listens several times, and Node warns of many listeners on one.
    const signal = AbortSignal.any([daemonSignal]);
    while (!signal.aborted) {
      try {
        await this.#components.checkSource?.();
        if (this.#version === undefined) await this.#relist(signal);
        await this.#follow(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (isGone(error)) {
          this.#version = undefined;
          continue;
        }
        await this.#pause(error, signal);
      }
    }
  }

  async #relist(signal: AbortSignal): Promise<void> {
    const { api } = this.#components;
    const { ref, trim: _, ...selectors } = this.#options;
    const present = new Map<string, KubeObject>();
    let continueToken: string | undefined;
    let version: string;
    do {
      const page = await api.list(ref, { ...selectors, limit: pageSize, continueToken, signal });
      for (const object of page.items) present.set(keyOfObject(object), object);
      continueToken = page.continueToken;
      version = page.resourceVersion;
    } while (continueToken !== undefined);
    for (const [key, object] of [...this.#cache]) if (!present.has(key)) this.#remove(object);
    for (const object of present.values()) this.#put(object);
    this.#version = version;
    this.#backoff.reset();
    this.#synced = true;
    for (const wake of this.#syncWaiters.splice(0)) wake();
  }

  /** Watches until the server ends it. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { api, clock } = this.#components;
    const { ref, trim: _, ...selectors } = this.#options;
    const startedMs = clock.monotonicMs();
    const timeoutSeconds = watchSeconds;
    const options = { ...selectors, resourceVersion: this.#version, timeoutSeconds, signal };
    for await (const { type, object } of api.watch(ref, options)) {
      if (type === 'DELETED') this.#remove(object);
      else if (type !== 'BOOKMARK') this.#put(object);
      this.#version = object.metadata.resourceVersion ?? this.#version;
      this.#backoff.reset();
    }
    if (signal.aborted) throw new CancelledError();
    // A server that ends watches at once must not be asked in a busy loop.
    if (clock.monotonicMs() - startedMs < 1000) await clock.sleep(this.#backoff.nextMs(), signal);
  }

  async #pause(error: unknown, signal: AbortSignal): Promise<void> {
    const { log, clock } = this.#components;
    const pauseMs = this.#backoff.nextMs();
    // Said at the first failure and then rarely: a fleet of caches must not fill the log of an API outage.
    const say = this.#backoff.tries === 1 || this.#backoff.tries % 10 === 0 ? log.warn : log.debug;
    say.call(
      log,
      { resource: this.#options.ref.plural, reason: describeError(error), againInMs: Math.round(pauseMs) },
      'cannot follow a resource of the Kubernetes API',
    );
    await clock.sleep(pauseMs, signal).catch(() => {});
  }

  #put(incoming: KubeObject): void {
    const object = this.#options.trim?.(incoming) ?? incoming;
    const key = keyOfObject(object);
    const before = this.#cache.get(key);
    if (before !== undefined && before.metadata.uid !== object.metadata.uid) {
      this.#remove(before);
      this.#put(incoming);
      return;
    }
    if (before !== undefined && before.metadata.resourceVersion === object.metadata.resourceVersion) return;
    this.#cache.set(key, object);
    this.#tell({ type: before === undefined ? 'added' : 'updated', object, before });
  }

  #remove(gone: KubeObject): void {
    const key = keyOfObject(gone);
    const before = this.#cache.get(key);
    if (before === undefined) return;
    this.#cache.delete(key);
    this.#tell({ type: 'deleted', object: before, before });
  }

  #tell(delta: Delta): void {
    for (const handler of this.#handlers) handler(delta);
  }
}

function keyOf(namespace: string | undefined, name: string): string {
  return `${namespace ?? ''}/${name}`;
}

function keyOfObject({ metadata }: KubeObject): string {
  return keyOf(metadata.namespace, metadata.name);
}
