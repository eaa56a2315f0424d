/**
 * What is said about devices: over MQTT between mappers and the edge, and between the edge and the cloud. The
 * bodies' shapes only; which values are allowed is DeviceTwin's to decide.
 */

import { z } from 'zod';

const metadataSchema = z.looseObject({ timestamp: z.number().optional() });

/** One side of a property. Incoming timestamps are not used: the edge writes its own clock. */
export const twinSideSchema = z.looseObject({
  value: z.string(),
  metadata: metadataSchema.nullish(),
});

/** How often a side was written, at the cloud and at the edge. */
export const twinVersionSchema = z.object({ cloud: z.number(), edge: z.number() });

export const twinEntrySchema = z.looseObject({
  expected: twinSideSchema.nullish(),
  actual: twinSideSchema.nullish(),
  optional: z.boolean().nullish(),
  metadata: z.looseObject({ type: z.string().optional() }).nullish(),
  expected_version: twinVersionSchema.nullish(),
  actual_version: twinVersionSchema.nullish(),
});

export type TwinSide = z.infer<typeof twinSideSchema>;
export type TwinVersion = z.infer<typeof twinVersionSchema>;
export type TwinEntryBody = z.infer<typeof twinEntrySchema>;

const eventShape = { event_id: z.string().optional(), timestamp: z.number().optional() };

/** `twin/get`, `membership/get` */
export const eventRequestSchema = z.looseObject(eventShape);

/** `twin/update`; also the content of `device/<id>/twin/edge_updated` on the way to the cloud. */
export const twinUpdateSchema = z.looseObject({
  ...eventShape,
  twin: z.record(z.string(), twinEntrySchema.nullable()).nullish(),
});

/** `state/update`; field names match in any case, as Go reads them. */
export const stateUpdateSchema = z.preprocess(
  lowerCaseKeys,
  z.looseObject({ ...eventShape, state: z.string() }),
);

/** The content (text) of `device/<id>/state/update` on the way to the cloud, and the answer over MQTT. */
export const stateReportSchema = z.looseObject({
  ...eventShape,
  device: z.looseObject({
    name: z.string().optional(),
    state: z.string().optional(),
    lastOnlineTime: z.string().optional(),
  }),
});

/** Attributes by name; null takes one away. */
const attributesSchema = z
  .record(
    z.string(),
    z
      .looseObject({
        value: z.string().optional(),
        optional: z.boolean().nullish(),
        metadata: z.looseObject({ type: z.string().optional() }).nullish(),
      })
      .nullable(),
  )
  .nullish();

/** `device/<id>/updated` from the cloud. */
export const attributesUpdateSchema = z.looseObject({ ...eventShape, attributes: attributesSchema });

const memberSchema = z.looseObject({
  attributes: attributesSchema,
  id: z.string(),
  name: z.string().optional(),
  description: z.string().optional(),
});

/** `membership` from the cloud, `membership/updated` over MQTT. */
export const membershipSchema = z.looseObject({
  ...eventShape,
  added_devices: z.array(memberSchema).nullish(),
  removed_devices: z.array(memberSchema).nullish(),
});

/** `membership/detail` from the cloud: all devices of the node. */
export const memberListSchema = z.looseObject({ ...eventShape, devices: z.array(memberSchema).nullish() });

/** `membership/detail` towards the cloud, sent as text. */
export const membershipDetailSchema = z.looseObject({
  ...eventShape,
  event_type: z.string().optional(),
  group_id: z.string().optional(),
  operation: z.string().optional(),
});

export type TwinUpdate = z.infer<typeof twinUpdateSchema>;
export type StateReport = z.infer<typeof stateReportSchema>;
export type Membership = z.infer<typeof membershipSchema>;
export type Member = z.infer<typeof memberSchema>;
export type AttributeUpdate = NonNullable<z.infer<typeof attributesSchema>>;

/** The states a device may report, compared in lower case. */
export const deviceStates: ReadonlySet<string> = new Set(['ok', 'online', 'offline', 'unhealthy', 'unknown']);

function lowerCaseKeys(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key.toLowerCase(), field]));
}
