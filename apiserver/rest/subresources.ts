/** Subresources that are only created: binding, eviction and token; and a clear answer for those that are not served. */

import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import { type Api, resource } from '../api.ts';
import {
  type BoundObject,
  type ServiceAccountTokens,
  standardAudience,
} from '../auth/service-account-tokens.ts';
import {
  cloneJson,
  type JsonValue,
  type KubeObject,
  objectIn,
  objectsAt,
  textAt,
  valueAt,
} from '../kube-object.ts';
import { limits } from '../limits.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import type { Reader } from '../service/reader.ts';
import { timeText } from '../service/write-context.ts';
import type { Writer } from '../service/writer.ts';
import { badRequest, conflict, invalid, StatusError } from '../status-error.ts';
import { required, wrong } from '../strategies/strategy.ts';
import { parseBody, readBody } from './body.ts';
import { answer, type Exchange } from './exchange.ts';
import type { ResourceRequest } from './request-info.ts';
import { deleteRequest, writeContext } from './write-options.ts';

type ResourceExchange = Exchange<ResourceRequest>;

export interface SubresourcesComponents {
  readonly api: Api;
  readonly reader: Reader;
  readonly writer: Writer;
  readonly tokens: ServiceAccountTokens;
  readonly clock: Clock;
}

const streams = new Set(['log', 'exec', 'attach', 'portforward', 'proxy', 'ephemeralcontainers', 'resize']);

/** Go clients leave out what is empty. */
const tokenSpecSchema = z.looseObject({
  audiences: z.array(z.string()).nullish(),
  expirationSeconds: z.int().nullish(),
  boundObjectRef: z
    .looseObject({ kind: z.enum(['Pod', 'Secret', 'Node']), name: z.string(), uid: z.string().nullish() })
    .nullish(),
});

export class Subresources {
  readonly #api: Api;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #tokens: ServiceAccountTokens;
  readonly #clock: Clock;

  constructor({ api, reader, writer, tokens, clock }: SubresourcesComponents) {
    this.#api = api;
    this.#reader = reader;
    this.#writer = writer;
    this.#tokens = tokens;
    this.#clock = clock;
  }

  async create(
    exchange: ResourceExchange,
    definition: ResourceDefinition,
    name: string,
    subresource: string,
  ): Promise<void> {
    const body = parseBody(await readBody(exchange.request));
    switch (subresource) {
      case 'binding':
        return this.#bind(exchange, definition, name, body);
      case 'eviction':
        return this.#evict(exchange, definition, name, body);
      case 'token':
        return this.#issueToken(exchange, definition, name, body);
      default:
        throw new StatusError('MethodNotAllowed', `${definition.plural}/${subresource} cannot be created`);
    }
  }

  /** @throws StatusError always: 501 for what a bigger server streams, 404 for what nobody knows. */
  refuse({ info }: ResourceExchange, definition: ResourceDefinition, name: string): never {
    if (!streams.has(info.subresource ?? '')) {
      throw new StatusError('NotFound', 'the server could not find the requested resource', {});
    }
    this.#reader.get(definition, info.namespace ?? '', name);
    throw new StatusError(
      'NotImplemented',
      `${definition.plural}/${info.subresource ?? ''} is not served by this API server; look on the node that runs "${name}"`,
      { name, kind: definition.plural },
    );
  }

