/**
 * edgecore.yaml: KubeEdge's fields and defaults (v1alpha2), each section by the module that uses it, and
 * of our own `instanceID` and `monitorServer`.
 */

import { z } from 'zod';
import type { ConfigFormat } from '#beehive/config-file.ts';
import { deviceTwinConfigSchema } from './devicetwin/config.ts';
import { edgedConfigSchema, edgedUnusedFields } from './edged/config.ts';
import { edgeHubConfigSchema } from './edgehub/config.ts';
import { eventBusConfigSchema, eventBusUnused } from './eventbus/config.ts';
import { metaManagerConfigSchema, metaManagerUnused } from './metamanager/config.ts';
import { serviceBusConfigSchema } from './servicebus/config.ts';

/** A module of KubeEdge that this edgecore does not have: its switch is read, so that we can say so. */
const absentModule = z.strictObject({ enable: z.boolean().default(false) }).prefault({});

export const absentModules = ['edgeStream', 'taskManager', 'dbTest'] as const;

export const edgecoreConfigSchema = z.strictObject({
  apiVersion: z
    .literal('edgecore.config.kubeedge.io/v1alpha2')
    .default('edgecore.config.kubeedge.io/v1alpha2'),
  kind: z.literal('EdgeCore').default('EdgeCore'),
  /** What this edge marks everything with that it creates in a container runtime; given at join. Empty: the node's name. */
  instanceID: z
    .string()
    .regex(/^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/, 'must be usable as a label value')
    .default(''),
  database: z
    .strictObject({
      dataSource: z.string().min(1).default('/var/lib/kubeedge/edgecore.db'),
      /** Opens the sealed values of the database; apart from it, so that no copy of it goes with the key. */
      sealKeyFile: z.string().min(1).default('/etc/kubeedge/edge-seal.key'),
    })
    .prefault({}),
  /** `/healthz`, `/readyz` (connected to the cloud) and `/metrics`; empty: none. */
  monitorServer: z
    .strictObject({
      bindAddress: z
        .string()
        .regex(/^(.+:\d{1,5})?$/, 'must be ADDRESS:PORT')
        .default('127.0.0.1:10352'),
    })
    .prefault({}),
  modules: z
    .strictObject({
      edged: edgedConfigSchema.prefault({}),
      edgeHub: edgeHubConfigSchema.prefault({}),
      eventBus: eventBusConfigSchema.prefault({}),
      metaManager: metaManagerConfigSchema.prefault({}),
      deviceTwin: deviceTwinConfigSchema.prefault({}),
      serviceBus: serviceBusConfigSchema.prefault({}),
      edgeStream: absentModule,
      taskManager: absentModule,
      dbTest: absentModule,
    })
    .prefault({}),
});

export type EdgecoreConfig = z.infer<typeof edgecoreConfigSchema>;

const fieldsOfAbsentModules = [
  ...[
    'tlsTunnelCAFile',
    'tlsTunnelCertFile',
    'tlsTunnelPrivateKeyFile',
    'handshakeTimeout',
    'readDeadline',
    'server',
    'writeDeadline',
  ].map((field) => `edgeStream.${field}`),
];

export const edgecoreFormat: ConfigFormat<typeof edgecoreConfigSchema> = {
  schema: edgecoreConfigSchema,
  unused: [
    'edgecoreVersion',
    'featureGates',
    'database.driverName',
    'database.aliasName',
    ...under('modules.edged', edgedUnusedFields),
    ...under('modules.eventBus', eventBusUnused),
    ...under('modules.metaManager', metaManagerUnused),
    ...under('modules', fieldsOfAbsentModules),
  ],
};

function under(section: string, fields: readonly string[]): readonly string[] {
  return fields.map((field) => `${section}.${field}`);
}
