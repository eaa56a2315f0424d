/**
 * The table of message kinds: `<resource kind>/<operation>` → what the resource names and what the content is.
 * Kinds that are not here pass through hubs unharmed and are opened by nobody. Where a row carries its
 * content as JSON text inside the JSON (wire 4.4), `asText` says so.
 */

import { z } from 'zod';
import { httpRequestSchema, httpResponseSchema } from './http-call.ts';
import { ok } from './names.ts';
import { configMapSchema } from './resources/configmap.ts';
import { deleteOptionsSchema } from './resources/delete-options.ts';
import { deviceSchema } from './resources/device.ts';
import { deviceModelSchema } from './resources/device-model.ts';
import { eventPatchSchema, eventSchema } from './resources/event.ts';
import { leaseSchema } from './resources/lease.ts';
import { nodeSchema } from './resources/node.ts';
import { kubeObjectSchema } from './resources/object.ts';
import { objectRespSchema, queryFailureSchema } from './resources/object-resp.ts';
import { podSchema } from './resources/pod.ts';
import { secretSchema } from './resources/secret.ts';
import { tokenRequestSchema } from './resources/token-request.ts';
import { heldAnswerSchema, heldSchema } from './session.ts';
import { membershipDetailSchema, membershipSchema, stateReportSchema, twinUpdateSchema } from './twin.ts';

/** What `route.resource` names: an object, a device, an MQTT topic, or nothing beyond the kind. */
export type Names = 'object' | 'device' | 'topic' | 'nothing';

export interface CatalogueEntry {
  readonly names: Names;
  readonly content: z.ZodType;
  readonly asText: boolean;
}

/** A query carries nothing, and nobody looks. */
const nothing = z.unknown();
/** Text of a strategic merge patch; opaque until the API merges it. */
const patchText = z.string();

export const catalogue = {
  ack: row('nothing', z.literal(ok)),
  error: row('nothing', z.string()),
  keepalive: row('nothing', nothing),

  'node/query': row('object', nothing),
  'node/insert': row('object', nodeSchema),
  'node/update': row('object', nodeSchema),
  'node/delete': row('object', kubeObjectSchema),
  'node/response': row('object', z.union([objectRespSchema, nodeSchema])),
  'nodepatch/patch': row('object', patchText),
  'nodepatch/response': row('object', objectRespSchema),

  'lease/query': row('object', nothing),
  'lease/insert': row('object', leaseSchema),
  'lease/update': row('object', leaseSchema),
  'lease/response': row('object', objectRespSchema),

  'pod/query': row('object', nothing),
  'pod/insert': row('object', podSchema),
  'pod/update': row('object', podSchema),
  /** Downstream: the last object, or its name, namespace and uid. */
  'pod/delete': row('object', kubeObjectSchema),
  /** Upstream: the edge is done with the pod. Old edges send the bare uid. */
  'pod/delete-request': row('object', z.union([deleteOptionsSchema, z.string()])),
  'pod/response': row('object', z.union([objectRespSchema, z.array(podSchema), podSchema])),
  'podpatch/patch': row('object', patchText),
  'podpatch/response': row('object', objectRespSchema),

  'configmap/query': row('object', nothing),
  'configmap/insert': row('object', configMapSchema),
  'configmap/update': row('object', configMapSchema),
  'configmap/delete': row('object', kubeObjectSchema),
  'configmap/response': row('object', z.union([configMapSchema, queryFailureSchema])),

  'secret/query': row('object', nothing),
  'secret/insert': row('object', secretSchema),
  'secret/update': row('object', secretSchema),
  'secret/delete': row('object', kubeObjectSchema),
  'secret/response': row('object', z.union([secretSchema, queryFailureSchema])),

  'serviceaccounttoken/query': row('object', tokenRequestSchema),
  'serviceaccounttoken/response': row('object', z.union([tokenRequestSchema, queryFailureSchema])),

  'event/insert': row('object', eventSchema),
  'event/update': row('object', eventSchema),
  'event/patch': row('object', eventPatchSchema),

  'device/query': row('object', nothing),
  'device/insert': row('object', deviceSchema),
  'device/update': row('object', deviceSchema),
  'device/delete': row('object', kubeObjectSchema),
  'device/response': row('object', z.union([z.array(deviceSchema), deviceSchema])),
  'devicemodel/insert': row('object', deviceModelSchema),
  'devicemodel/update': row('object', deviceModelSchema),
  'devicemodel/delete': row('object', kubeObjectSchema),

  'membership/update': row('nothing', membershipSchema),
  'membership-detail/get': row('nothing', membershipDetailSchema, 'as text'),
  'devicetwin/update': row('device', twinUpdateSchema),
  'devicestate/update': row('device', stateReportSchema, 'as text'),

  'topic/upload': row('topic', z.string()),
  'topic/publish': row('topic', z.string()),
  'topic/subscribe': row('topic', nothing),
  'topic/unsubscribe': row('topic', nothing),

  /** A call through a rule: `<port>:<path>`, the operation is the HTTP method. */
  'servicebus/call': row('nothing', httpRequestSchema),
  'servicebus/answer': row('nothing', httpResponseSchema),
  /** What an app at the edge asks of the cloud, as base64 text of its JSON. */
  'servicebus/ask': row('nothing', z.string()),
  'servicebus/start': row('nothing', nothing),
  'servicebus/stop': row('nothing', nothing),

  'session/update': row('nothing', heldSchema),
  'session/response': row('nothing', heldAnswerSchema),

  /** EdgeHub's news on the edge's own bus; never on the wire. */
  'connection/connect': row('nothing', z.enum(['cloud_connected', 'cloud_disconnected'])),
} as const satisfies Readonly<Record<string, CatalogueEntry>>;

export type MessageKind = keyof typeof catalogue;
export type ContentOf<K extends MessageKind> = z.infer<(typeof catalogue)[K]['content']>;

export function isMessageKind(text: string): text is MessageKind {
  return Object.hasOwn(catalogue, text);
}

function row<N extends Names, S extends z.ZodType>(
  names: N,
  content: S,
  form?: 'as text',
): { readonly names: N; readonly content: S; readonly asText: boolean } {
  return { names, content, asText: form === 'as text' };
}
