/** What every Kubernetes object has, as far as we read it; all other fields are kept as they came. */

import { z } from 'zod';

export const ownerReferenceSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  name: z.string(),
  uid: z.string(),
  controller: z.boolean().optional(),
});

export const objectMetaSchema = z.looseObject({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.number().optional(),
  creationTimestamp: z.string().nullish(),
  deletionTimestamp: z.string().nullish(),
  deletionGracePeriodSeconds: z.number().nullish(),
  labels: z.record(z.string(), z.string()).nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
  ownerReferences: z.array(ownerReferenceSchema).nullish(),
});

export type ObjectMeta = z.infer<typeof objectMetaSchema>;

/** `apiVersion` and `kind` may be absent on what a KubeEdge edge sends up (its node, its lease). */
export const kubeObjectSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: objectMetaSchema,
});

export type KubeObject = z.infer<typeof kubeObjectSchema>;
