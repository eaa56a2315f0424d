/**
 * KubeApi over HTTP: turns verbs into paths, queries and bodies of the Kubernetes REST conventions and checks
 * the shape of what comes back. Connections and credentials are http.ts's.
 */

import { z } from 'zod';
import { type Clock, systemClock } from '#beehive/clock.ts';
import { type KubeObject, kubeObjectSchema, objectMetaSchema } from '#protocol/resources/object.ts';
import { HttpConnection, type HttpLimits, type HttpRequest } from './http.ts';
import {
  codeOfStatus,
  failureStatus,
  type KubeApi,
  KubeError,
  type ListOptions,
  type ObjectList,
  type PatchType,
  type ResourceRef,
  type SelectorOptions,
  statusSchema,
  type WatchEvent,
  type WatchOptions,
  type WriteOptions,
} from './kube-api.ts';
import { type Endpoint, inClusterEndpoint, readKubeconfig } from './kubeconfig.ts';

export interface KubeClient extends KubeApi {
  /** Where it goes to, for messages to people. */
  readonly server: string;
  /** The CA that it is checked against, in PEM; undefined: those of the system. */
  readonly ca: string | undefined;
  close(): void;
}

/**
 * The API that a kubeconfig file names; without a file, that of the pod we run in.
 * Nothing is asked yet. @throws ConfigError when the file does not lead to an API.
 */
export async function createKubeApi(
  kubeconfig: string | undefined,
  options: { readonly clock?: Clock; readonly limits?: HttpLimits; readonly master?: string } = {},
): Promise<KubeClient> {
  const endpoint = kubeconfig ? await readKubeconfig(kubeconfig) : await inClusterEndpoint(process.env);
  const server = options.master || endpoint.server;
  return clientOf({ ...endpoint, server }, options.clock ?? systemClock, options.limits);
}

const json = 'application/json';
const partialList = `${json};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,${json}`;
const partialObject = `${json};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,${json}`;

const patchContentType: Record<PatchType, string> = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** A watch without bookmarks or events is given up after its time and this grace. */
const watchGraceMs = 15_000;
const watchSecondsDefault = 300;

const listSchema = z.looseObject({
  kind: z.string().default(''),
  apiVersion: z.string().optional(),
  metadata: z.looseObject({ resourceVersion: z.string().default(''), continue: z.string().optional() }),
  items: z.array(kubeObjectSchema).nullish(),
});

const watchLineSchema = z.object({
  type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: z.unknown(),
});

/** Answers of some subresources (a binding's Status, a TokenRequest of old servers) have no name. */
const answerSchema = kubeObjectSchema.extend({
  metadata: objectMetaSchema.extend({ name: z.string().default('') }),
});

/** A bookmark carries a version and no name. */
const bookmarkSchema = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }) });

function clientOf(endpoint: Endpoint, clock: Clock, limits: HttpLimits | undefined): KubeClient {
  const http = new HttpConnection(endpoint, { clock }, limits);
  const call = async (request: HttpRequest): Promise<KubeObject> =>
    parsed(answerSchema, await http.call(request));
  return {
    server: endpoint.server,
    ca: endpoint.tls.ca,
    close: () => http.close(),
    get: async (ref, options = {}) =>
      await call({ method: 'GET', path: pathOf(ref), accept: json, signal: options.signal }),
    async list(ref, options = {}) {
      const path = pathOf(ref) + query(listQuery(options));
      const accept = options.metadataOnly ? partialList : json;
      return listOf(await http.call({ method: 'GET', path, accept, signal: options.signal }));
    },
    watch: (ref, options = {}) => watch(http, ref, options),
    create: async (ref, object, options = {}) => {
      const name = options.subresource === undefined ? undefined : nameOf(object);
      return await call({
        method: 'POST',
        path: pathOf({ ...ref, name }, options.subresource) + query(writeQuery(options)),
        accept: json,
        body: jsonBody(object),
        signal: options.signal,
      });
    },
    replace: async (ref, object, options = {}) =>
      await call({
        method: 'PUT',
        path: pathOf(ref, options.subresource) + query(writeQuery(options)),
        accept: json,
        body: jsonBody(object),
        signal: options.signal,
      }),
    patch: async (ref, type, patch, options = {}) =>
      await call({
        method: 'PATCH',
        path:
          pathOf(ref, options.subresource) +
          query({ ...writeQuery(options), ...(options.force ? { force: 'true' } : {}) }),
        accept: json,
        body: {
          type: patchContentType[type],
          text: typeof patch === 'string' ? patch : JSON.stringify(patch),
        },
        signal: options.signal,
      }),
    async delete(ref, { signal, ...options } = {}) {
      const body = jsonBody({ apiVersion: 'v1', kind: 'DeleteOptions', ...options });
      await http.call({ method: 'DELETE', path: pathOf(ref), accept: json, body, signal });
    },
    createToken: async (account, request, options = {}) =>
      await call({
        method: 'POST',
        path: pathOf({ apiVersion: 'v1', plural: 'serviceaccounts', ...account }, 'token'),
        accept: json,
        body: jsonBody(request),
        signal: options.signal,
      }),
    async serverVersion(options = {}) {
      const text = await http.call({ method: 'GET', path: '/version', accept: json, signal: options.signal });
      return parsed(z.looseObject({ gitVersion: z.string() }), text).gitVersion;
    },
  };
}

