/** Section `modules.serviceBus` of edgecore.yaml. */

import { BlockList, isIP } from 'node:net';
import { z } from 'zod';

export const serviceBusConfigSchema = z
  .strictObject({
    enable: z.boolean().default(true),
    /** Where local apps ask; open only while a rule allows some URL. */
    server: z
      .string()
      .refine((text) => isIP(text) !== 0, 'must be an IP address')
      .default('127.0.0.1'),
    port: z.number().int().min(0).max(65_535).default(9060),
    /** Seconds that an app waits for the cloud. */
    timeout: z.number().int().min(1).max(600).default(60),
    /** Of our own: a file with a token that apps must send (`Authorization: Bearer …`). Empty: every local process may ask. */
    tokenFile: z.string().default(''),
  })
  .refine(({ server, tokenFile }) => tokenFile !== '' || isLoopback(server), {
    path: ['server'],
    message:
      'must be a loopback address unless tokenFile is set: whoever reaches it asks in the name of this edge',
  });

export type ServiceBusConfig = z.infer<typeof serviceBusConfigSchema>;

function isLoopback(address: string): boolean {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  const version = isIP(address);
  return version !== 0 && loopback.check(address, version === 6 ? 'ipv6' : 'ipv4');
}
