/**
 * Where a message goes, decided from its header and route alone: up from a node to the controllers, down from
 * a controller to a node. Content is not read here. The certificate of the connection says which node it is;
 * what an edge writes into a resource cannot change that, since the node is put in front of it.
 */

import { ProtocolError } from '#protocol/errors.ts';
import type { Envelope } from '#protocol/message.ts';
import { group, operation, source } from '#protocol/names.ts';
import { parseObjectPath, splitNode, withNode } from '#protocol/resource-path.ts';
import type { SessionKind } from '#protocol/session.ts';

export type Controller = 'edgecontroller' | 'devicecontroller' | 'router';
export type DropReason = 'forged-source' | 'malformed' | 'no-module';

export type Upstream =
  | { readonly kind: 'keepalive' }
  | { readonly kind: 'acknowledged'; readonly messageId: string }
  | { readonly kind: 'refused'; readonly messageId: string }
  | { readonly kind: 'forward'; readonly to: readonly Controller[]; readonly envelope: Envelope }
  | { readonly kind: 'dropped'; readonly reason: DropReason };

export type Downstream =
  /** Acknowledged and kept until then. */
  | { readonly kind: 'object'; readonly node: string; readonly envelope: Envelope }
  /** Sent once. */
  | { readonly kind: 'oneShot'; readonly node: string; readonly envelope: Envelope }
  /** The Node itself is gone: nothing is sent, its session ends (wire 3.5). */
  | { readonly kind: 'nodeDeleted'; readonly node: string };

const resourceCharsMax = 2048;

/** Sources that only the cloud has (wire 4.1); in upper case as KubeEdge writes one of them. */
const cloudSources: ReadonlySet<string> = new Set([
  source.cloudHub,
  'cloudStream',
  source.edgeController,
  source.deviceController,
  'synccontroller',
]);

/** Groups and sources of modules that this cloudcore does not have. */
const groupsWithoutModule: ReadonlySet<string> = new Set([group.hub, group.taskManager]);
const sourcesWithoutModule: ReadonlySet<string> = new Set([source.metaServer]);

const objectOperations: ReadonlySet<string> = new Set([operation.insert, operation.update, operation.delete]);

export function dispatchUp(envelope: Envelope, node: string, session: SessionKind): Upstream {
  const { header, route } = envelope;
  if (route.operation === operation.keepalive) return { kind: 'keepalive' };
  if (route.group === group.user) return ofRules(envelope, node);
  if (route.operation === operation.response || route.operation === operation.error) {
    const messageId = header.parent_msg_id;
    if (!messageId) return { kind: 'dropped', reason: 'malformed' };
    return { kind: route.operation === operation.error ? 'refused' : 'acknowledged', messageId };
  }
  if (cloudSources.has(route.source)) return { kind: 'dropped', reason: 'forged-source' };
  if (route.resource === '' || route.resource.length > resourceCharsMax)
    return { kind: 'dropped', reason: 'malformed' };
  if (groupsWithoutModule.has(route.group) || sourcesWithoutModule.has(route.source))
    return { kind: 'dropped', reason: 'no-module' };
  const forwarded = { ...envelope, route: { ...route, resource: withNode(node, route.resource) } };
  if (route.group === group.session) {
    if (session !== 'hawser') return { kind: 'dropped', reason: 'malformed' };
    const to: Controller[] = ['edgecontroller', 'devicecontroller', 'router'];
    return { kind: 'forward', to, envelope: forwarded };
  }
  const to = route.source === source.twin ? 'devicecontroller' : 'edgecontroller';
  return { kind: 'forward', to: [to], envelope: forwarded };
}

/** What edges say to rules; answers of ServiceBus name no resource, and those of KubeEdge's no operation (wire 9.2). */
const ruleSources: ReadonlySet<string> = new Set([source.bus, source.serviceBus, source.routerEventBus]);

function ofRules(envelope: Envelope, node: string): Upstream {
  const { header, route } = envelope;
  const isAnswer = Boolean(header.parent_msg_id);
  const isMeant = route.operation === operation.upload || isAnswer;
  if (!ruleSources.has(route.source) || !isMeant || route.resource.length > resourceCharsMax)
    return { kind: 'dropped', reason: 'malformed' };
  if (route.resource === '' && !isAnswer) return { kind: 'dropped', reason: 'malformed' };
  const forwarded = { ...envelope, route: { ...route, resource: withNode(node, route.resource) } };
  return { kind: 'forward', to: ['router'], envelope: forwarded };
}

/** @throws ProtocolError `malformed-path` when a controller sent something without a node. */
export function dispatchDown(envelope: Envelope): Downstream {
  const { node, path } = splitNode(envelope.route.resource);
  const onWire = { ...envelope, route: { ...envelope.route, resource: path } };
  if (!isObject(onWire)) return { kind: 'oneShot', node, envelope: onWire };
  const { type, name } = parseObjectPath(path);
  const isOwnNode = type === 'node' && name === node;
  if (isOwnNode && envelope.route.operation === operation.delete) return { kind: 'nodeDeleted', node };
  return { kind: 'object', node, envelope: onWire };
}

function isObject({ header, route }: Envelope): boolean {
  if (header.parent_msg_id || route.group !== group.resource || !objectOperations.has(route.operation))
    return false;
  try {
    return parseObjectPath(route.resource).name !== undefined;
  } catch (error) {
    if (error instanceof ProtocolError) return false;
    throw error;
  }
}
