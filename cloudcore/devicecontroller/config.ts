/** Section `modules.deviceController` of cloudcore.yaml. */

import { z } from 'zod';

export const deviceControllerConfigSchema = z.strictObject({
  enable: z.boolean().default(true),
});

/** Devices are worked on side by side without fixed workers or buffers. */
export const deviceControllerUnused: readonly string[] = ['buffer', 'load'];
