/**
 * Writes: what is checked against what is stored, and the one place that stores. Everything up to the store's
 * `put` happens in one turn of the event loop, so what was checked still holds when it is written.
 */

import { randomUUID } from 'node:crypto';
import type { Clock } from '#beehive/clock.ts';
import type { Random } from '#beehive/random.ts';
import { type KubeObject, listAt } from '../kube-object.ts';
import { limits } from '../limits.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import { recordUpdate } from '../patch/managed-fields.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { alreadyExists, badRequest, notFound, StatusError } from '../status-error.ts';
import { type LogStore, StoreError } from '../store/log-store.ts';
import type { Requester } from '../strategies/strategy.ts';
import { type DeleteRequest, planDeletion } from './deletion.ts';
import { generatePrefix, prepareCreate, prepareUpdate, stampNew } from './draft.ts';
import { toStored, toVersion } from './versions.ts';
import { fieldWriter, timeText, type WriteContext } from './write-context.ts';

export interface WriterComponents {
  readonly store: LogStore;
  readonly clock: Clock;
  readonly random: Random;
  /** Refuses what the requester may not write, by a StatusError; for what depends on the object as it will be. */
  readonly admit?: (requester: Requester, definition: ResourceDefinition, object: KubeObject) => void;
}

const suffixLetters = 'bcdfghjklmnpqrstvwxz2456789';

export class Writer {
  readonly #store: LogStore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #admit: NonNullable<WriterComponents['admit']>;

  constructor({ store, clock, random, admit = () => {} }: WriterComponents) {
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
    this.#admit = admit;
  }

  /** `draft` becomes the writer's. `applied`: managedFields are already right. */
  async create(
    definition: ResourceDefinition,
    namespace: string,
    sent: KubeObject,
    context: WriteContext,
    applied = false,
  ): Promise<KubeObject> {
    const draft = toStored(definition, sent);
    this.#checkNamespace(definition, namespace, draft);
    const nowMs = this.#clock.now();
    stampNew(definition, draft, { namespace, uid: randomUUID(), now: timeText(nowMs) });
    const prefix = generatePrefix(definition, draft);
    if (prefix !== undefined) draft.metadata.name = this.#freeName(definition, namespace, prefix);
    prepareCreate(definition, draft, context.requester, timeText(nowMs));
    if (this.#store.get(definition.storage, namespace, draft.metadata.name) !== undefined) {
      throw alreadyExists(definition, draft.metadata.name);
    }
    const object = applied ? draft : recordUpdate(undefined, draft, fieldWriter(definition, context, nowMs));
    this.#admit(context.requester, definition, object);
    if (context.dryRun) return toVersion(definition, object);
    return toVersion(definition, await this.#put(definition, namespace, object));
  }

  /**
   * Replaces an object by what `build` makes of the present one.
   * @throws StatusError 404 when there is none.
   */
  async update(
    definition: ResourceDefinition,
    namespace: string,
    name: string,
    context: WriteContext,
    build: (current: KubeObject) => KubeObject,
    applied = false,
  ): Promise<KubeObject> {
    const stored = this.#store.get(definition.storage, namespace, name)?.object;
    if (stored === undefined) throw notFound(definition, name);
    const wanted = toStored(definition, build(toVersion(definition, stored)));
    const draft = prepareUpdate(definition, wanted, stored, context.subresource);
    if (jsonEqual(draft, stored)) return toVersion(definition, stored);
    const object = applied
      ? draft
      : recordUpdate(stored, draft, fieldWriter(definition, context, this.#clock.now()));
    this.#admit(context.requester, definition, object);
    if (context.dryRun) return toVersion(definition, object);
    if (isFinished(definition, object)) {
      await this.#remove(definition, namespace, name);
      return toVersion(definition, object);
    }
    return toVersion(definition, await this.#put(definition, namespace, object));
  }

  /** Resolves with the object as it is now (`gone`: as it last was). */
  async delete(
    definition: ResourceDefinition,
    namespace: string,
    name: string,
    request: DeleteRequest,
    dryRun: boolean,
  ): Promise<{ readonly object: KubeObject; readonly gone: boolean }> {
    const stored = this.#store.get(definition.storage, namespace, name)?.object;
    if (stored === undefined) throw notFound(definition, name);
    const plan = planDeletion(definition, stored, request, this.#clock.now());
    if (plan.action === 'remove') {
      if (!dryRun) await this.#remove(definition, namespace, name);
      return { object: toVersion(definition, stored), gone: true };
    }
    if (plan.action === 'keep' || dryRun) return { object: toVersion(definition, plan.object), gone: false };
    return {
      object: toVersion(definition, await this.#put(definition, namespace, plan.object)),
      gone: false,
    };
  }

  #checkNamespace(definition: ResourceDefinition, namespace: string, draft: KubeObject): void {
    if (!definition.namespaced) {
      if ((draft.metadata.namespace ?? '') !== '')
        throw badRequest('namespace is not allowed for a cluster-scoped object');
      return;
    }
    const stated = draft.metadata.namespace ?? '';
    if (stated !== '' && stated !== namespace) {
      throw badRequest(
        'the namespace of the provided object does not match the namespace sent on the request',
      );
    }
    const found = this.#store.get('/namespaces', '', namespace)?.object;
    if (found === undefined) throw notFound({ group: '', plural: 'namespaces' }, namespace);
    if (found.metadata.deletionTimestamp !== undefined) {
      throw new StatusError(
        'Forbidden',
        `${definition.plural} "${draft.metadata.name}" is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`,
        {
          name: draft.metadata.name,
          kind: definition.plural,
          causes: [
            {
              reason: 'NamespaceTerminating',
              message: `namespace ${namespace} is being terminated`,
              field: 'metadata.namespace',
            },
          ],
        },
      );
    }
  }

  #freeName(definition: ResourceDefinition, namespace: string, prefix: string): string {
    let name = prefix;
    for (let tries = 0; tries < limits.generateNameTries; tries += 1) {
      name = prefix;
      for (let i = 0; i < 5; i += 1)
        name += suffixLetters[Math.floor(this.#random.next() * suffixLetters.length)];
      if (this.#store.get(definition.storage, namespace, name) === undefined) return name;
    }
    return name;
  }

  async #put(definition: ResourceDefinition, namespace: string, object: KubeObject): Promise<KubeObject> {
    try {
      const { entry, durable } = this.#store.put(definition.storage, namespace, (revision) => ({
        ...object,
        metadata: { ...object.metadata, resourceVersion: String(revision) },
      }));
      await durable;
      return entry.object;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      const reason = error.code === 'too-large' ? 'RequestEntityTooLarge' : 'ServiceUnavailable';
      throw new StatusError(reason, error.message, undefined, error);
    }
  }

  #remove(definition: ResourceDefinition, namespace: string, name: string): Promise<void> {
    return this.#store.remove(definition.storage, namespace, name, (last, revision) => ({
      ...last,
      metadata: { ...last.metadata, resourceVersion: String(revision) },
    }));
  }
}

/** Deleted before, and now nothing holds it any more. */
function isFinished(definition: ResourceDefinition, object: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = object.metadata;
  if (deletionTimestamp === undefined || (finalizers ?? []).length > 0) return false;
  if (definition.storage === '/namespaces') return listAt(object, 'spec', 'finalizers').length === 0;
  return definition.storage !== '/pods' || deletionGracePeriodSeconds === 0;
}
