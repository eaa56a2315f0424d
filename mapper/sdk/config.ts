/** A mapper's config.yaml, with the fields of KubeEdge's mapper framework. */

import { z } from 'zod';
import type { ConfigFormat } from '#beehive/config-file.ts';

export const defaultEdgeSocket = '/etc/kubeedge/dmi.sock';

const needed = (flag: string) =>
  z.string({ error: `missing: say it here, or by ${flag}` }).min(1, { error: 'empty' });

const schema = z.strictObject({
  grpc_server: z.strictObject({
    /** Where the edge speaks to this mapper. */
    socket_path: z.string().min(1),
  }),
  common: z.strictObject({
    name: needed('--name'),
    version: z.string().default('v1.0.0'),
    api_version: z.string().default('v1.0.0'),
    /** Devices whose protocolName is this one are this mapper's. */
    protocol: needed('--protocol'),
    /** Of the REST interface, which has no passwords. */
    address: z.string().default('127.0.0.1'),
    edgecore_sock: z.string().default(defaultEdgeSocket),
    /** 0: any that is free. */
    http_port: z.coerce.number().int().min(0).max(65_535).default(7777),
  }),
});

export type MapperConfig = z.infer<typeof schema>;

export const mapperFormat: ConfigFormat<typeof schema> = { schema, unused: [] };
