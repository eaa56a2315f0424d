/** Reads: one object, lists with selectors and pages, and watches out of the log. */

import { z } from 'zod';
import type { KubeObject } from '../kube-object.ts';
import { limits } from '../limits.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { parseFieldSelector } from '../selectors/field-selector.ts';
import { parseLabelSelector } from '../selectors/label-selector.ts';
import { badRequest, notFound, StatusError } from '../status-error.ts';
import { type Change, CompactedError, type Entry, type LogStore } from '../store/log-store.ts';
import { toVersion } from './versions.ts';

export interface Selection {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface ListRequest extends Selection {
  readonly limit?: number | undefined;
  readonly continueToken?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly resourceVersionMatch?: string | undefined;
}

export interface ObjectPage {
  readonly items: readonly KubeObject[];
  readonly revision: number;
  readonly continueToken?: string;
  readonly remaining?: number;
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: KubeObject;
  readonly revision: number;
}

const tokenSchema = z.object({ rv: z.int(), ns: z.string(), name: z.string() });

export class Reader {
  readonly #store: LogStore;

  constructor(store: LogStore) {
    this.#store = store;
  }

  get revision(): number {
    return this.#store.revision;
  }

  /** Resolves when no change is in memory that is not yet durable. */
  settled(): Promise<void> {
    return this.#store.settled();
  }

  /** @throws StatusError 404 */
  get(definition: ResourceDefinition, namespace: string, name: string): KubeObject {
    const found = this.find(definition, namespace, name);
    if (found === undefined) throw notFound(definition, name);
    return found;
  }

  find(definition: ResourceDefinition, namespace: string, name: string): KubeObject | undefined {
    const entry = this.#store.get(definition.storage, namespace, name);
    return entry === undefined ? undefined : toVersion(definition, entry.object);
  }

  /** All present objects that match, in no particular order: for those inside the process. */
  all(definition: ResourceDefinition, selection: Selection): readonly KubeObject[] {
    const matches = matcherOf(definition, selection);
    return this.#candidates(definition, selection)
      .filter(matches)
      .map((entry) => toVersion(definition, entry.object));
  }

  list(definition: ResourceDefinition, request: ListRequest): ObjectPage {
    const { limit = 0, continueToken } = request;
    const matches = matcherOf(definition, request);
    const asked = exactRevision(request, this.#store.revision);
    if (continueToken !== undefined && continueToken !== '') {
      return this.#next(definition, request, parseToken(continueToken), matches);
    }
    if (asked !== undefined && asked < this.#store.revision) {
      return this.#next(definition, request, { rv: asked, ns: '', name: '' }, matches);
    }
    const revision = this.#store.revision;
    const found = this.#candidates(definition, request).filter(matches).sort(byKey);
    const page = limit > 0 ? found.slice(0, Math.min(limit, limits.listItems)) : found;
    return {
      items: page.map((entry) => toVersion(definition, entry.object)),
      revision,
      ...rest(page, found.length - page.length, revision, isFiltered(request)),
    };
  }

  /** Changes after a revision, in batches; an empty batch tells that nothing came for `idleMs`. */
  async *watch(
    definition: ResourceDefinition,
    selection: Selection,
    fromRevision: number,
    options: { signal: AbortSignal; idle: (signal: AbortSignal) => Promise<void> },
  ): AsyncGenerator<{ readonly events: readonly WatchEvent[]; readonly revision: number }> {
    const matches = matcherOf(definition, selection);
    let cursor = fromRevision;
    let idle = false;
    let wake = () => {};
    const stop = this.#store.onChange(definition.storage, () => wake());
    const abort = () => wake();
    options.signal.addEventListener('abort', abort);
    try {
      while (!options.signal.aborted) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const reached = this.#store.revision;
        const changes = this.#changes(definition, cursor);
        cursor = changes.length > 0 ? (changes.at(-1)?.revision ?? cursor) : Math.max(cursor, reached);
        const events = changes.flatMap((change) => toEvent(definition, change, matches));
        // After a pause the cursor is first moved on past what other resources did meanwhile.
        if (events.length > 0 || (idle && changes.length === 0)) yield { events, revision: cursor };
        idle = changes.length === 0 && (await isIdle(changed, options.idle));
      }
    } finally {
      stop();
      options.signal.removeEventListener('abort', abort);
    }
  }

  #changes(definition: ResourceDefinition, cursor: number): readonly Change[] {
    try {
      return this.#store.changesAfter(definition.storage, cursor, limits.watchBatch);
    } catch (error) {
      throw error instanceof CompactedError ? expired(error) : error;
    }
  }

