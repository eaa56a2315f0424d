/**
 * Payloads about devices: twin, membership and state, over MQTT and between the two ends, with the codes,
 * limits and texts that KubeEdge's clients know. What an update does is DeviceTwin's business, not this file's.
 */

import { z } from 'zod';

const head = { event_id: z.string().default(''), timestamp: z.number().default(0) };

/** Counted apart for expected and actual: writes by the cloud and writes at the edge. */
export const twinVersionSchema = z.looseObject({
  cloud: z.number().default(0),
  edge: z.number().default(0),
});

/** One side of a property. Timestamps that clients send are not used. */
export const twinSideSchema = z.looseObject({
  value: z.string().optional(),
  metadata: z.looseObject({ timestamp: z.number().optional() }).nullish(),
});

export const twinEntrySchema = z.looseObject({
  expected: twinSideSchema.nullish(),
  actual: twinSideSchema.nullish(),
  optional: z.boolean().nullish(),
  metadata: z.looseObject({ type: z.string().optional() }).nullish(),
  expected_version: twinVersionSchema.nullish(),
  actual_version: twinVersionSchema.nullish(),
});

/** Null deletes the property (in a request) or says that it is gone (in a result). */
export const twinMapSchema = z.record(z.string(), twinEntrySchema.nullable());

export const twinUpdateSchema = z.looseObject({ ...head, twin: twinMapSchema });
export const twinGetSchema = z.looseObject(head);
export const twinResultSchema = z.looseObject({ ...head, twin: twinMapSchema });
export const twinDocumentSchema = z.looseObject({
  ...head,
  twin: z.record(
    z.string(),
    z.looseObject({ last: twinEntrySchema.nullable(), current: twinEntrySchema.nullable() }),
  ),
});
export const twinDeltaSchema = z.looseObject({
  ...head,
  twin: twinMapSchema,
  delta: z.record(z.string(), z.string()),
});

/** What a `…/result` topic carries instead when the request failed. */
export const twinErrorSchema = z.looseObject({ ...head, code: z.number(), reason: z.string() });

/** `device/<ns>/<name>/twin/edge_updated`: what changed at the edge, with versions. */
export const twinReportSchema = twinUpdateSchema;

/** MQTT `state/update`. A mapper's DMI library writes the field as `State`; Go did not mind. */
export const stateUpdateSchema = z
  .looseObject({ ...head, state: z.string().optional(), State: z.string().optional() })
  .transform(({ event_id, timestamp, state, State }) => ({
    event_id,
    timestamp,
    state: state ?? State ?? '',
  }));

/** MQTT `state/update/result`, and the text that goes up as `device/<ns>/<name>/state/update`. */
export const stateReportSchema = z.looseObject({
  ...head,
  device: z.looseObject({
    name: z.string().optional(),
    state: z.string().optional(),
    lastOnlineTime: z.string().optional(),
  }),
});

export const deviceEntrySchema = z.looseObject({
  id: z.string(),
  name: z.string().optional(),
  description: z.string().optional(),
  state: z.string().optional(),
  last_online: z.string().optional(),
});

/** Downstream `membership`, and MQTT `membership/updated`; the unused list is null. */
export const membershipUpdateSchema = z.looseObject({
  ...head,
  added_devices: z.array(deviceEntrySchema).nullish(),
  removed_devices: z.array(deviceEntrySchema).nullish(),
});

export const membershipGetSchema = z.looseObject(head);
export const membershipListSchema = z.looseObject({ ...head, devices: z.array(deviceEntrySchema) });

/** Upstream `membership/detail`, sent as text. */
export const membershipDetailSchema = z.looseObject({
  ...head,
  event_type: z.string().optional(),
  group_id: z.string().optional(),
  operation: z.string().optional(),
});

export type TwinVersion = z.infer<typeof twinVersionSchema>;
export type TwinSide = z.infer<typeof twinSideSchema>;
export type TwinEntry = z.infer<typeof twinEntrySchema>;
export type TwinMap = z.infer<typeof twinMapSchema>;
export type TwinUpdate = z.infer<typeof twinUpdateSchema>;
export type TwinResult = z.infer<typeof twinResultSchema>;
export type TwinDocument = z.infer<typeof twinDocumentSchema>;
export type TwinDelta = z.infer<typeof twinDeltaSchema>;
export type TwinError = z.infer<typeof twinErrorSchema>;
export type TwinReport = z.infer<typeof twinReportSchema>;
export type StateUpdate = z.infer<typeof stateUpdateSchema>;
export type StateReport = z.infer<typeof stateReportSchema>;
export type DeviceEntry = z.infer<typeof deviceEntrySchema>;
export type MembershipUpdate = z.infer<typeof membershipUpdateSchema>;
export type MembershipList = z.infer<typeof membershipListSchema>;
export type MembershipDetail = z.infer<typeof membershipDetailSchema>;

export const twinCode = { badRequest: 400, notFound: 404, internal: 500 } as const;

/** Reasons as clients of KubeEdge know them, recorded from v1.23.1 where a recording exists. */
export const twinReason = {
  badBody: 'Unmarshal update request body failed, please check the request',
  noTwin: 'Update twin error, key:twin does not exist',
  badKey:
    'The key of twin must only include upper or lowercase letters, number, english, and special letter - _ . , : / @ # and the length of key should be less than 128 bytes',
  badValue:
    'The value of twin must only include upper or lowercase letters, number, english, and special letter - _ . , : / @ # and the length of value should be less than 512 bytes',
  notInt: 'the value is not int or integer',
  notFloat: 'the value is not float',
  notBoolean: 'the bool value must be true or false',
  badType: 'the value type is not allowed',
  unknownDevice: 'update rejected due to the device is not existed',
  notFoundOnGet: (deviceId: string) => `Device ${deviceId} not found while getting twin`,
  badGetBody: (body: string) => `Unmarshal twin info ${body} failed`,
} as const;

/** States that a device may report, compared in lower case; any other is dropped without an answer. */
export const deviceStates = ['ok', 'online', 'offline', 'unhealthy', 'unknown'] as const;

const keyPattern = /^[A-Za-z0-9\-_.,:/@#]{1,128}$/;
const valuePattern = /^[A-Za-z0-9\-_.,:/@#]{0,512}$/;

export function isTwinKey(key: string): boolean {
  return keyPattern.test(key) && key !== '__proto__';
}

export function isTwinValue(value: string): boolean {
  return valuePattern.test(value);
}

/** Why a value does not fit a property of this type; undefined when it does. */
export function twinValueFault(type: string, value: string): string | undefined {
  switch (type) {
    case '':
    case 'string':
    case 'deleted':
      return undefined;
    case 'int':
    case 'integer':
      return isInt64(value) ? undefined : twinReason.notInt;
    case 'float':
      return /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(value) ? undefined : twinReason.notFloat;
    case 'boolean':
      return value === 'true' || value === 'false' ? undefined : twinReason.notBoolean;
    default:
      return twinReason.badType;
  }
}

function isInt64(text: string): boolean {
  if (!/^[+-]?\d{1,512}$/.test(text)) return false;
  const value = BigInt(text.replace(/^\+/, ''));
  return BigInt.asIntN(64, value) === value;
}