async function* watch(
  http: HttpConnection,
  ref: ResourceRef,
  options: WatchOptions,
): AsyncGenerator<WatchEvent, void, void> {
  const seconds = options.timeoutSeconds ?? watchSecondsDefault;
  const path =
    pathOf(ref) +
    query({
      ...selectorQuery(options),
      watch: 'true',
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(seconds),
      ...(options.resourceVersion === undefined ? {} : { resourceVersion: options.resourceVersion }),
    });
  const accept = options.metadataOnly ? partialObject : json;
  const timeoutMs = seconds * 1000 + watchGraceMs;
  for await (const line of http.lines({ method: 'GET', path, accept, timeoutMs, signal: options.signal })) {
    const { type, object } = parsed(watchLineSchema, line);
    if (type === 'ERROR') {
      const status = statusSchema.parse(object ?? {});
      throw new KubeError(codeOfStatus(status), status);
    }
    if (type === 'BOOKMARK') {
      const { metadata, ...rest } = bookmarkSchema.parse(object);
      yield { type, object: { ...rest, metadata: { name: '', ...metadata } } };
    } else yield { type, object: shaped(kubeObjectSchema, object) };
  }
}

function listOf(text: string): ObjectList {
  const list = parsed(listSchema, text);
  const kind = list.kind.replace(/List$/, '');
  return {
    // Items of a list come without apiVersion and kind; whoever holds one of them alone needs both.
    items: (list.items ?? []).map((item) => ({ kind, apiVersion: list.apiVersion, ...item })),
    resourceVersion: list.metadata.resourceVersion,
    ...(list.metadata.continue ? { continueToken: list.metadata.continue } : {}),
  };
}

function pathOf(
  ref: ResourceRef & { readonly name?: string | undefined },
  subresource?: string | undefined,
): string {
  const root = ref.apiVersion.includes('/')
    ? ['apis', ...ref.apiVersion.split('/')]
    : ['api', ref.apiVersion];
  const parts = [
    ...root,
    ...(ref.namespace ? ['namespaces', ref.namespace] : []),
    ref.plural,
    ...(ref.name === undefined ? [] : [ref.name]),
    ...(subresource === undefined ? [] : [subresource]),
  ];
  return `/${parts.map(segment).join('/')}`;
}

/** Names come from edges too: none may climb out of its place in the path. */
function segment(text: string): string {
  if (text === '' || text === '.' || text === '..' || text.includes('/')) {
    throw new KubeError('invalid', failureStatus(422, 'Invalid', `"${text.slice(0, 100)}" is no name`));
  }
  return encodeURIComponent(text);
}

function nameOf(object: unknown): string | undefined {
  const found = kubeObjectSchema.safeParse(object);
  return found.success ? found.data.metadata.name : undefined;
}

function query(values: Readonly<Record<string, string>>): string {
  const text = new URLSearchParams(values).toString();
  return text === '' ? '' : `?${text}`;
}

function selectorQuery(options: SelectorOptions): Record<string, string> {
  return {
    ...(options.labelSelector ? { labelSelector: options.labelSelector } : {}),
    ...(options.fieldSelector ? { fieldSelector: options.fieldSelector } : {}),
  };
}

function listQuery(options: ListOptions): Record<string, string> {
  return {
    ...selectorQuery(options),
    ...(options.limit === undefined ? {} : { limit: String(options.limit) }),
    ...(options.continueToken === undefined ? {} : { continue: options.continueToken }),
    ...(options.resourceVersion === undefined ? {} : { resourceVersion: options.resourceVersion }),
  };
}

function writeQuery(options: WriteOptions): Record<string, string> {
  return { fieldManager: options.fieldManager ?? 'hawser' };
}

function jsonBody(value: unknown): { type: string; text: string } {
  return { type: json, text: JSON.stringify(value) };
}

function parsed<S extends z.ZodType>(schema: S, text: string): z.infer<S> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new KubeError('internal', failureStatus(500, 'InternalError', 'the API answered no JSON'), {
      cause: error,
    });
  }
  return shaped(schema, value);
}

function shaped<S extends z.ZodType>(schema: S, value: unknown): z.infer<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new KubeError(
    'internal',
    failureStatus(500, 'InternalError', 'the API answered an unexpected shape'),
    {
      cause: result.error,
    },
  );
}
