/**
 * Requests of the edge's own modules (group `meta`): queries are answered from the store where it can, all else
 * goes to the cloud, and what its answers say about stored objects is kept before the asker hears of it.
 */

import type { Log } from '#beehive/log.ts';
import { ProtocolError } from '#protocol/errors.ts';
import { acknowledge, type Envelope, newEnvelope, reply, replyError } from '#protocol/message.ts';
import { ok, operation, source } from '#protocol/names.ts';
import { formatObjectPath, type ObjectPath, parseObjectPath } from '#protocol/resource-path.ts';
import { deleteOptionsSchema } from '#protocol/resources/delete-options.ts';
import { type KubeObject, kubeObjectSchema } from '#protocol/resources/object.ts';
import { objectOf, objectRespSchema, readObjectResp } from '#protocol/resources/object-resp.ts';
import { sinceHeader } from '#protocol/session.ts';
import type { MetaStore } from '../store/meta-store.ts';
import type { CloudCalls } from './cloud-calls.ts';
import type { Outbox } from './outbox.ts';
import { afterReport } from './own-report.ts';
import type { RemoteQuery } from './remote-query.ts';
import { type TokenCache, tokenType } from './token-cache.ts';
import type { SeenVersions } from './versions.ts';

export interface UpstreamComponents {
  readonly meta: MetaStore;
  readonly seen: SeenVersions;
  readonly cloud: CloudCalls;
  readonly queries: RemoteQuery;
  readonly tokens: TokenCache;
  readonly outbox: Outbox;
  readonly log: Log;
}

/** Kinds that the edge fetches when it needs them. */
const fetched: readonly string[] = [
  'configmap',
  'secret',
  'persistentvolume',
  'persistentvolumeclaim',
  'volumeattachment',
];
/** Kinds that the cloud sends by itself: what is not stored is not there. */
const delivered: readonly string[] = ['pod', 'node', 'device', 'devicemodel', 'serviceaccountaccess'];

/** The object that the answer to a write on `type` is a newer version of. */
const answeredObject: ReadonlyMap<string, { type: string; apiVersion: string; kind: string }> = new Map([
  ['pod', { type: 'pod', apiVersion: 'v1', kind: 'Pod' }],
  ['podpatch', { type: 'pod', apiVersion: 'v1', kind: 'Pod' }],
  ['node', { type: 'node', apiVersion: 'v1', kind: 'Node' }],
  ['nodepatch', { type: 'node', apiVersion: 'v1', kind: 'Node' }],
]);

export class Upstream {
  readonly #components: UpstreamComponents;

  constructor(components: UpstreamComponents) {
    this.#components = components;
  }

  /** The answer for who asked. @throws CancelledError when the module stops. */
  async answer(request: Envelope): Promise<Envelope> {
    let path: ObjectPath;
    try {
      path = parseObjectPath(request.route.resource);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.#failed(request, error.message);
    }
    if (request.route.operation === operation.query) return this.#query(path, request);
    if (path.type === 'event') {
      const kept = await this.#components.outbox.keep(request, 'events');
      return this.#kept(request, kept);
    }
    return this.#pass(path, request);
  }

  /** What an MQTT client said for a rule of the cloud. */
  async upload(request: Envelope): Promise<Envelope> {
    return this.#kept(request, await this.#components.outbox.keep(request, 'uploads'));
  }

