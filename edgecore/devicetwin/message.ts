/** DeviceTwin's door: which of its few kinds an envelope is, with the content parsed. */

import { ProtocolError } from '#protocol/errors.ts';
import type { Envelope } from '#protocol/message.ts';
import { connection, operation, source } from '#protocol/names.ts';
import { parseObjectPath } from '#protocol/resource-path.ts';
import { type Device, deviceSchema } from '#protocol/resources/device.ts';
import { type DeviceModel, deviceModelSchema } from '#protocol/resources/device-model.ts';
import { type LocalTopic, parseLocalTopic } from '#protocol/topics.ts';
import {
  type AttributeUpdate,
  attributesUpdateSchema,
  type Member,
  type Membership,
  memberListSchema,
  membershipSchema,
  type TwinUpdate,
  twinUpdateSchema,
} from '#protocol/twin.ts';

export type TwinMessage =
  | { readonly kind: 'client'; readonly topic: LocalTopic; readonly payload: string }
  | { readonly kind: 'connection'; readonly connected: boolean }
  | { readonly kind: 'membership'; readonly membership: Membership }
  | { readonly kind: 'members'; readonly members: readonly Member[] }
  | { readonly kind: 'cloud-twin'; readonly id: string; readonly update: TwinUpdate }
  | {
      readonly kind: 'attributes';
      readonly id: string;
      readonly attributes: AttributeUpdate | null | undefined;
    }
  | { readonly kind: 'device'; readonly id: string; readonly object: Device }
  | { readonly kind: 'device-gone'; readonly id: string; readonly uid: string | undefined }
  | { readonly kind: 'model'; readonly key: string; readonly model: DeviceModel | undefined }
  | { readonly kind: 'other'; readonly reason: string };

/** What a cloud says of one device's twin and attributes. */
const deviceResource = /^device\/([^/]+\/[^/]+?)(?:\/(twin\/cloud_updated|updated))?$/;

/** @throws ProtocolError `malformed-content`, `malformed-path` */
export function openMessage(envelope: Envelope): TwinMessage {
  const { route, content, header } = envelope;
  if (route.source === source.bus) return openClient(route.resource, content);
  if (route.resource === connection.resource) {
    return { kind: 'connection', connected: content === connection.connected };
  }
  if (route.source === source.meta) return openObject(envelope);
  if (header.parent_msg_id !== undefined) {
    return { kind: 'other', reason: 'a confirmation that nobody waits for any more' };
  }
  if (route.resource.includes('membership/detail')) {
    const parsed = memberListSchema.safeParse(content);
    if (!parsed.success) throw malformed(envelope, parsed.error.issues);
    return { kind: 'members', members: parsed.data.devices ?? [] };
  }
  const [, id, what] = deviceResource.exec(route.resource) ?? [];
  if (id !== undefined && what === 'twin/cloud_updated') {
    const parsed = twinUpdateSchema.safeParse(content);
    if (!parsed.success) throw malformed(envelope, parsed.error.issues);
    return { kind: 'cloud-twin', id, update: parsed.data };
  }
  if (
    id !== undefined &&
    (what === 'updated' || (what === undefined && route.operation.includes('updated')))
  ) {
    const parsed = attributesUpdateSchema.safeParse(content);
    if (!parsed.success) throw malformed(envelope, parsed.error.issues);
    return { kind: 'attributes', id, attributes: parsed.data.attributes };
  }
  if (route.resource.includes('membership')) {
    const parsed = membershipSchema.safeParse(content);
    if (!parsed.success) throw malformed(envelope, parsed.error.issues);
    return { kind: 'membership', membership: parsed.data };
  }
  return { kind: 'other', reason: `nothing to do for ${route.operation} of ${route.resource}` };
}

function openClient(topic: string, content: unknown): TwinMessage {
  const local = parseLocalTopic(topic);
  if (local === undefined || typeof content !== 'string') {
    return { kind: 'other', reason: `no request is made on topic ${topic.slice(0, 200)}` };
  }
  // The name on the topic is no proof: only the cloud may speak for the cloud, and it does so over the wire.
  if (local.kind === 'twin/cloud_updated') {
    return { kind: 'other', reason: `a client may not speak for the cloud: ${topic.slice(0, 200)}` };
  }
  return { kind: 'client', topic: local, payload: content };
}

function openObject(envelope: Envelope): TwinMessage {
  const { route, content } = envelope;
  const path = parseObjectPath(route.resource);
  if (path.namespace === undefined || path.name === undefined) {
    return { kind: 'other', reason: `${route.resource} names no device` };
  }
  const id = `${path.namespace}/${path.name}`;
  const gone = route.operation === operation.delete;
  if (path.type === 'device') {
    const parsed = deviceSchema.safeParse(content);
    if (gone) return { kind: 'device-gone', id, uid: parsed.data?.metadata.uid };
    if (!parsed.success) throw malformed(envelope, parsed.error.issues);
    return { kind: 'device', id, object: parsed.data };
  }
  if (path.type === 'devicemodel') {
    if (gone) return { kind: 'model', key: id, model: undefined };
    const parsed = deviceModelSchema.safeParse(content);
    if (!parsed.success) throw malformed(envelope, parsed.error.issues);
    return { kind: 'model', key: id, model: parsed.data };
  }
  return { kind: 'other', reason: `${route.resource} is neither device nor devicemodel` };
}

function malformed(
  { route }: Envelope,
  issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[],
): ProtocolError {
  const texts = issues.map((issue) => `${issue.path.map(String).join('.')}: ${issue.message}`);
  return new ProtocolError(`${route.resource} does not fit its kind: ${texts.join('; ')}`, {
    code: 'malformed-content',
    kind: route.resource,
    issues: texts,
  });
}
