/** DeviceModel (devices.kubeedge.io/v1beta1): what the properties of a kind of device are. */

import { z } from 'zod';
import { objectMetaSchema } from './object.ts';

export const modelPropertySchema = z.looseObject({
  name: z.string(),
  description: z.string().optional(),
  /** INT FLOAT DOUBLE STRING BOOLEAN BYTES STREAM */
  type: z.string().optional(),
  /** ReadWrite or ReadOnly */
  accessMode: z.string().optional(),
  minimum: z.string().optional(),
  maximum: z.string().optional(),
  unit: z.string().optional(),
});

export const deviceModelSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
  spec: z
    .looseObject({
      protocol: z.string().optional(),
      properties: z.array(modelPropertySchema).nullish(),
    })
    .optional(),
});

export type DeviceModel = z.infer<typeof deviceModelSchema>;
export type ModelProperty = z.infer<typeof modelPropertySchema>;
