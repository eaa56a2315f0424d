/**
 * A Kubernetes API in memory, for tests: versions, uids, watches with history and 410, conflicts,
 * preconditions, graceful pod deletion, status subresources, patches. It passes the suite that the real client
 * passes against a real API; what it leaves out (admission, defaulting, schemas, authorization) no test may need.
 */

import type { Clock } from '#beehive/clock.ts';
import { type KubeObject, kubeObjectSchema } from '#protocol/resources/object.ts';
import {
  failureStatus,
  type KubeApi,
  KubeError,
  type KubeErrorCode,
  type ObjectList,
  type ObjectRef,
  type PatchType,
  type ResourceRef,
  type SelectorOptions,
  type WatchEvent,
  type WatchOptions,
} from './kube-api.ts';
import { applyJsonPatch, isRecord, mergePatch, strategicPatch } from './patch.ts';
import { matchesSelectors } from './selectors.ts';

interface Stored {
  readonly collection: string;
  readonly object: KubeObject;
}

interface LogEntry extends Stored {
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly before: KubeObject | undefined;
}

/** Resources whose `status` only the subresource writes. */
const withStatus: ReadonlySet<string> = new Set([
  'pods',
  'nodes',
  'namespaces',
  'objectsyncs',
  'clusterobjectsyncs',
]);

const kinds: Readonly<Record<string, string>> = {
  pods: 'Pod',
  nodes: 'Node',
  namespaces: 'Namespace',
  configmaps: 'ConfigMap',
  secrets: 'Secret',
  leases: 'Lease',
  events: 'Event',
  serviceaccounts: 'ServiceAccount',
  persistentvolumes: 'PersistentVolume',
  persistentvolumeclaims: 'PersistentVolumeClaim',
  devices: 'Device',
  devicemodels: 'DeviceModel',
  devicestatuses: 'DeviceStatus',
  objectsyncs: 'ObjectSync',
  clusterobjectsyncs: 'ClusterObjectSync',
  certificatesigningrequests: 'CertificateSigningRequest',
  volumeattachments: 'VolumeAttachment',
  rules: 'Rule',
  ruleendpoints: 'RuleEndpoint',
};

export class MemoryKubeApi implements KubeApi {
  readonly #clock: Clock;
  readonly #objects = new Map<string, Stored>();
  #log: LogEntry[] = [];
  #version = 100;
  #compactedTo = 100;
  #uids = 0;
  readonly #watchers = new Set<() => void>();
  readonly #faults: { match: (verb: string, ref: ResourceRef) => boolean; error: KubeError }[] = [];
  /** Calls made so far, as `verb plural`, for tests that count. */
  readonly calls: string[] = [];
  readonly #prefix: string;

  constructor(components: { clock: Clock }, options: { uidPrefix?: string } = {}) {
    this.#clock = components.clock;
    this.#prefix = options.uidPrefix ?? 'uid';
    this.#insert({ apiVersion: 'v1', plural: 'namespaces' }, { metadata: { name: 'kube-system' } });
  }

  /** Fails the next call that matches. */
  failNext(
    match: (verb: string, ref: ResourceRef) => boolean,
    code: KubeErrorCode = 'unreachable',
    message = 'made to fail',
  ): void {
    this.#faults.push({ match, error: new KubeError(code, failureStatus(500, 'InternalError', message)) });
  }

  /** Forgets history, so that watches from older versions get `gone`; ends running watches. */
  compact(): void {
    this.#log = [];
    this.#compactedTo = this.#version;
    this.breakWatches();
  }

  /** Ends every running watch, as a server does after a while. */
  breakWatches(): void {
    this.#generation += 1;
    this.#wake();
  }
  #generation = 0;

