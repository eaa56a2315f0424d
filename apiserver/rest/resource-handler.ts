/** Answers requests for resources: reads, writes, and which subresource goes where. */

import type { Clock } from '#beehive/clock.ts';
import { isJsonObject, type JsonObject, type JsonValue, type KubeObject } from '../kube-object.ts';
import { partialMetadata, partialMetadataList, readIncludeObject, renderTable } from '../kubectl/table.ts';
import { applyConfiguration } from '../patch/server-side-apply.ts';
import { apiVersionOf, hasSubresource, type ResourceDefinition } from '../resource-definition.ts';
import { decodeObject } from '../service/decode-object.ts';
import { type ListRequest, parseRevision, type Reader } from '../service/reader.ts';
import { fieldWriter, type WriteContext } from '../service/write-context.ts';
import type { Writer } from '../service/writer.ts';
import { badRequest, isNotFound, StatusError } from '../status-error.ts';
import { strategyOf } from '../strategies/strategies.ts';
import { type Body, parseBody, readBody } from './body.ts';
import { answer, type Exchange, renderingOf, warn } from './exchange.ts';
import { readPatch } from './patch-body.ts';
import type { ResourceRequest } from './request-info.ts';
import { toScale, withScale } from './scale.ts';
import type { Subresources } from './subresources.ts';
import type { WatchStreams } from './watch-stream.ts';
import { deleteRequest, fieldValidationOf, numberOf, writeContext } from './write-options.ts';

type ResourceExchange = Exchange<ResourceRequest>;

export interface ResourceHandlerComponents {
  readonly reader: Reader;
  readonly writer: Writer;
  readonly watches: WatchStreams;
  readonly subresources: Subresources;
  readonly clock: Clock;
}

export class ResourceHandler {
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #watches: WatchStreams;
  readonly #subresources: Subresources;
  readonly #clock: Clock;

  constructor({ reader, writer, watches, subresources, clock }: ResourceHandlerComponents) {
    this.#reader = reader;
    this.#writer = writer;
    this.#watches = watches;
    this.#subresources = subresources;
    this.#clock = clock;
  }

  async handle(exchange: ResourceExchange, definition: ResourceDefinition): Promise<void> {
    const { verb, name, subresource, namespace } = exchange.info;
    if (namespace !== undefined && !definition.namespaced) throw noSuchPath();
    if (definition.deprecation !== undefined) warn(exchange, definition.deprecation);
    if (subresource !== undefined && name !== undefined)
      return this.#handleSubresource(exchange, definition, name, subresource);
    if (!(definition.verbs as readonly string[]).includes(verb)) throw notAllowed(exchange);
    switch (verb) {
      case 'list':
        return this.#list(exchange, definition);
      case 'watch':
        await this.#reader.settled();
        return this.#watches.serve(exchange, definition, selectionOf(exchange));
      case 'create':
        return this.#create(exchange, definition);
      case 'deletecollection':
        return this.#deleteCollection(exchange, definition);
    }
    if (name === undefined) throw notAllowed(exchange);
    switch (verb) {
      case 'get':
        return this.#get(exchange, definition, name);
      case 'update':
        return this.#update(exchange, definition, name);
      case 'patch':
        return this.#patch(exchange, definition, name);
      default:
        return this.#delete(exchange, definition, name);
    }
  }

