/** Secret (core/v1). `data` values are base64; `stringData` never comes back from an API. */

import { z } from 'zod';
import { objectMetaSchema } from './object.ts';

export const secretSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
  type: z.string().optional(),
  data: z.record(z.string(), z.string()).nullish(),
  immutable: z.boolean().nullish(),
});

export type Secret = z.infer<typeof secretSchema>;
