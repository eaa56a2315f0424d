/** ServiceAccount (core/v1). */

import { z } from 'zod';
import { objectMetaSchema } from './object.ts';

export const serviceAccountSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
  secrets: z.array(z.looseObject({ name: z.string().optional() })).nullish(),
  imagePullSecrets: z.array(z.looseObject({ name: z.string().optional() })).nullish(),
  automountServiceAccountToken: z.boolean().nullish(),
});

export type ServiceAccount = z.infer<typeof serviceAccountSchema>;
