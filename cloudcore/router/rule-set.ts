/**
 * Rules and their endpoints → routes, and for each Rule that can make none the reason. Pure. KubeEdge refuses most of
 * this in a webhook that is not there by default; here the Rule exists and says in its status why it does nothing.
 */

import { z } from 'zod';
import { HawserError } from '#protocol/errors.ts';
import { ruleLimits } from '#protocol/limits.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { isTopicFilter } from '#protocol/topics.ts';
import { type PathPattern, parsePathPattern } from './path-pattern.ts';

/** `<namespace>/<name>` */
export type RuleKey = string;

export type EdgeTarget =
  | { readonly kind: 'eventbus'; readonly topic: string }
  | { readonly kind: 'servicebus'; readonly port: number; readonly path: string };

export interface RestRoute {
  readonly rule: RuleKey;
  readonly namespace: string;
  readonly pattern: PathPattern;
  readonly target: EdgeTarget;
}

/** What clients at a node publish. */
export interface UploadRoute {
  readonly rule: RuleKey;
  readonly node: string;
  /** `<namespace>/<topic>`, as the edge subscribes to it. */
  readonly filter: string;
  readonly url: URL;
}

/** What apps at a node ask. */
export interface AskRoute {
  readonly rule: RuleKey;
  readonly node: string;
  /** As apps name it. */
  readonly asked: string;
  readonly url: URL;
}

export interface RuleSet {
  readonly rest: readonly RestRoute[];
  /** By node. */
  readonly uploads: ReadonlyMap<string, readonly UploadRoute[]>;
  readonly asks: ReadonlyMap<string, readonly AskRoute[]>;
  readonly faults: ReadonlyMap<RuleKey, string>;
}

const resourceSchema = z.record(z.string(), z.string());
const ruleSchema = z.looseObject({
  spec: z.looseObject({
    source: z.string(),
    sourceResource: resourceSchema,
    target: z.string(),
    targetResource: resourceSchema,
  }),
});
const endpointSchema = z.looseObject({
  spec: z.looseObject({
    ruleEndpointType: z.enum(['rest', 'eventbus', 'servicebus']),
    properties: z.record(z.string(), z.unknown()).nullish(),
  }),
});

type Rule = z.infer<typeof ruleSchema>['spec'] & { readonly namespace: string; readonly key: RuleKey };
type Endpoint = z.infer<typeof endpointSchema>['spec'];

/** A Rule that cannot work; the message is for its owner. */
class RuleFault extends HawserError {
  constructor(message: string) {
    super(message, { code: 'rule-fault' });
  }
}

export function keyOfRule({ metadata }: KubeObject): RuleKey {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}

export function planRules(rules: Iterable<KubeObject>, endpoints: Iterable<KubeObject>): RuleSet {
  const known = new Map<string, Endpoint>();
  for (const endpoint of endpoints) {
    const parsed = endpointSchema.safeParse(endpoint);
    if (parsed.success) known.set(keyOfRule(endpoint), parsed.data.spec);
  }
  const rest: RestRoute[] = [];
  const uploads = new Map<string, UploadRoute[]>();
  const asks = new Map<string, AskRoute[]>();
  const faults = new Map<RuleKey, string>();
  /** What is taken → by which Rule. */
  const taken = new Map<string, RuleKey>();
  const claim = (what: string, text: string, rule: RuleKey) => {
    const holder = taken.get(what);
    if (holder !== undefined) throw new RuleFault(`${text} is the source of rule ${holder} already`);
    taken.set(what, rule);
  };
  for (const object of oldestFirst(rules)) {
    const key = keyOfRule(object);
    try {
      const rule = readRule(object);
      const [from, to] = [endpointOf(rule, 'source', known), endpointOf(rule, 'target', known)];
      switch (`${from.ruleEndpointType} to ${to.ruleEndpointType}`) {
        case 'rest to eventbus':
        case 'rest to servicebus': {
          const route = restRoute(rule, to);
          claim(`rest ${rule.namespace} ${route.pattern.key}`, `path "${rule.sourceResource.path}"`, key);
          rest.push(route);
          break;
        }
        case 'eventbus to rest': {
          const route = uploadRoute(rule);
          const of = uploads.get(route.node) ?? [];
          if (of.length >= ruleLimits.topicsMax)
            throw new RuleFault(`node ${route.node} has ${ruleLimits.topicsMax} topics of rules already`);
          claim(
            `topic ${route.node} ${route.filter}`,
            `topic "${rule.sourceResource.topic}" of node ${route.node}`,
            key,
          );
          uploads.set(route.node, [...of, route]);
          break;
        }
        case 'servicebus to rest': {
          const route = askRoute(rule);
          const of = asks.get(route.node) ?? [];
          if (of.length >= ruleLimits.urlsMax)
            throw new RuleFault(`node ${route.node} has ${ruleLimits.urlsMax} URLs of rules already`);
          claim(`url ${route.node} ${route.asked}`, `target_url "${route.asked}" of node ${route.node}`, key);
          asks.set(route.node, [...of, route]);
          break;
        }
        default:
          throw new RuleFault(
            `no rule leads from ${from.ruleEndpointType} to ${to.ruleEndpointType}; rest leads to eventbus and servicebus, and each of these to rest`,
          );
      }
    } catch (error) {
      if (!(error instanceof RuleFault)) throw error;
      faults.set(key, error.message);
    }
  }
  return { rest, uploads, asks, faults };
}