  async #bind(
    exchange: ResourceExchange,
    definition: ResourceDefinition,
    name: string,
    body: JsonValue,
  ): Promise<void> {
    const target = textAt(body, 'target', 'name') ?? '';
    if (target === '') throw invalid({ group: '', kind: 'Binding' }, name, [required('target.name')]);
    const { subresource: _, ...context } = writeContext(exchange);
    const now = timeText(this.#clock.now());
    await this.#writer.update(
      definition,
      exchange.info.namespace ?? '',
      name,
      { ...context, subresource: 'binding' },
      (current) => bound(definition, current, target, now),
    );
    answer(exchange, 201, success());
  }

  async #evict(
    exchange: ResourceExchange,
    definition: ResourceDefinition,
    name: string,
    body: JsonValue,
  ): Promise<void> {
    const { request, dryRun } = deleteRequest(exchange.query, valueAt(body, 'deleteOptions'));
    await this.#writer.delete(definition, exchange.info.namespace ?? '', name, request, dryRun);
    answer(exchange, 201, success());
  }

  async #issueToken(
    exchange: ResourceExchange,
    definition: ResourceDefinition,
    name: string,
    body: JsonValue,
  ): Promise<void> {
    await this.#reader.settled();
    const namespace = exchange.info.namespace ?? '';
    const account = this.#reader.get(definition, namespace, name);
    const parsed = tokenSpecSchema.safeParse(valueAt(body, 'spec') ?? {});
    if (!parsed.success) throw badRequest(`not a TokenRequest: ${z.prettifyError(parsed.error)}`);
    const spec = parsed.data;
    const seconds = spec.expirationSeconds ?? limits.tokenSeconds.standard;
    if (seconds < limits.tokenSeconds.shortest) {
      const cause = wrong(
        'spec.expirationSeconds',
        seconds,
        'may not specify a duration less than 10 minutes',
      );
      throw invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, name, [cause]);
    }
    const audiences = spec.audiences?.length ? spec.audiences : [standardAudience];
    const about = spec.boundObjectRef;
    const { token, expiresMs } = await this.#tokens.issue({
      namespace,
      account: { name, uid: account.metadata.uid ?? '' },
      audiences,
      seconds,
      bound:
        about == null
          ? undefined
          : this.#boundObject(namespace, about.kind, about.name, about.uid ?? undefined),
    });
    answer(exchange, 201, {
      kind: 'TokenRequest',
      apiVersion: 'authentication.k8s.io/v1',
      metadata: { name, namespace, creationTimestamp: timeText(this.#clock.now()) },
      spec: {
        audiences: [...audiences],
        expirationSeconds: Math.min(seconds, limits.tokenSeconds.longest),
        boundObjectRef: valueAt(body, 'spec', 'boundObjectRef') ?? null,
      },
      status: { token, expirationTimestamp: timeText(expiresMs) },
    });
  }

  #boundObject(
    namespace: string,
    kind: BoundObject['kind'],
    name: string,
    uid: string | undefined,
  ): BoundObject {
    const of = { Pod: resource.pods, Secret: resource.secrets, Node: resource.nodes }[kind];
    const found = this.#api.get({ ...of, namespace: kind === 'Node' ? undefined : namespace, name });
    if (found === undefined)
      throw new StatusError('NotFound', `${of.plural} "${name}" not found`, { name, kind: of.plural });
    if (uid !== undefined && uid !== '' && uid !== found.metadata.uid) {
      throw conflict(
        of,
        name,
        `the UID in the bound object reference (${uid}) does not match the UID in record`,
      );
    }
    return { kind, name, uid: found.metadata.uid ?? '' };
  }
}

function bound(definition: ResourceDefinition, current: KubeObject, node: string, now: string): KubeObject {
  const { name, deletionTimestamp } = current.metadata;
  if (deletionTimestamp !== undefined)
    throw conflict(definition, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  const assigned = textAt(current, 'spec', 'nodeName');
  if (assigned) throw conflict(definition, name, `pod ${name} is already assigned to node "${assigned}"`);
  const draft = cloneJson(current);
  objectIn(draft, 'spec').nodeName = node;
  const status = objectIn(draft, 'status');
  const others = objectsAt(status, 'conditions').filter((condition) => condition.type !== 'PodScheduled');
  status.conditions = [
    ...others,
    { type: 'PodScheduled', status: 'True', lastProbeTime: null, lastTransitionTime: now },
  ];
  return draft;
}

function success() {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 };
}
