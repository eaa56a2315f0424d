/** The API inside the process, over the reader and the writer. Each user of it writes under its own name. */

import type {
  Api,
  DeleteOptions,
  ListOptions,
  ObjectRef,
  ResourceRef,
  WatchEvent,
  WatchOptions,
} from '../api.ts';
import { cloneJson, type JsonObject, type KubeObject } from '../kube-object.ts';
import { mergePatch } from '../patch/merge-patch.ts';
import type { Registry } from '../registry.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { badRequest, StatusError } from '../status-error.ts';
import type { Reader } from './reader.ts';
import type { WriteContext } from './write-context.ts';
import type { Writer } from './writer.ts';

export interface ResourcesComponents {
  readonly registry: Registry;
  readonly reader: Reader;
  readonly writer: Writer;
}

export class Resources implements Api {
  readonly #registry: Registry;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #name: string;

  constructor(name: string, { registry, reader, writer }: ResourcesComponents) {
    this.#registry = registry;
    this.#reader = reader;
    this.#writer = writer;
    this.#name = name;
  }

  get({ namespace, name, ...of }: ObjectRef): KubeObject | undefined {
    return this.#reader.find(this.#definition(of), namespace ?? '', name);
  }

  list(of: ResourceRef, options: ListOptions = {}) {
    const revision = this.#reader.revision;
    return { items: this.#reader.all(this.#definition(of), options), revision };
  }

  async *watch(of: ResourceRef, options: WatchOptions): AsyncGenerator<WatchEvent> {
    const definition = this.#definition(of);
    const revision = this.#reader.revision;
    if (options.fromRevision === undefined) {
      for (const object of this.#reader.all(definition, options)) yield { type: 'ADDED', object, revision };
    }
    const { signal } = options;
    const never = (given: AbortSignal) =>
      new Promise<void>((_, reject) => {
        given.addEventListener('abort', () => reject(given.reason), { once: true });
      });
    const batches = this.#reader.watch(definition, options, options.fromRevision ?? revision, {
      signal,
      idle: never,
    });
    for await (const { events } of batches) yield* events;
  }

  async create(of: ResourceRef, object: KubeObject): Promise<KubeObject> {
    const draft = cloneJson(object);
    return this.#writer.create(this.#definition(of), object.metadata.namespace ?? '', draft, this.#context());
  }

  async update(of: ResourceRef, object: KubeObject, subresource?: string): Promise<KubeObject> {
    const { name, namespace = '' } = object.metadata;
    const context = this.#context(subresource);
    return this.#writer.update(this.#definition(of), namespace, name, context, () => object);
  }

  async patch(at: ObjectRef, patch: JsonObject, subresource?: string): Promise<KubeObject> {
    const context = this.#context(subresource);
    return this.#writer.update(this.#definition(at), at.namespace ?? '', at.name, context, (current) => {
      const patched = mergePatch(current, patch);
      if (typeof patched !== 'object' || patched === null || Array.isArray(patched))
        throw badRequest('not an object');
      // A merge patch of an object by an object; the callers are our own controllers.
      return patched as KubeObject;
    });
  }

  async delete(at: ObjectRef, options: DeleteOptions = {}): Promise<void> {
    await this.#writer.delete(this.#definition(at), at.namespace ?? '', at.name, options, false);
  }

  #definition({ group, version, plural }: ResourceRef): ResourceDefinition {
    const definition = this.#registry.find(group, version, plural);
    if (definition === undefined) {
      throw new StatusError('NotFound', `the server does not serve ${plural} in ${group}/${version}`);
    }
    return definition;
  }

  #context(subresource?: string): WriteContext {
    const requester = { name: 'system:apiserver', groups: ['system:masters', 'system:authenticated'] };
    return {
      requester,
      manager: this.#name,
      dryRun: false,
      ...(subresource === undefined ? {} : { subresource }),
    };
  }
}