/** Who was there first keeps what two want. */
function oldestFirst(rules: Iterable<KubeObject>): KubeObject[] {
  const ageOf = ({ metadata }: KubeObject) => String(metadata.creationTimestamp ?? '');
  return [...rules]
    .filter(({ metadata }) => !metadata.deletionTimestamp)
    .sort((a, b) => compare(ageOf(a), ageOf(b)) || compare(keyOfRule(a), keyOfRule(b)));
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

function readRule(object: KubeObject): Rule {
  const parsed = ruleSchema.safeParse(object);
  if (!parsed.success) throw new RuleFault('spec needs source, sourceResource, target and targetResource');
  return { ...parsed.data.spec, namespace: object.metadata.namespace ?? '', key: keyOfRule(object) };
}

function endpointOf(rule: Rule, end: 'source' | 'target', known: ReadonlyMap<string, Endpoint>): Endpoint {
  const found = known.get(`${rule.namespace}/${rule[end]}`);
  if (found !== undefined) return found;
  throw new RuleFault(`there is no RuleEndpoint "${rule[end]}", which spec.${end} names, in this namespace`);
}

function restRoute(rule: Rule, to: Endpoint): RestRoute {
  const pattern = parsePathPattern(need(rule, 'sourceResource', 'path'));
  if (typeof pattern === 'string') throw new RuleFault(`sourceResource.path: ${pattern}`);
  const target = to.ruleEndpointType === 'eventbus' ? eventBusTarget(rule) : serviceBusTarget(rule, to);
  return { rule: rule.key, namespace: rule.namespace, pattern, target };
}

function eventBusTarget(rule: Rule): EdgeTarget {
  const topic = need(rule, 'targetResource', 'topic');
  if (/[+#\0]/.test(topic))
    throw new RuleFault('targetResource.topic: a topic to publish to has no wildcards');
  return { kind: 'eventbus', topic };
}

function serviceBusTarget(rule: Rule, { properties }: Endpoint): EdgeTarget {
  const path = need(rule, 'targetResource', 'path');
  if (/[?#\s]/.test(path))
    throw new RuleFault('targetResource.path: a path has no query, no fragment and no spaces');
  const port = Number(properties?.service_port ?? 0);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new RuleFault(
      `RuleEndpoint "${rule.target}" needs properties.service_port, a number from 1 to 65535`,
    );
  return { kind: 'servicebus', port, path: path.startsWith('/') ? path : `/${path}` };
}

function uploadRoute(rule: Rule): UploadRoute {
  const topic = need(rule, 'sourceResource', 'topic');
  const node = nodeOf(rule);
  // KubeEdge joins them like paths.
  const filter = `${rule.namespace}/${topic}`.replaceAll(/\/{2,}/g, '/');
  if (!isTopicFilter(filter)) throw new RuleFault('sourceResource.topic: not a topic filter of MQTT');
  return { rule: rule.key, node, filter, url: targetUrl(rule) };
}

function askRoute(rule: Rule): AskRoute {
  const asked = need(rule, 'sourceResource', 'target_url');
  return { rule: rule.key, node: nodeOf(rule), asked, url: targetUrl(rule) };
}

function nodeOf(rule: Rule): string {
  const node = need(rule, 'sourceResource', 'node_name');
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(node))
    throw new RuleFault('sourceResource.node_name: not the name of a node');
  return node;
}

function targetUrl(rule: Rule): URL {
  const text = need(rule, 'targetResource', 'resource');
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw new RuleFault('targetResource.resource: not an http or https URL');
  return url;
}

function need(rule: Rule, where: 'sourceResource' | 'targetResource', key: string): string {
  const value = Object.hasOwn(rule[where], key) ? rule[where][key] : undefined;
  if (value === undefined || value === '') throw new RuleFault(`${where} needs the key ${key}`);
  if (value.length <= ruleLimits.resourceCharsMax) return value;
  throw new RuleFault(`${where}.${key} has at most ${ruleLimits.resourceCharsMax} characters`);
}