  async get(ref: ObjectRef): Promise<KubeObject> {
    this.#enter('get', ref);
    return copy(this.#need(ref).object);
  }

  async list(
    ref: ResourceRef,
    options: SelectorOptions & { limit?: number | undefined; continueToken?: string | undefined } = {},
  ): Promise<ObjectList> {
    this.#enter('list', ref);
    const prefix = collectionOf(ref);
    const all = [...this.#objects.values()]
      .filter(({ collection, object }) => collection === prefix && inNamespace(ref, object))
      .map(({ object }) => object)
      .filter((object) => matchesSelectors(object, options));
    const from = Number(options.continueToken ?? 0);
    const upTo = options.limit === undefined ? all.length : from + options.limit;
    return {
      items: all.slice(from, upTo).map((object) => copy(options.metadataOnly ? partial(object) : object)),
      resourceVersion: String(this.#version),
      ...(upTo < all.length ? { continueToken: String(upTo) } : {}),
    };
  }

  async *watch(ref: ResourceRef, options: WatchOptions = {}): AsyncGenerator<WatchEvent, void, void> {
    this.#enter('watch', ref);
    let at = options.resourceVersion === undefined ? this.#version : Number(options.resourceVersion);
    const generation = this.#generation;
    const prefix = collectionOf(ref);
    while (!options.signal?.aborted && generation === this.#generation) {
      if (at < this.#compactedTo)
        throw new KubeError('gone', failureStatus(410, 'Expired', 'too old resource version'));
      for (const entry of this.#log.filter(({ version }) => version > at)) {
        at = entry.version;
        if (entry.collection !== prefix || !inNamespace(ref, entry.object)) continue;
        const event = eventFor(entry, options);
        if (event !== undefined) yield event;
      }
      if (at < this.#version) continue;
      await this.#changed(options.signal);
    }
  }

  async create(
    ref: ResourceRef,
    input: unknown,
    options: { subresource?: string | undefined } = {},
  ): Promise<KubeObject> {
    this.#enter('create', ref);
    if (options.subresource === 'binding') return this.#bind(ref, input);
    return copy(this.#insert(ref, input));
  }

  async replace(
    ref: ObjectRef,
    input: unknown,
    options: { subresource?: string | undefined } = {},
  ): Promise<KubeObject> {
    this.#enter('replace', ref);
    const stored = this.#need(ref);
    const object = kubeObjectSchema.parse(input);
    const version = object.metadata.resourceVersion;
    if (version !== undefined && version !== stored.object.metadata.resourceVersion) {
      throw conflict(ref, 'the object has been modified; please apply your changes to the latest version');
    }
    return copy(this.#write(ref, stored, object, options.subresource));
  }

  async patch(
    ref: ObjectRef,
    type: PatchType,
    input: unknown,
    options: { subresource?: string | undefined } = {},
  ): Promise<KubeObject> {
    this.#enter('patch', ref);
    const patch: unknown = typeof input === 'string' ? JSON.parse(input) : structuredClone(input);
    const found = this.#objects.get(keyOf(ref));
    if (found === undefined && type === 'apply') return copy(this.#insert(ref, patch));
    const stored = this.#need(ref);
    const now = copy(stored.object);
    const next =
      type === 'json'
        ? applyJsonPatch(now, patch)
        : type === 'strategic'
          ? strategicPatch(now, patch)
          : mergePatch(now, patch);
    const object = kubeObjectSchema.parse(next);
    if (object.metadata.uid !== stored.object.metadata.uid) {
      throw conflict(ref, `Precondition failed: UID in precondition: ${object.metadata.uid}`);
    }
    const wanted = object.metadata.resourceVersion;
    if (wanted !== stored.object.metadata.resourceVersion)
      throw conflict(ref, 'the object has been modified');
    return copy(this.#write(ref, stored, object, options.subresource));
  }

  async delete(
    ref: ObjectRef,
    options: {
      gracePeriodSeconds?: number | undefined;
      preconditions?: { uid?: string; resourceVersion?: string } | undefined;
    } = {},
  ): Promise<void> {
    this.#enter('delete', ref);
    const stored = this.#need(ref);
    const { metadata } = stored.object;
    const { uid } = options.preconditions ?? {};
    if (uid !== undefined && uid !== metadata.uid) {
      throw conflict(
        ref,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`,
      );
    }
    const graceSeconds =
      ref.plural === 'pods' && boundTo(stored.object) ? (options.gracePeriodSeconds ?? 30) : 0;
    if (graceSeconds > 0) {
      const deletionTimestamp = new Date(this.#clock.now() + graceSeconds * 1000).toISOString();
      const marked = { deletionTimestamp, deletionGracePeriodSeconds: graceSeconds };
      if (metadata.deletionTimestamp) return;
      this.#put(
        ref,
        stored.collection,
        { ...stored.object, metadata: { ...metadata, ...marked } },
        stored.object,
      );
      return;
    }
    this.#objects.delete(keyOf(ref));
    this.#version += 1;
    const last = { ...stored.object, metadata: { ...metadata, resourceVersion: String(this.#version) } };
    this.#append({
      version: this.#version,
      type: 'DELETED',
      collection: stored.collection,
      object: last,
      before: stored.object,
    });
  }

  async createToken(account: { namespace: string; name: string }, request: unknown): Promise<KubeObject> {
    const ref = { apiVersion: 'v1', plural: 'serviceaccounts', ...account };
    this.#enter('createToken', ref);
    this.#need(ref);
    const spec = isRecord(request) && isRecord(request.spec) ? request.spec : {};
    const seconds = typeof spec.expirationSeconds === 'number' ? spec.expirationSeconds : 3600;
    return {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: account.name, namespace: account.namespace },
      spec: { audiences: ['api'], expirationSeconds: seconds, ...spec },
      status: {
        token: `token-of-${account.namespace}-${account.name}`,
        expirationTimestamp: new Date(this.#clock.now() + seconds * 1000).toISOString(),
      },
    };
  }

  async serverVersion(): Promise<string> {
    return 'v1.20.0+memory';
  }

  #enter(verb: string, ref: ResourceRef): void {
    this.calls.push(`${verb} ${ref.plural}`);
    const at = this.#faults.findIndex(({ match }) => match(verb, ref));
    const [fault] = at < 0 ? [] : this.#faults.splice(at, 1);
    if (fault !== undefined) throw fault.error;
  }

  #need(ref: ObjectRef): Stored {
    const stored = this.#objects.get(keyOf(ref));
    if (stored !== undefined) return stored;
    const details = { name: ref.name, kind: ref.plural };
    throw new KubeError(
      'notFound',
      failureStatus(404, 'NotFound', `${resourceName(ref)} "${ref.name}" not found`, details),
    );
  }

  #insert(ref: ResourceRef, input: unknown): KubeObject {
    const given = kubeObjectSchema.parse(named(input, this.#version + 1));
    const name = given.metadata.name;
    const at = { ...ref, name };
    if (this.#objects.has(keyOf(at))) {
      const details = { name, kind: ref.plural };
      throw new KubeError(
        'alreadyExists',
        failureStatus(409, 'AlreadyExists', `${resourceName(ref)} "${name}" already exists`, details),
      );
    }
    this.#uids += 1;
    const object: KubeObject = {
      apiVersion: ref.apiVersion,
      kind: kinds[ref.plural] ?? 'Unknown',
      ...given,
      metadata: {
        ...given.metadata,
        ...(ref.namespace ? { namespace: ref.namespace } : {}),
        uid: `${this.#prefix}-${this.#uids}`,
        generation: 1,
        creationTimestamp: new Date(this.#clock.now()).toISOString(),
      },
    };
    return this.#put(at, collectionOf(ref), object, undefined);
  }

  #bind(ref: ResourceRef, input: unknown): KubeObject {
    const binding = kubeObjectSchema.parse(input);
    const at = { ...ref, name: binding.metadata.name };
    const stored = this.#need(at);
    const target = isRecord(binding.target) ? binding.target.name : undefined;
    this.#put(at, stored.collection, withSpec(stored.object, { nodeName: target }), stored.object);
    return { apiVersion: 'v1', kind: 'Status', metadata: { name: '' }, status: 'Success' };
  }

  #write(ref: ObjectRef, stored: Stored, object: KubeObject, subresource: string | undefined): KubeObject {
    const before = stored.object;
    const { uid, creationTimestamp, generation, namespace, name } = before.metadata;
    const kept = {
      uid,
      creationTimestamp,
      generation,
      name,
      ...(namespace === undefined ? {} : { namespace }),
    };
    let next: KubeObject;
    if (subresource === 'status') next = { ...before, status: object.status };
    else {
      const status = withStatus.has(ref.plural) ? before.status : object.status;
      const { status: _given, ...rest } = object;
      next = { ...rest, ...(status === undefined ? {} : { status }) };
      next = { ...next, metadata: { ...next.metadata, ...kept } };
      if (!same(next.spec, before.spec)) next.metadata.generation = (generation ?? 0) + 1;
    }
    next = { ...next, apiVersion: before.apiVersion, kind: before.kind };
    if (same(next, before)) return before;
    return this.#put(ref, stored.collection, next, before);
  }

  #put(ref: ObjectRef, collection: string, object: KubeObject, before: KubeObject | undefined): KubeObject {
    this.#version += 1;
    const stored = copy({
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(this.#version) },
    });
    this.#objects.set(keyOf(ref), { collection, object: stored });
    const type = before === undefined ? 'ADDED' : 'MODIFIED';
    this.#append({ version: this.#version, type, collection, object: stored, before });
    return stored;
  }

  #append(entry: LogEntry): void {
    this.#log.push(entry);
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#watchers]) wake();
  }

  #changed(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#watchers.delete(wake);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      this.#watchers.add(wake);
      signal?.addEventListener('abort', wake, { once: true });
      if (signal?.aborted) wake();
    });
  }
}

/** What a watch with selectors shows of a change: an object that comes to match is added, one that ceases is deleted. */
function eventFor(entry: LogEntry, options: SelectorOptions): WatchEvent | undefined {
  const is = matchesSelectors(entry.object, options) && entry.type !== 'DELETED';
  const was = entry.before !== undefined && matchesSelectors(entry.before, options);
  if (!is && !was) return undefined;
  const type = is ? (was ? 'MODIFIED' : 'ADDED') : 'DELETED';
  return { type, object: copy(options.metadataOnly ? partial(entry.object) : entry.object) };
}

function collectionOf(ref: ResourceRef): string {
  return `${ref.apiVersion.split('/')[0]}/${ref.plural}`;
}

function keyOf(ref: ObjectRef): string {
  return `${collectionOf(ref)}/${ref.namespace ?? ''}/${ref.name}`;
}

function inNamespace(ref: ResourceRef, object: KubeObject): boolean {
  return !ref.namespace || object.metadata.namespace === ref.namespace;
}

function resourceName(ref: ResourceRef): string {
  const [group, version] = ref.apiVersion.split('/');
  return version === undefined ? ref.plural : `${ref.plural}.${group}`;
}

function named(input: unknown, suffix: number): unknown {
  if (!isRecord(input) || !isRecord(input.metadata)) return input;
  const { generateName, name } = input.metadata;
  if (name || typeof generateName !== 'string') return input;
  return { ...input, metadata: { ...input.metadata, name: `${generateName}${suffix}` } };
}

function partial(object: KubeObject): KubeObject {
  return { apiVersion: 'meta.k8s.io/v1', kind: 'PartialObjectMetadata', metadata: object.metadata };
}

function boundTo(object: KubeObject): boolean {
  return isRecord(object.spec) && Boolean(object.spec.nodeName);
}

function withSpec(object: KubeObject, more: object): KubeObject {
  return { ...object, spec: { ...(isRecord(object.spec) ? object.spec : {}), ...more } };
}

function conflict(ref: ObjectRef, why: string): KubeError {
  const text = `Operation cannot be fulfilled on ${resourceName(ref)} "${ref.name}": ${why}`;
  return new KubeError(
    'conflict',
    failureStatus(409, 'Conflict', text, { name: ref.name, kind: ref.plural }),
  );
}

function copy<T>(value: T): T {
  return structuredClone(value);
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
