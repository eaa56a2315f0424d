/** Event (core/v1), and the form in which an edge sends a patch of one (wire 4.4). */

import { z } from 'zod';
import { objectMetaSchema } from './object.ts';

export const eventSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
  involvedObject: z.looseObject({
    apiVersion: z.string().optional(),
    kind: z.string().optional(),
    namespace: z.string().optional(),
    name: z.string().optional(),
    uid: z.string().optional(),
    fieldPath: z.string().optional(),
  }),
  reason: z.string().optional(),
  message: z.string().optional(),
  source: z.looseObject({ component: z.string().optional(), host: z.string().optional() }).nullish(),
  type: z.string().optional(),
  count: z.number().optional(),
  firstTimestamp: z.string().nullish(),
  lastTimestamp: z.string().nullish(),
  eventTime: z.string().nullish(),
});

/** `patchData` is the text of a strategic merge patch. */
export const eventPatchSchema = z.looseObject({ event: eventSchema, patchData: z.string() });

export type Event = z.infer<typeof eventSchema>;
