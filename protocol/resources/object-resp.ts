/**
 * How the cloud answers an edge's writes (wire 4.3): both keys always present. An empty `Err` beside a null
 * object would crash a KubeEdge edge, so answers are built here and nowhere else.
 */

import { z } from 'zod';
import { type KubeObject, kubeObjectSchema } from './object.ts';

/** metav1.Status, as in the body of an API error. */
export const statusSchema = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  status: z.string().optional(),
  message: z.string().optional(),
  reason: z.string().optional(),
  code: z.number().optional(),
});

/** Both keys are always there: that is what tells it from a bare object. */
export const objectRespSchema = z.looseObject({
  Object: kubeObjectSchema.nullable(),
  Err: z.looseObject({ ErrStatus: statusSchema.optional() }).nullable(),
});

/** How a KubeEdge cloud answers a query that failed: a bare `{"ErrStatus":…}`, or even `{}`. */
export const queryFailureSchema = z.looseObject({
  ErrStatus: statusSchema.optional(),
  metadata: z.undefined().optional(),
});

export type Status = z.infer<typeof statusSchema>;
export type ObjectResp = z.infer<typeof objectRespSchema>;

export function objectOf(object: KubeObject): ObjectResp {
  return { Object: object, Err: null };
}

/** @param status a Status with a reason; what is missing is filled in so that the edge sees a failure. */
export function failureOf(status: Status): ObjectResp {
  const ErrStatus = {
    ...status,
    metadata: {},
    status: 'Failure',
    message: status.message ?? 'the request failed',
    reason: status.reason ?? 'InternalError',
    code: status.code ?? 500,
  };
  return { Object: null, Err: { ErrStatus } };
}

/** What an ObjectResp says, told apart once. `Err: {}` from a KubeEdge cloud is a failure without a reason. */
export function readObjectResp(
  response: ObjectResp,
): { readonly object: KubeObject } | { readonly failure: Status } {
  if (response.Object) return { object: response.Object };
  return { failure: response.Err?.ErrStatus ?? {} };
}
