/** cloudcore.yaml: KubeEdge's fields (both of its apiVersions), each section with who uses it. */

import { z } from 'zod';
import type { ConfigFormat } from '#beehive/config-file.ts';
import { cloudHubConfigSchema, cloudHubUnused } from './cloudhub/config.ts';
import { deviceControllerConfigSchema, deviceControllerUnused } from './devicecontroller/config.ts';
import { edgeControllerConfigSchema, edgeControllerUnused } from './edgecontroller/config.ts';
import { routerConfigSchema } from './router/config.ts';

/** A module of KubeEdge that this cloudcore does not have: its switch is read, so that we can say so. */
const absentModule = z.strictObject({ enable: z.boolean().default(false) }).prefault({});

export const absentModules = ['iptablesManager', 'dynamicController', 'cloudStream', 'taskManager'] as const;

export const cloudcoreConfigSchema = z.strictObject({
  apiVersion: z
    .enum(['cloudcore.config.kubeedge.io/v1alpha1', 'cloudcore.config.kubeedge.io/v1alpha2'])
    .default('cloudcore.config.kubeedge.io/v1alpha1'),
  kind: z.literal('CloudCore').default('CloudCore'),
  commonConfig: z
    .strictObject({
      monitorServer: z
        .strictObject({
          bindAddress: z
            .string()
            .regex(/^.+:\d{1,5}$/, 'must be ADDRESS:PORT')
            .default('127.0.0.1:9091'),
        })
        .prefault({}),
    })
    .prefault({}),
  kubeAPIConfig: z
    .strictObject({
      /** Takes the place of the kubeconfig's server. */
      master: z.string().default(''),
      /** Empty: the service account of the pod that cloudcore runs in. */
      kubeConfig: z.string().default(''),
    })
    .prefault({}),
  modules: z
    .strictObject({
      cloudHub: cloudHubConfigSchema.prefault({}),
      edgeController: edgeControllerConfigSchema.prefault({}),
      deviceController: deviceControllerConfigSchema.prefault({}),
      iptablesManager: absentModule,
      dynamicController: absentModule,
      router: routerConfigSchema.prefault({}),
      cloudStream: absentModule,
      taskManager: absentModule,
    })
    .prefault({}),
});

export type CloudcoreConfig = z.infer<typeof cloudcoreConfigSchema>;

const fieldsOfAbsentModules = [
  'iptablesManager.mode',
  ...['tlsTunnelCAFile', 'tlsTunnelCertFile', 'tlsTunnelPrivateKeyFile', 'tunnelPort', 'streamPort'].map(
    (field) => `cloudStream.${field}`,
  ),
  ...['tlsStreamCAFile', 'tlsStreamCertFile', 'tlsStreamPrivateKeyFile'].map(
    (field) => `cloudStream.${field}`,
  ),
  'taskManager.buffer',
  'taskManager.load',
  // It always runs: without it a KubeEdge edge would keep what was deleted.
  'syncController',
];

export const cloudcoreConfigFormat: ConfigFormat<typeof cloudcoreConfigSchema> = {
  schema: cloudcoreConfigSchema,
  unused: [
    'commonConfig.tunnelPort',
    'commonConfig.monitorServer.enableProfiling',
    'kubeAPIConfig.contentType',
    'kubeAPIConfig.qps',
    'kubeAPIConfig.burst',
    'featureGates',
    ...under('modules.cloudHub', cloudHubUnused),
    ...under('modules.edgeController', edgeControllerUnused),
    ...under('modules.deviceController', deviceControllerUnused),
    ...under('modules', fieldsOfAbsentModules),
  ],
};

function under(section: string, fields: readonly string[]): readonly string[] {
  return fields.map((field) => `${section}.${field}`);
}
