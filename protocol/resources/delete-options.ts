/** DeleteOptions (meta/v1): what an edge sends to have its pod removed (wire 4.4). */

import { z } from 'zod';

export const deleteOptionsSchema = z.looseObject({
  gracePeriodSeconds: z.number().nullish(),
  preconditions: z
    .looseObject({ uid: z.string().nullish(), resourceVersion: z.string().nullish() })
    .nullish(),
  propagationPolicy: z.string().nullish(),
});

export type DeleteOptions = z.infer<typeof deleteOptionsSchema>;
