/** Section `modules.deviceController` of cloudcore.yaml. */

import { z } from 'zod';

export const deviceControllerConfigSchema = z.strictObject({
  enable: z.boolean().default(true),
});

export type DeviceControllerConfig = z.infer<typeof deviceControllerConfigSchema>;

/** Devices are worked on side by side without fixed workers or buffers. */
export const deviceControllerUnused: readonly string[] = ['buffer', 'load'];