  async #handleSubresource(
    exchange: ResourceExchange,
    definition: ResourceDefinition,
    name: string,
    subresource: string,
  ): Promise<void> {
    if (!hasSubresource(definition, subresource))
      return this.#subresources.refuse(exchange, definition, name);
    const { verb } = exchange.info;
    if (subresource === 'scale') return this.#scale(exchange, definition, name);
    const replaces = subresource === 'status' || subresource === 'approval' || subresource === 'finalize';
    if (replaces && verb === 'get') return this.#get(exchange, definition, name);
    if (replaces && verb === 'update') return this.#update(exchange, definition, name);
    if (replaces && verb === 'patch') return this.#patch(exchange, definition, name);
    if (verb === 'create') return this.#subresources.create(exchange, definition, name, subresource);
    throw notAllowed(exchange);
  }

  async #get(exchange: ResourceExchange, definition: ResourceDefinition, name: string): Promise<void> {
    await this.#reader.settled();
    this.#answerObject(
      exchange,
      definition,
      this.#reader.get(definition, exchange.info.namespace ?? '', name),
      200,
    );
  }

  async #list(exchange: ResourceExchange, definition: ResourceDefinition): Promise<void> {
    await this.#reader.settled();
    const { query } = exchange;
    const rendering = renderingOf(exchange);
    const request: ListRequest = {
      ...selectionOf(exchange),
      limit: numberOf(query.get('limit')),
      continueToken: query.get('continue') ?? undefined,
      resourceVersion: query.get('resourceVersion') ?? undefined,
      resourceVersionMatch: query.get('resourceVersionMatch') ?? undefined,
    };
    const page = this.#reader.list(definition, request);
    const metadata: JsonObject = {
      resourceVersion: String(page.revision),
      ...(page.continueToken === undefined ? {} : { continue: page.continueToken }),
      ...(page.remaining === undefined ? {} : { remainingItemCount: page.remaining }),
    };
    if (rendering.kind === 'table') {
      const includeObject = readIncludeObject(query.get('includeObject'));
      const options = {
        includeObject,
        version: rendering.version,
        listMetadata: metadata,
        nowMs: this.#clock.now(),
      };
      return answer(exchange, 200, renderTable(definition, page.items, options));
    }
    if (rendering.kind === 'metadata') {
      return answer(exchange, 200, partialMetadataList(page.items, metadata, rendering.version));
    }
    answer(exchange, 200, listOf(definition, page.items, metadata));
  }

  async #create(exchange: ResourceExchange, definition: ResourceDefinition): Promise<void> {
    const body = parseBody(await readBody(exchange.request));
    const context = writeContext(exchange);
    const draft = this.#decode(exchange, definition, body);
    const namespace = namespaceOf(exchange, definition, draft);
    const created = await this.#writer.create(definition, namespace, draft, context);
    this.#answerObject(exchange, definition, created, 201);
  }

  async #update(exchange: ResourceExchange, definition: ResourceDefinition, name: string): Promise<void> {
    const body = parseBody(await readBody(exchange.request));
    const context = writeContext(exchange);
    const draft = this.#decode(exchange, definition, body);
    const namespace = exchange.info.namespace ?? '';
    if (definition.custom && (draft.metadata.resourceVersion ?? '') === '') {
      throw new StatusError(
        'Invalid',
        `${definition.kind}.${definition.group} "${name}" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update`,
      );
    }
    const create =
      strategyOf(definition).createOnUpdate === true && (draft.metadata.resourceVersion ?? '') === '';
    const { object, created } = await this.#updateOrCreate(
      create,
      () => this.#writer.update(definition, namespace, name, context, () => draft),
      () => this.#writer.create(definition, namespace, named(draft, name), context),
    );
    this.#answerObject(exchange, definition, object, created ? 201 : 200);
  }

  async #patch(exchange: ResourceExchange, definition: ResourceDefinition, name: string): Promise<void> {
    const document = readPatch(definition, await readBody(exchange.request));
    const context = writeContext(exchange);
    const namespace = exchange.info.namespace ?? '';
    if (document.kind === 'apply')
      return this.#apply(exchange, definition, name, document.configuration, context);
    const object = await this.#writer.update(definition, namespace, name, context, (current) =>
      this.#decode(exchange, definition, document.apply(current)),
    );
    this.#answerObject(exchange, definition, object, 200);
  }

  async #apply(
    exchange: ResourceExchange,
    definition: ResourceDefinition,
    name: string,
    configuration: JsonValue,
    context: WriteContext,
  ): Promise<void> {
    const { query, info } = exchange;
    if ((query.get('fieldManager') ?? '') === '')
      throw badRequest('fieldManager is required for apply patch');
    const namespace = info.namespace ?? '';
    const applied = named(this.#decode(exchange, definition, configuration), name);
    const force = query.get('force') === 'true';
    const applier = { ...fieldWriter(definition, context, this.#clock.now()), force };
    const { object, created } = await this.#updateOrCreate(
      info.subresource === undefined,
      () =>
        this.#writer.update(
          definition,
          namespace,
          name,
          context,
          (current) => withVersionOf(applied, applyConfiguration(current, applied, applier)),
          true,
        ),
      () => {
        if (definition.namespaced) applied.metadata.namespace = namespace;
        const object = applyConfiguration(undefined, applied, applier);
        return this.#writer.create(definition, namespace, object, context, true);
      },
    );
    this.#answerObject(exchange, definition, object, created ? 201 : 200);
  }

  async #updateOrCreate(
    mayCreate: boolean,
    update: () => Promise<KubeObject>,
    create: () => Promise<KubeObject>,
  ): Promise<{ object: KubeObject; created: boolean }> {
    try {
      return { object: await update(), created: false };
    } catch (error) {
      if (!mayCreate || !isNotFound(error)) throw error;
      return { object: await create(), created: true };
    }
  }

  async #delete(exchange: ResourceExchange, definition: ResourceDefinition, name: string): Promise<void> {
    const { request, dryRun } = deleteRequest(exchange.query, optionsOf(await readBody(exchange.request)));
    const namespace = exchange.info.namespace ?? '';
    const { object, gone } = await this.#writer.delete(definition, namespace, name, request, dryRun);
    if (!gone || definition.storage === '/pods') return this.#answerObject(exchange, definition, object, 200);
    answer(exchange, 200, {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Success',
      details: {
        name,
        ...(definition.group === '' ? {} : { group: definition.group }),
        kind: definition.plural,
        uid: object.metadata.uid ?? '',
      },
    });
  }

  async #deleteCollection(exchange: ResourceExchange, definition: ResourceDefinition): Promise<void> {
    const { request, dryRun } = deleteRequest(exchange.query, optionsOf(await readBody(exchange.request)));
    const { items, revision } = this.#reader.list(definition, selectionOf(exchange));
    const deletions = items.map(async ({ metadata }) => {
      try {
        await this.#writer.delete(definition, metadata.namespace ?? '', metadata.name, request, dryRun);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    });
    await Promise.all(deletions);
    answer(exchange, 200, listOf(definition, items, { resourceVersion: String(revision) }));
  }

  async #scale(exchange: ResourceExchange, definition: ResourceDefinition, name: string): Promise<void> {
    const { verb, namespace = '' } = exchange.info;
    if (verb === 'get') {
      await this.#reader.settled();
      return answer(exchange, 200, toScale(definition, this.#reader.get(definition, namespace, name)));
    }
    if (verb !== 'update' && verb !== 'patch') throw notAllowed(exchange);
    const body = await readBody(exchange.request);
    // The scale changes the main resource, with its checks and its generation.
    const { subresource: _, ...context } = writeContext(exchange);
    const object = await this.#writer.update(definition, namespace, name, context, (current) =>
      withScale(
        definition,
        current,
        verb === 'update' ? parseBody(body) : patchedScale(definition, current, body),
      ),
    );
    answer(exchange, 200, toScale(definition, object));
  }

  #decode(exchange: ResourceExchange, definition: ResourceDefinition, value: JsonValue): KubeObject {
    return decodeObject(definition, value, {
      fieldValidation: fieldValidationOf(exchange.query),
      warn: (text) => warn(exchange, text),
    });
  }

  #answerObject(
    exchange: ResourceExchange,
    definition: ResourceDefinition,
    object: KubeObject,
    status: number,
  ): void {
    const rendering = renderingOf(exchange);
    let body: JsonObject = object;
    if (rendering.kind === 'metadata') body = partialMetadata(object, rendering.version);
    if (rendering.kind === 'table') {
      const includeObject = readIncludeObject(exchange.query.get('includeObject'));
      const listMetadata: JsonObject = { resourceVersion: object.metadata.resourceVersion };
      const options = { includeObject, version: rendering.version, listMetadata, nowMs: this.#clock.now() };
      body = renderTable(definition, [object], options);
    }
    answer(exchange, status, body);
  }
}