  #candidates(definition: ResourceDefinition, { namespace, fieldSelector }: Selection): Entry[] {
    const name = parseFieldSelector(fieldSelector, definition)?.name;
    if (name !== undefined && (namespace !== undefined || !definition.namespaced)) {
      const entry = this.#store.get(definition.storage, namespace ?? '', name);
      return entry === undefined ? [] : [entry];
    }
    return this.#store.entries(definition.storage, namespace);
  }

  /** A page at a revision of the past; what does not match is skipped, so pages may be short but never repeat. */
  #next(
    definition: ResourceDefinition,
    request: ListRequest,
    from: z.infer<typeof tokenSchema>,
    matches: (entry: Entry) => boolean,
  ): ObjectPage {
    const limit = request.limit !== undefined && request.limit > 0 ? request.limit : limits.listItems;
    try {
      const page = this.#store.entriesAt(definition.storage, from.rv, {
        namespace: request.namespace,
        after: { namespace: from.ns, name: from.name },
        limit: Math.min(limit, limits.listItems),
      });
      return {
        items: page.entries.filter(matches).map((entry) => toVersion(definition, entry.object)),
        revision: from.rv,
        ...rest(page.entries, page.more ? 1 : 0, from.rv, true),
      };
    } catch (error) {
      throw error instanceof CompactedError ? expired(error) : error;
    }
  }
}

function rest(page: readonly Entry[], left: number, revision: number, filtered: boolean) {
  const last = page.at(-1);
  if (left <= 0 || last === undefined) return {};
  const token = JSON.stringify({ rv: revision, ns: last.namespace, name: last.name });
  return {
    continueToken: Buffer.from(token).toString('base64url'),
    ...(filtered ? {} : { remaining: left }),
  };
}

/** Undefined: whatever is newest is what was asked for. */
function exactRevision(request: ListRequest, newest: number): number | undefined {
  const { resourceVersion = '', resourceVersionMatch } = request;
  if (resourceVersion === '' || resourceVersion === '0') return undefined;
  const revision = parseRevision(resourceVersion);
  if (revision > newest) throw tooLarge(revision, newest);
  return resourceVersionMatch === 'Exact' || (resourceVersionMatch === undefined && (request.limit ?? 0) > 0)
    ? revision
    : undefined;
}

export function parseRevision(text: string): number {
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(`Invalid value: "${text.slice(0, 40)}": resourceVersion is a number`);
  return Number(text);
}

function tooLarge(revision: number, newest: number): StatusError {
  const message = `Too large resource version: ${revision}, current: ${newest}`;
  return new StatusError('Timeout', message, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

export function expired(error: CompactedError): StatusError {
  return new StatusError('Expired', error.message, undefined, error);
}

function parseToken(text: string): z.infer<typeof tokenSchema> {
  try {
    return tokenSchema.parse(JSON.parse(Buffer.from(text, 'base64url').toString()));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError)
      throw badRequest('continue key is not valid', error);
    throw error;
  }
}

function isFiltered({ labelSelector, fieldSelector }: Selection): boolean {
  return (labelSelector ?? '') !== '' || (fieldSelector ?? '') !== '';
}

function matcherOf(definition: ResourceDefinition, selection: Selection): (entry: Entry) => boolean {
  const labels = parseLabelSelector(selection.labelSelector);
  const fields = parseFieldSelector(selection.fieldSelector, definition);
  const { namespace } = selection;
  return (entry) =>
    (namespace === undefined || entry.namespace === namespace) &&
    (labels === undefined || labels(entry.object.metadata.labels)) &&
    (fields === undefined || fields.matches(entry.object));
}

function toEvent(
  definition: ResourceDefinition,
  { deleted, entry, previous, revision }: Change,
  matches: (entry: Entry) => boolean,
): WatchEvent[] {
  const before = previous !== undefined && matches(previous);
  if (!deleted && matches(entry)) {
    return [{ type: before ? 'MODIFIED' : 'ADDED', object: toVersion(definition, entry.object), revision }];
  }
  if (!before || previous === undefined) return [];
  if (deleted) return [{ type: 'DELETED', object: toVersion(definition, entry.object), revision }];
  // It no longer matches: who watches sees it as it last did, at the revision of the change.
  const last = {
    ...previous.object,
    metadata: { ...previous.object.metadata, resourceVersion: String(revision) },
  };
  return [{ type: 'DELETED', object: toVersion(definition, last), revision }];
}

function byKey(a: Entry, b: Entry): number {
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/** Waits for a change; true when the idle time passed first. */
async function isIdle(
  changed: Promise<void>,
  idle: (signal: AbortSignal) => Promise<void>,
): Promise<boolean> {
  const given = new AbortController();
  const passed = idle(given.signal).then(
    () => true,
    () => false,
  );
  const result = await Promise.race([changed.then(() => false), passed]);
  given.abort();
  return result;
}
