/** Lease (coordination.k8s.io/v1). Times carry microseconds. */

import { z } from 'zod';
import { objectMetaSchema } from './object.ts';

export const leaseSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
  spec: z
    .looseObject({
      holderIdentity: z.string().nullish(),
      leaseDurationSeconds: z.number().nullish(),
      acquireTime: z.string().nullish(),
      renewTime: z.string().nullish(),
      leaseTransitions: z.number().nullish(),
    })
    .optional(),
});

export type Lease = z.infer<typeof leaseSchema>;
