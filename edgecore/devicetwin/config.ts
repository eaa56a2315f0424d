/** Section `modules.deviceTwin` of edgecore.yaml. */

import { dirname, join } from 'node:path';
import { z } from 'zod';

export const deviceTwinConfigSchema = z.strictObject({
  enable: z.boolean().default(true),
  /** The directory of the socket `dmi.sock` for mappers that speak gRPC; a path ending in `.sock` means its directory. */
  dmiSockPath: z.string().min(1).default('/etc/kubeedge/'),
});

export type DeviceTwinConfig = z.infer<typeof deviceTwinConfigSchema>;

/** The edge's socket for mappers. */
export function dmiSocket(sockPath: string): string {
  return join(sockPath.endsWith('.sock') ? dirname(sockPath) : sockPath, 'dmi.sock');
}
