/** Device (devices.kubeedge.io/v1beta1). What only mappers read (visitors, push methods) is kept as it came. */

import { z } from 'zod';
import { objectMetaSchema } from './object.ts';

export const twinValueSchema = z.looseObject({
  value: z.string(),
  metadata: z.record(z.string(), z.string()).nullish(),
});

export const devicePropertySchema = z.looseObject({
  name: z.string(),
  desired: twinValueSchema.nullish(),
  collectCycle: z.number().optional(),
  reportCycle: z.number().optional(),
  reportToCloud: z.boolean().optional(),
});

export const deviceSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
  spec: z
    .looseObject({
      deviceModelRef: z.looseObject({ name: z.string().optional() }).nullish(),
      nodeName: z.string().optional(),
      protocol: z.looseObject({ protocolName: z.string().optional() }).nullish(),
      properties: z.array(devicePropertySchema).nullish(),
      stateReport: z
        .looseObject({ reportToCloud: z.boolean().optional(), reportCycle: z.number().optional() })
        .nullish(),
    })
    .optional(),
});

export type Device = z.infer<typeof deviceSchema>;
export type DeviceProperty = z.infer<typeof devicePropertySchema>;
export type TwinValue = z.infer<typeof twinValueSchema>;
