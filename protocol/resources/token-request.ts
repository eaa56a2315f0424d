/** TokenRequest (authentication.k8s.io/v1): asked for with a spec, answered with a status. Its metadata has no name. */

import { z } from 'zod';

export const tokenRequestSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: z.looseObject({ name: z.string().optional(), namespace: z.string().optional() }).nullish(),
  spec: z.looseObject({
    audiences: z.array(z.string()).nullish(),
    expirationSeconds: z.number().nullish(),
    boundObjectRef: z
      .looseObject({
        kind: z.string().optional(),
        apiVersion: z.string().optional(),
        name: z.string().optional(),
        uid: z.string().optional(),
      })
      .nullish(),
  }),
  status: z
    .looseObject({ token: z.string().optional(), expirationTimestamp: z.string().nullish() })
    .nullish(),
});

export type TokenRequest = z.infer<typeof tokenRequestSchema>;