  #kept(request: Envelope, kept: 'kept' | 'full'): Envelope {
    if (kept === 'full') return this.#failed(request, 'the outbox is full until the cloud is back');
    return acknowledge(request, { source: source.metaManager });
  }

  async #query(path: ObjectPath, request: Envelope): Promise<Envelope> {
    const { meta, queries, tokens } = this.#components;
    if (path.name === undefined) {
      const rows = meta.read((stored) => stored.list(path.type, path.namespace));
      return this.#found(
        request,
        rows.map((row) => row.value),
      );
    }
    if (path.type === tokenType) {
      const found = await tokens.find(path, request);
      return 'token' in found ? this.#found(request, found.token) : this.#failed(request, found.failure);
    }
    if (fetched.includes(path.type)) {
      const found = await queries.find(path, request);
      return 'object' in found ? this.#found(request, found.object) : this.#failed(request, found.failure);
    }
    if (delivered.includes(path.type)) {
      const row = meta.read((stored) => stored.get(formatObjectPath(path)));
      return row === undefined
        ? this.#failed(request, `${formatObjectPath(path)} is not stored at this edge`)
        : this.#found(request, row.value);
    }
    return this.#pass(path, request);
  }

  async #pass(path: ObjectPath, request: Envelope): Promise<Envelope> {
    const said = await this.#components.cloud.ask(request);
    if ('failure' in said) {
      return this.#failed(request, `${request.route.operation} ${formatObjectPath(path)}: ${said.failure}`);
    }
    const { answer } = said;
    const isDeletion = request.route.operation === operation.delete;
    if (isDeletion) await this.#forgetDeleted(path, request, answer);
    const object = isDeletion ? undefined : this.#answered(path, request, answer);
    if (object !== undefined) await this.#keepAnswered(path, object);
    const { resourceversion } = answer.header;
    return newEnvelope(answer.route, object === undefined ? answer.content : objectOf(object), {
      parentId: request.header.msg_id,
      ...(resourceversion === undefined ? {} : { resourceVersion: resourceversion }),
    });
  }

  /** The cloud has confirmed the last step of a pod's life. */
  async #forgetDeleted(path: ObjectPath, request: Envelope, answer: Envelope): Promise<void> {
    const uid = deleteOptionsSchema.safeParse(request.content).data?.preconditions?.uid;
    if (path.type !== 'pod' || answer.content !== ok || uid === undefined || uid === null) return;
    await this.#components.meta.write((rows) => {
      const key = formatObjectPath(path);
      if (rows.get(key)?.uid === uid) rows.delete(key);
      rows.deleteByUid(tokenType, uid);
    });
  }

  /** The object as the cloud now has it; undefined where the answer does not say. */
  #answered(path: ObjectPath, request: Envelope, answer: Envelope): KubeObject | undefined {
    const response = objectRespSchema.safeParse(answer.content);
    const read = response.success ? readObjectResp(response.data) : undefined;
    const { type } = answeredObject.get(path.type) ?? {};
    if (type === undefined || read === undefined || !('object' in read)) return undefined;
    const { object } = read;
    if (object.metadata.name !== path.name) return undefined;
    const since = answer.header[sinceHeader];
    if (typeof since !== 'string') return object;
    const key = formatObjectPath({ ...path, type });
    const stored = kubeObjectSchema.safeParse(this.#components.meta.read((rows) => rows.get(key))?.value);
    return stored.success ? afterReport(stored.data, request.content, object, since) : undefined;
  }

  async #keepAnswered(path: ObjectPath, newest: KubeObject): Promise<void> {
    const answered = answeredObject.get(path.type);
    if (answered === undefined) return;
    const { type, apiVersion, kind } = answered;
    // Answers may come without their type (seen of KubeEdge); the stored object always says what it is.
    const object: KubeObject = { apiVersion, kind, ...newest };
    const { uid, resourceVersion } = object.metadata;
    const key = formatObjectPath({ ...path, type });
    const { meta, seen } = this.#components;
    const stored = meta.read((rows) => rows.get(key));
    if (stored?.uid === uid && stored?.resourceVersion === resourceVersion && stored !== undefined) return;
    await meta.write((rows) => {
      // A late answer about a pod that is gone, or replaced, must not bring it back.
      if (type === 'pod' && rows.get(key)?.uid !== uid) return;
      if (seen.isStale(key, uid, resourceVersion)) return;
      rows.put({ key, type, value: object, uid, resourceVersion });
      seen.note(key, uid, resourceVersion);
    });
  }

  #found(request: Envelope, content: unknown): Envelope {
    return reply(request, content, { source: source.metaManager });
  }

  #failed(request: Envelope, reason: string): Envelope {
    this.#components.log.debug({ route: request.route, reason }, 'a request failed');
    return replyError(request, reason, { source: source.metaManager });
  }
}
