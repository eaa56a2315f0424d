/** Section `modules.router` of cloudcore.yaml. */

import { isIP } from 'node:net';
import { z } from 'zod';

export const routerConfigSchema = z.strictObject({
  enable: z.boolean().default(true),
  /** Whoever reaches it may ask what rules lead to, so it is on loopback unless configured. */
  address: z
    .string()
    .refine((text) => isIP(text) !== 0, 'must be an IP address')
    .default('127.0.0.1'),
  port: z.number().int().min(0).max(65_535).default(9443),
  /** Seconds that a caller waits for an app at the edge. */
  restTimeout: z.number().int().min(1).max(600).default(60),
  /** Of our own: a file with a token that callers must send (`Authorization: Bearer …`); it is not passed on. */
  tokenFile: z.string().default(''),
  /** Of our own: PEM of authorities that https targets are verified by, in place of the system's. */
  targetCAFile: z.string().default(''),
});

export type RouterConfig = z.infer<typeof routerConfigSchema>;