function listOf(
  definition: ResourceDefinition,
  items: readonly KubeObject[],
  metadata: JsonObject,
): JsonObject {
  return { kind: definition.listKind, apiVersion: apiVersionOf(definition), metadata, items: [...items] };
}

function patchedScale(definition: ResourceDefinition, current: KubeObject, body: Body): JsonObject {
  const document = readPatch({ ...definition, custom: true }, body);
  if (document.kind === 'apply') {
    if (!isJsonObject(document.configuration)) throw badRequest('a scale is an object');
    return document.configuration;
  }
  return document.apply(toScale(definition, current));
}

function selectionOf({ info, query }: ResourceExchange) {
  return {
    namespace: info.namespace,
    labelSelector: query.get('labelSelector') ?? undefined,
    fieldSelector: query.get('fieldSelector') ?? undefined,
  };
}

function namespaceOf({ info }: ResourceExchange, definition: ResourceDefinition, draft: KubeObject): string {
  if (!definition.namespaced) return '';
  const namespace = info.namespace ?? draft.metadata.namespace ?? '';
  if (namespace === '') throw badRequest('an empty namespace may not be set during creation');
  return namespace;
}

function optionsOf(body: Body): JsonValue | undefined {
  return body.bytes.length === 0 ? undefined : parseBody(body);
}

function named(draft: KubeObject, name: string): KubeObject {
  if (draft.metadata.name === '') draft.metadata.name = name;
  if (draft.metadata.name !== name) {
    throw badRequest(
      `the name of the object (${draft.metadata.name}) does not match the name on the URL (${name})`,
    );
  }
  return draft;
}

/** An applied configuration that names a resourceVersion wants it to be the present one. */
function withVersionOf(applied: KubeObject, result: KubeObject): KubeObject {
  const { resourceVersion } = applied.metadata;
  if (resourceVersion === undefined || resourceVersion === '') return result;
  parseRevision(resourceVersion);
  return { ...result, metadata: { ...result.metadata, resourceVersion } };
}

export function noSuchPath(): StatusError {
  return new StatusError('NotFound', 'the server could not find the requested resource', {});
}

export function notAllowed({ request }: Exchange): StatusError {
  return new StatusError(
    'MethodNotAllowed',
    `the server does not allow this method on the requested resource: ${request.method ?? ''}`,
    {},
  );
}
