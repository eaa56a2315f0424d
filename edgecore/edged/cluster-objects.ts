/**
 * Reads of configMaps, secrets and service-account tokens through MetaManager, which answers from the store or
 * asks the cloud. Nothing is kept here: what MetaManager holds is what the pod gets.
 */

import { z } from 'zod';
import type { Bus } from '#beehive/bus.ts';
import type { Clock } from '#beehive/clock.ts';
import { BusError } from '#beehive/errors.ts';
import { HawserError } from '#protocol/errors.ts';
import { newEnvelope } from '#protocol/message.ts';
import { group, noNamespace, operation, source } from '#protocol/names.ts';

/** The object may exist, but cannot be read now. */
export class ObjectUnavailableError extends HawserError<{ code: 'object-unavailable'; resource: string }> {}

export type ObjectData = ReadonlyMap<string, Buffer>;

export interface TokenRequest {
  readonly audience: string | undefined;
  readonly expirationSeconds: number;
  readonly pod: { readonly name: string; readonly uid: string };
}

export interface ClusterObjects {
  /** The entries of a configMap or secret; undefined when there is none. @throws ObjectUnavailableError */
  data(kind: 'configmap' | 'secret', namespace: string, name: string): Promise<ObjectData | undefined>;
  /** @throws ObjectUnavailableError */
  token(
    namespace: string,
    serviceAccount: string,
    request: TokenRequest,
  ): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
}

/** What the volumes of a pod may lead to; undefined when there is none. @throws ObjectUnavailableError */
export interface ClaimObjects {
  claim(namespace: string, name: string): Promise<unknown>;
  persistentVolume(name: string): Promise<unknown>;
}

const dataSchema = z.looseObject({
  metadata: z.looseObject({ name: z.string() }),
  data: z.record(z.string(), z.string()).nullish(),
  binaryData: z.record(z.string(), z.string()).nullish(),
});
const tokenSchema = z.looseObject({
  status: z.looseObject({ token: z.string().min(1), expirationTimestamp: z.string() }),
});

const answerTimeoutMs = 65_000;

export function createClusterObjects(components: { bus: Bus; clock: Clock }): ClusterObjects & ClaimObjects {
  const query = (resource: string, content: unknown) => ask(components, resource, content);
  const object = async (resource: string): Promise<unknown> => {
    const answer = await query(resource, null);
    if ('content' in answer) return answer.content;
    if (/\bnot found\b/i.test(answer.error)) return undefined;
    throw unavailable(resource, `cannot read ${resource}: ${answer.error}`);
  };
  return {
    async data(kind, namespace, name) {
      return readEntries(kind, await object(`${namespace}/${kind}/${name}`));
    },
    claim: (namespace, name) => object(`${namespace}/persistentvolumeclaim/${name}`),
    persistentVolume: (name) => object(`${noNamespace}/persistentvolume/${name}`),

    async token(namespace, serviceAccount, request) {
      const resource = `${namespace}/serviceaccounttoken/${serviceAccount}`;
      const answer = await query(resource, tokenRequest(request));
      const what = `no token for service account ${namespace}/${serviceAccount}`;
      if ('error' in answer) throw unavailable(resource, `${what}: ${answer.error}`);
      const parsed = tokenSchema.safeParse(answer.content);
      if (!parsed.success) throw unavailable(resource, `${what}: the answer holds none`);
      const { token, expirationTimestamp } = parsed.data.status;
      return { token, expiresAtMs: Date.parse(expirationTimestamp) };
    },
  };
}

async function ask(
  { bus, clock }: { bus: Bus; clock: Clock },
  resource: string,
  content: unknown,
): Promise<{ readonly content: unknown } | { readonly error: string }> {
  const route = { source: source.edged, group: group.meta, operation: operation.query, resource };
  const question = newEnvelope(route, content, { timestampMs: clock.now() });
  try {
    const answer = await bus.request('metamanager', question, { timeoutMs: answerTimeoutMs });
    if (answer.route.operation === operation.error) return { error: String(answer.content).slice(0, 500) };
    return { content: answer.content };
  } catch (error) {
    if (error instanceof BusError) throw unavailable(resource, `cannot read ${resource}`, error);
    throw error;
  }
}

/** Undefined for what is no such object: a KubeEdge cloud answers a failed query with something else. */
function readEntries(kind: 'configmap' | 'secret', content: unknown): ObjectData | undefined {
  const parsed = dataSchema.safeParse(content);
  if (!parsed.success) return undefined;
  const entries = new Map<string, Buffer>();
  const encoding = kind === 'secret' ? 'base64' : 'utf8';
  for (const [key, value] of Object.entries(parsed.data.data ?? {}))
    entries.set(key, Buffer.from(value, encoding));
  for (const [key, value] of Object.entries(parsed.data.binaryData ?? {}))
    entries.set(key, Buffer.from(value, 'base64'));
  return entries;
}

function tokenRequest({ audience, expirationSeconds, pod }: TokenRequest): unknown {
  return {
    metadata: { creationTimestamp: null },
    spec: {
      audiences: audience === undefined ? null : [audience],
      expirationSeconds,
      boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: pod.name, uid: pod.uid },
    },
    status: { token: '', expirationTimestamp: null },
  };
}

function unavailable(resource: string, message: string, cause?: unknown): ObjectUnavailableError {
  return new ObjectUnavailableError(message, { code: 'object-unavailable', resource }, { cause });
}
