/** ConfigMap (core/v1). `binaryData` values are base64. */

import { z } from 'zod';
import { objectMetaSchema } from './object.ts';

export const configMapSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
  data: z.record(z.string(), z.string()).nullish(),
  binaryData: z.record(z.string(), z.string()).nullish(),
  immutable: z.boolean().nullish(),
});

export type ConfigMap = z.infer<typeof configMapSchema>;
