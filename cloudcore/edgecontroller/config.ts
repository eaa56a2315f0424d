/** Section `modules.edgeController` of cloudcore.yaml. */

import { z } from 'zod';

export const edgeControllerConfigSchema = z.strictObject({
  enable: z.boolean().default(true),
});

/** Nodes are worked on side by side without fixed workers or buffers, and pushed when they change. */
export const edgeControllerUnused: readonly string[] = ['buffer', 'load', 'nodeUpdateFrequency'];
