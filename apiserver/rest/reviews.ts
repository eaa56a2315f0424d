/** Access and token reviews: questions that are created, answered and not kept. */

import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Authorizer } from '../auth/authorizer.ts';
import type { Attributes } from '../auth/rbac.ts';
import { type ServiceAccountTokens, standardAudience } from '../auth/service-account-tokens.ts';
import type { User } from '../auth/user.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../kube-object.ts';
import { apiVersionOf, type ResourceDefinition } from '../resource-definition.ts';
import { badRequest } from '../status-error.ts';
import { parseBody, readBody } from './body.ts';
import { answer, type Exchange } from './exchange.ts';
import type { ResourceRequest } from './request-info.ts';

const accessSpecSchema = z.looseObject({
  user: z.string().nullish(),
  groups: z.array(z.string()).nullish(),
  resourceAttributes: z
    .looseObject({
      namespace: z.string().nullish(),
      verb: z.string().nullish(),
      group: z.string().nullish(),
      resource: z.string().nullish(),
      subresource: z.string().nullish(),
      name: z.string().nullish(),
    })
    .nullish(),
  nonResourceAttributes: z.looseObject({ path: z.string().nullish(), verb: z.string().nullish() }).nullish(),
});

const tokenSpecSchema = z.looseObject({ token: z.string(), audiences: z.array(z.string()).nullish() });

export class Reviews {
  readonly #authorizer: Authorizer;
  readonly #tokens: ServiceAccountTokens;

  constructor(authorizer: Authorizer, tokens: ServiceAccountTokens) {
    this.#authorizer = authorizer;
    this.#tokens = tokens;
  }

  async handle(exchange: Exchange<ResourceRequest>, definition: ResourceDefinition): Promise<void> {
    const body = parseBody(await readBody(exchange.request));
    const spec = isJsonObject(body) && isJsonObject(body.spec) ? body.spec : {};
    const status = await this.#review(definition.kind, spec, exchange);
    answer(exchange, 201, {
      kind: definition.kind,
      apiVersion: apiVersionOf(definition),
      metadata: { creationTimestamp: null, uid: randomUUID() },
      ...(definition.kind === 'SelfSubjectReview' ? {} : { spec }),
      status,
    });
  }

  async #review(
    kind: string,
    spec: JsonObject,
    { user, info }: Exchange<ResourceRequest>,
  ): Promise<JsonObject> {
    switch (kind) {
      case 'SelfSubjectReview':
        return { userInfo: userInfo(user) };
      case 'SelfSubjectAccessReview':
        return this.#access(user, accessSpec(spec));
      case 'SelfSubjectRulesReview':
        return this.#rules(user, typeof spec.namespace === 'string' ? spec.namespace : 'default');
      case 'TokenReview':
        return this.#token(spec);
      default: {
        const parsed = accessSpec(spec);
        const about = { name: parsed.user ?? '', groups: parsed.groups ?? [] };
        const attributes = parsed.resourceAttributes;
        const within =
          attributes == null
            ? attributes
            : { ...attributes, namespace: info.namespace ?? attributes.namespace };
        return this.#access(about, { ...parsed, resourceAttributes: within });
      }
    }
  }

  #access(user: User, spec: z.infer<typeof accessSpecSchema>): JsonObject {
    const attributes = attributesOf(spec);
    const allowed = this.#authorizer.allows(user, attributes);
    return { allowed, ...(allowed ? {} : { reason: 'no role that is bound to the user allows it' }) };
  }

  #rules(user: User, namespace: string): JsonObject {
    const all = {
      verbs: ['*'],
      apiGroups: ['*'],
      resources: ['*'],
      resourceNames: [],
      nonResourceURLs: ['*'],
    };
    const rules = user.groups.includes('system:masters') ? [all] : this.#authorizer.rules(user, namespace);
    const list = (values: readonly string[]): JsonValue => [...values];
    return {
      incomplete: false,
      resourceRules: rules
        .filter(({ resources }) => resources.length > 0)
        .map(({ verbs, apiGroups, resources, resourceNames }) => ({
          verbs: list(verbs),
          apiGroups: list(apiGroups),
          resources: list(resources),
          ...(resourceNames.length === 0 ? {} : { resourceNames: list(resourceNames) }),
        })),
      nonResourceRules: rules
        .filter(({ nonResourceURLs }) => nonResourceURLs.length > 0)
        .map(({ verbs, nonResourceURLs }) => ({
          verbs: list(verbs),
          nonResourceURLs: list(nonResourceURLs),
        })),
    };
  }

  async #token(spec: JsonObject): Promise<JsonObject> {
    const parsed = tokenSpecSchema.safeParse(spec);
    if (!parsed.success) throw badRequest(`not a TokenReview: ${z.prettifyError(parsed.error)}`);
    const audiences = parsed.data.audiences?.length ? parsed.data.audiences : [standardAudience];
    const verified = await this.#tokens.verify(parsed.data.token, audiences);
    if (verified === undefined) return { authenticated: false, user: {}, error: 'the token is not valid' };
    return { authenticated: true, user: userInfo(verified.user), audiences: [...verified.audiences] };
  }
}

function accessSpec(spec: JsonObject): z.infer<typeof accessSpecSchema> {
  const parsed = accessSpecSchema.safeParse(spec);
  if (!parsed.success) throw badRequest(`not an access review: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function attributesOf(spec: z.infer<typeof accessSpecSchema>): Attributes {
  const { resourceAttributes: about, nonResourceAttributes: path } = spec;
  if (about != null) {
    return {
      verb: about.verb ?? '',
      group: about.group ?? '',
      plural: about.resource ?? '',
      subresource: about.subresource || undefined,
      namespace: about.namespace || undefined,
      name: about.name || undefined,
    };
  }
  if (path != null) return { verb: path.verb ?? '', path: path.path ?? '' };
  throw badRequest('exactly one of resourceAttributes or nonResourceAttributes must be specified');
}

function userInfo(user: User): JsonObject {
  return {
    username: user.name,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: [...user.groups],
    ...(user.extra === undefined
      ? {}
      : { extra: Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]])) }),
  };
}
