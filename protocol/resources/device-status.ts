/** DeviceStatus (devices.kubeedge.io/v1beta1): same name and namespace as its Device, owned by it. */

import { z } from 'zod';
import { twinValueSchema } from './device.ts';
import { objectMetaSchema } from './object.ts';

export const deviceStatusTwinSchema = z.looseObject({
  propertyName: z.string(),
  observedDesired: twinValueSchema.nullish(),
  reported: twinValueSchema.nullish(),
});

export const deviceStatusSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
  spec: z.unknown().optional(),
  status: z
    .looseObject({
      twins: z.array(deviceStatusTwinSchema).nullish(),
      state: z.string().optional(),
      lastOnlineTime: z.string().optional(),
    })
    .nullish(),
});

export type DeviceStatus = z.infer<typeof deviceStatusSchema>;
export type DeviceStatusTwin = z.infer<typeof deviceStatusTwinSchema>;
