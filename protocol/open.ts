/**
 * Envelope → Message at a module's door, and content back into an envelope. Classification goes by position
 * in the resource, never by what it contains: a pod may be called `membership`.
 */

import {
  type CatalogueEntry,
  type ContentOf,
  catalogue,
  isMessageKind,
  type MessageKind,
  type Names,
} from './catalogue.ts';
import { ProtocolError } from './errors.ts';
import { frameLimits } from './limits.ts';
import { type Envelope, newEnvelope, type Route } from './message.ts';
import { connection, group, ok, operation, source } from './names.ts';
import {
  type DeviceRef,
  type ObjectPath,
  parseDevicePath,
  parseObjectPath,
  splitNode,
} from './resource-path.ts';
import { heldResource } from './session.ts';
import { parseJson } from './wire/json.ts';

interface Named {
  readonly object: { readonly path: ObjectPath };
  readonly device: { readonly device: DeviceRef };
  readonly topic: { readonly topic: string };
  readonly nothing: unknown;
}

export type MessageOf<K extends MessageKind> = {
  readonly kind: K;
  readonly envelope: Envelope;
  readonly content: ContentOf<K>;
} & Named[(typeof catalogue)[K]['names']];

/** An envelope opened: told apart by `kind`, with content and names of their true types. */
export type Message = { [K in MessageKind]: MessageOf<K> }[MessageKind];

/** An envelope of a kind that is not in the catalogue. */
export interface UnknownMessage {
  readonly kind: 'unknown';
  readonly envelope: Envelope;
}

/** @throws ProtocolError `malformed-content` when the kind is known and the content does not fit it */
export function open(envelope: Envelope): Message | UnknownMessage {
  return openAs(envelope, envelope.route.resource);
}

/**
 * The same for the cloud's own form, `node/<node>/…` in front.
 * @throws ProtocolError `malformed-path`, `malformed-content`
 */
export function openFromNode(envelope: Envelope): {
  readonly node: string;
  readonly message: Message | UnknownMessage;
} {
  const { node, path } = splitNode(envelope.route.resource);
  return { node, message: openAs(envelope, path) };
}

/** The kind of an envelope, or undefined when the catalogue has none for it. */
export function kindOf(envelope: Envelope, resource = envelope.route.resource): MessageKind | undefined {
  const { route } = envelope;
  if (route.operation === operation.error) return 'error';
  if (route.operation === operation.response && envelope.content === ok) return 'ack';
  if (route.operation === operation.keepalive) return resource === 'node' ? 'keepalive' : undefined;
  const ofServiceBus = serviceBusKind(envelope);
  if (ofServiceBus !== undefined) return ofServiceBus;
  const kind = `${resourceKindOf(route, resource)}/${operationWord(route, resource)}`;
  return isMessageKind(kind) ? kind : undefined;
}

/** An envelope whose content has the type that the kind asks for, in the form that the wire asks for. */
export function compose<K extends MessageKind>(
  kind: K,
  route: Route,
  content: ContentOf<K>,
  header: Parameters<typeof newEnvelope>[2] = {},
): Envelope {
  return newEnvelope(route, catalogue[kind].asText ? JSON.stringify(content) : content, header);
}

const objectPattern = /^[^/]+\/([^/]+)(?:\/[^/]+)?$/;
const topicOperations: ReadonlySet<string> = new Set([
  operation.upload,
  operation.publish,
  operation.subscribe,
  operation.unsubscribe,
]);

/** Messages of a rule to and from ServiceBus, told apart by who speaks and whether it is an answer (wire 9). */
function serviceBusKind({ header, route }: Envelope): MessageKind | undefined {
  if (route.group !== group.user) return undefined;
  const isAnswer = header.parent_msg_id !== undefined;
  if (route.source === source.serviceBus) return isAnswer ? 'servicebus/answer' : 'servicebus/ask';
  if (route.source !== source.routerServiceBus) return undefined;
  if (route.operation === operation.start) return 'servicebus/start';
  return route.operation === operation.stop ? 'servicebus/stop' : 'servicebus/call';
}

function resourceKindOf(route: Route, resource: string): string {
  if (route.group === group.session) return resource === heldResource ? 'session' : '';
  if (topicOperations.has(route.operation)) return 'topic';
  if (resource === connection.resource) return 'connection';
  if (resource === 'membership') return 'membership';
  if (resource === 'membership/detail') return 'membership-detail';
  const report = parseDevicePath(resource)?.report;
  if (report !== undefined) return report === 'twin/edge_updated' ? 'devicetwin' : 'devicestate';
  return objectPattern.exec(resource)?.[1] ?? '';
}

/** `delete` means two things: an object is gone (down), and may I remove it (up, from edged). */
function operationWord(route: Route, resource: string): string {
  const asked = route.operation === operation.delete && route.group === group.meta;
  return asked && objectPattern.exec(resource)?.[1] === 'pod' ? 'delete-request' : route.operation;
}

function openAs(envelope: Envelope, resource: string): Message | UnknownMessage {
  const kind = kindOf(envelope, resource);
  if (kind === undefined) return { kind: 'unknown', envelope };
  const entry: CatalogueEntry = catalogue[kind];
  const content = readContent(kind, entry, envelope.content);
  // The parts were made by the row of this very kind; TypeScript cannot follow the table that far.
  return { kind, envelope, content, ...namesOf(entry.names, resource) } as Message;
}

function readContent(kind: MessageKind, entry: CatalogueEntry, content: unknown): unknown {
  const value = entry.asText && typeof content === 'string' ? readText(kind, content) : content;
  const parsed = entry.content.safeParse(value);
  if (parsed.success) return parsed.data;
  throw misfit(
    kind,
    parsed.error.issues.slice(0, 10).map((issue) => `${issue.path.join('.') || 'content'}: ${issue.message}`),
  );
}

function readText(kind: MessageKind, text: string): unknown {
  try {
    return parseJson(text, frameLimits);
  } catch (error) {
    if (error instanceof ProtocolError) throw misfit(kind, [error.message]);
    throw error;
  }
}

function misfit(kind: MessageKind, issues: readonly string[]): ProtocolError {
  return new ProtocolError(`content of ${kind} does not fit: ${issues.join('; ')}`, {
    code: 'malformed-content',
    kind,
    issues,
  });
}

function namesOf(names: Names, resource: string): Partial<Named[Names] & object> {
  switch (names) {
    case 'object':
      return { path: parseObjectPath(resource) };
    case 'device':
      return { device: parseDevicePath(resource)?.device };
    case 'topic':
      return { topic: resource };
    case 'nothing':
      return {};
  }
}
