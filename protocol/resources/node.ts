/** Node, as far as we read it (core/v1). A KubeEdge edge sends it without apiVersion and kind. */

import { z } from 'zod';
import { objectMetaSchema } from './object.ts';

export const taintSchema = z.looseObject({
  key: z.string(),
  value: z.string().optional(),
  effect: z.string(),
  timeAdded: z.string().nullish(),
});

export const nodeConditionSchema = z.looseObject({
  type: z.string(),
  status: z.string(),
  reason: z.string().optional(),
  message: z.string().optional(),
  lastHeartbeatTime: z.string().nullish(),
  lastTransitionTime: z.string().nullish(),
});

const quantities = z.record(z.string(), z.union([z.string(), z.number()])).nullish();

export const nodeStatusSchema = z.looseObject({
  capacity: quantities,
  allocatable: quantities,
  phase: z.string().optional(),
  conditions: z.array(nodeConditionSchema).nullish(),
  addresses: z.array(z.looseObject({ type: z.string(), address: z.string() })).nullish(),
  daemonEndpoints: z
    .looseObject({ kubeletEndpoint: z.looseObject({ Port: z.number() }).nullish() })
    .nullish(),
  nodeInfo: z
    .looseObject({
      machineID: z.string().optional(),
      osImage: z.string().optional(),
      operatingSystem: z.string().optional(),
      architecture: z.string().optional(),
      containerRuntimeVersion: z.string().optional(),
      kubeletVersion: z.string().optional(),
    })
    .nullish(),
});

export const nodeSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
  spec: z
    .looseObject({
      podCIDR: z.string().optional(),
      providerID: z.string().optional(),
      unschedulable: z.boolean().optional(),
      taints: z.array(taintSchema).nullish(),
    })
    .optional(),
  status: nodeStatusSchema.optional(),
});

export type Node = z.infer<typeof nodeSchema>;
export type NodeStatus = z.infer<typeof nodeStatusSchema>;
export type NodeCondition = z.infer<typeof nodeConditionSchema>;
export type Taint = z.infer<typeof taintSchema>;
