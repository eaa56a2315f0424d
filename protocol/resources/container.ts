/** A container of a Pod and what is reported about it (core/v1). */

import { z } from 'zod';

const intOrString = z.union([z.number(), z.string()]);
const quantities = z.record(z.string(), z.union([z.string(), z.number()])).nullish();
const keyRef = z.looseObject({
  name: z.string().optional(),
  key: z.string(),
  optional: z.boolean().nullish(),
});
const objectRef = z.looseObject({ name: z.string().optional(), optional: z.boolean().nullish() });

export const resourceFieldRefSchema = z.looseObject({
  resource: z.string(),
  containerName: z.string().optional(),
  divisor: z.union([z.string(), z.number()]).nullish(),
});

export const envVarSchema = z.looseObject({
  name: z.string(),
  value: z.string().optional(),
  valueFrom: z
    .looseObject({
      configMapKeyRef: keyRef.nullish(),
      secretKeyRef: keyRef.nullish(),
      fieldRef: z.looseObject({ fieldPath: z.string() }).nullish(),
      resourceFieldRef: resourceFieldRefSchema.nullish(),
    })
    .nullish(),
});

export const envFromSchema = z.looseObject({
  prefix: z.string().optional(),
  configMapRef: objectRef.nullish(),
  secretRef: objectRef.nullish(),
});

export const volumeMountSchema = z.looseObject({
  name: z.string(),
  mountPath: z.string(),
  subPath: z.string().optional(),
  subPathExpr: z.string().optional(),
  readOnly: z.boolean().optional(),
});

const httpGetSchema = z.looseObject({
  path: z.string().optional(),
  port: intOrString,
  host: z.string().optional(),
  scheme: z.string().optional(),
  httpHeaders: z.array(z.looseObject({ name: z.string(), value: z.string() })).nullish(),
});

export const probeSchema = z.looseObject({
  exec: z.looseObject({ command: z.array(z.string()).nullish() }).nullish(),
  httpGet: httpGetSchema.nullish(),
  tcpSocket: z.looseObject({ port: intOrString, host: z.string().optional() }).nullish(),
  grpc: z.looseObject({ port: z.number(), service: z.string().nullish() }).nullish(),
  initialDelaySeconds: z.number().optional(),
  timeoutSeconds: z.number().optional(),
  periodSeconds: z.number().optional(),
  successThreshold: z.number().optional(),
  failureThreshold: z.number().optional(),
  terminationGracePeriodSeconds: z.number().nullish(),
});

const lifecycleHandlerSchema = z.looseObject({
  exec: z.looseObject({ command: z.array(z.string()).nullish() }).nullish(),
  httpGet: httpGetSchema.nullish(),
  sleep: z.looseObject({ seconds: z.number() }).nullish(),
});

export const containerSchema = z.looseObject({
  name: z.string(),
  image: z.string().optional(),
  command: z.array(z.string()).nullish(),
  args: z.array(z.string()).nullish(),
  workingDir: z.string().optional(),
  env: z.array(envVarSchema).nullish(),
  envFrom: z.array(envFromSchema).nullish(),
  volumeMounts: z.array(volumeMountSchema).nullish(),
  ports: z
    .array(
      z.looseObject({
        name: z.string().optional(),
        containerPort: z.number(),
        hostPort: z.number().optional(),
        protocol: z.string().optional(),
      }),
    )
    .nullish(),
  resources: z.looseObject({ requests: quantities, limits: quantities }).nullish(),
  livenessProbe: probeSchema.nullish(),
  readinessProbe: probeSchema.nullish(),
  startupProbe: probeSchema.nullish(),
  lifecycle: z
    .looseObject({ postStart: lifecycleHandlerSchema.nullish(), preStop: lifecycleHandlerSchema.nullish() })
    .nullish(),
  /** `Always` on an init container makes it a sidecar. */
  restartPolicy: z.string().nullish(),
  imagePullPolicy: z.string().optional(),
  terminationMessagePath: z.string().optional(),
  securityContext: z
    .looseObject({
      runAsUser: z.number().nullish(),
      runAsGroup: z.number().nullish(),
      privileged: z.boolean().nullish(),
      readOnlyRootFilesystem: z.boolean().nullish(),
    })
    .nullish(),
  stdin: z.boolean().optional(),
  tty: z.boolean().optional(),
});

export const containerStateSchema = z.looseObject({
  waiting: z.looseObject({ reason: z.string().optional(), message: z.string().optional() }).nullish(),
  running: z.looseObject({ startedAt: z.string().nullish() }).nullish(),
  terminated: z
    .looseObject({
      exitCode: z.number(),
      signal: z.number().optional(),
      reason: z.string().optional(),
      message: z.string().optional(),
      startedAt: z.string().nullish(),
      finishedAt: z.string().nullish(),
      containerID: z.string().optional(),
    })
    .nullish(),
});

export const containerStatusSchema = z.looseObject({
  name: z.string(),
  state: containerStateSchema.optional(),
  lastState: containerStateSchema.optional(),
  ready: z.boolean(),
  started: z.boolean().nullish(),
  restartCount: z.number(),
  image: z.string(),
  imageID: z.string(),
  containerID: z.string().optional(),
});

export type Container = z.infer<typeof containerSchema>;
export type ContainerStatus = z.infer<typeof containerStatusSchema>;
export type ContainerState = z.infer<typeof containerStateSchema>;
export type EnvVar = z.infer<typeof envVarSchema>;
export type VolumeMount = z.infer<typeof volumeMountSchema>;
export type Probe = z.infer<typeof probeSchema>;
