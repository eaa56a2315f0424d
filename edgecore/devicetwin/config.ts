/** Section `modules.deviceTwin` of edgecore.yaml. */

import { z } from 'zod';

export const deviceTwinConfigSchema = z.strictObject({
  enable: z.boolean().default(true),
});

export type DeviceTwinConfig = z.infer<typeof deviceTwinConfigSchema>;

/** The socket for mappers that speak gRPC is not part of this build. */
export const deviceTwinUnused: readonly string[] = ['dmiSockPath'];
