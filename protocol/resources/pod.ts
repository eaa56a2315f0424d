/** Pod, as far as the edge and the controllers read it (core/v1). Go writes absent lists and maps as null. */

import { z } from 'zod';
import { containerSchema, containerStatusSchema } from './container.ts';
import { objectMetaSchema } from './object.ts';
import { volumeSchema } from './volume.ts';

export const podSpecSchema = z.looseObject({
  nodeName: z.string().optional(),
  containers: z.array(containerSchema),
  initContainers: z.array(containerSchema).nullish(),
  restartPolicy: z.string().optional(),
  terminationGracePeriodSeconds: z.number().nullish(),
  activeDeadlineSeconds: z.number().nullish(),
  volumes: z.array(volumeSchema).nullish(),
  imagePullSecrets: z.array(z.looseObject({ name: z.string().optional() })).nullish(),
  serviceAccountName: z.string().optional(),
  automountServiceAccountToken: z.boolean().nullish(),
  hostNetwork: z.boolean().optional(),
  hostname: z.string().optional(),
  subdomain: z.string().optional(),
  dnsPolicy: z.string().optional(),
  priority: z.number().nullish(),
  nodeSelector: z.record(z.string(), z.string()).nullish(),
  tolerations: z
    .array(
      z.looseObject({
        key: z.string().optional(),
        operator: z.string().optional(),
        value: z.string().optional(),
        effect: z.string().optional(),
        tolerationSeconds: z.number().nullish(),
      }),
    )
    .nullish(),
  securityContext: z
    .looseObject({
      runAsUser: z.number().nullish(),
      runAsGroup: z.number().nullish(),
      fsGroup: z.number().nullish(),
    })
    .nullish(),
});

export const podConditionSchema = z.looseObject({
  type: z.string(),
  status: z.string(),
  reason: z.string().optional(),
  message: z.string().optional(),
  lastProbeTime: z.string().nullish(),
  lastTransitionTime: z.string().nullish(),
});

export const podStatusSchema = z.looseObject({
  phase: z.string().optional(),
  conditions: z.array(podConditionSchema).nullish(),
  reason: z.string().optional(),
  message: z.string().optional(),
  hostIP: z.string().optional(),
  podIP: z.string().optional(),
  podIPs: z.array(z.looseObject({ ip: z.string().optional() })).nullish(),
  startTime: z.string().nullish(),
  qosClass: z.string().optional(),
  initContainerStatuses: z.array(containerStatusSchema).nullish(),
  containerStatuses: z.array(containerStatusSchema).nullish(),
});

export const podSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
  spec: podSpecSchema,
  status: podStatusSchema.optional(),
});

export type Pod = z.infer<typeof podSchema>;
export type PodSpec = z.infer<typeof podSpecSchema>;
export type PodStatus = z.infer<typeof podStatusSchema>;
export type PodCondition = z.infer<typeof podConditionSchema>;
