/** What the edge and mappers read of each other's messages (dmi.proto), as gRPC hands them over. */

import { z } from 'zod';
import { anySchema } from './any-value.ts';

/** Caps of both ends. */
export const dmiLimits = {
  /** gRPC's own default; a registration with a thousand devices has about one. */
  messageBytesMax: 4 * 1024 * 1024,
  connectionsMax: 128,
  /** Calls of one connection that may be open at once. */
  callsPerConnectionMax: 256,
  mappersMax: 64,
  /** KubeEdge's limit of one call to a mapper. */
  callTimeoutMs: 10_000,
} as const;

const text = z.string().default('');
const texts = z.array(z.string()).default([]);
const integer = z.union([z.string(), z.number()]).default(0).transform(Number);
const flag = z.boolean().default(false);

export const mapperInfoSchema = z.object({
  name: text,
  version: text,
  api_version: text,
  protocol: text,
  address: z.instanceof(Uint8Array).default(() => new Uint8Array()),
  state: text,
});

export const registerRequestSchema = z.object({ withData: flag, mapper: mapperInfoSchema.nullish() });

const twinPropertySchema = z.object({ value: text, metadata: z.record(z.string(), z.string()).default({}) });

export const statusReportSchema = z.object({
  deviceName: text,
  deviceNamespace: text,
  reportedDevice: z
    .object({
      twins: z
        .array(
          z.object({
            propertyName: text,
            observedDesired: twinPropertySchema.nullish(),
            reported: twinPropertySchema.nullish(),
          }),
        )
        .default([]),
    })
    .nullish(),
});
export type StatusReport = z.infer<typeof statusReportSchema>;

export const stateReportSchema = z.object({ deviceName: text, deviceNamespace: text, state: text });

const customizedSchema = z.object({ data: z.record(z.string(), anySchema).default({}) }).nullish();
const configSchema = z.object({ protocolName: text, configData: customizedSchema }).nullish();

export const deviceMessageSchema = z.object({
  name: text,
  namespace: text,
  spec: z
    .object({
      deviceModelReference: text,
      protocol: configSchema,
      properties: z
        .array(
          z.object({
            name: text,
            desired: twinPropertySchema.nullish(),
            visitors: configSchema,
            reportCycle: integer,
            collectCycle: integer,
            reportToCloud: flag,
            pushMethod: z
              .object({
                http: z
                  .object({ hostname: text, port: integer, requestpath: text, timeout: integer })
                  .nullish(),
                mqtt: z
                  .object({ address: text, topic: text, qos: z.number().default(0), retained: flag })
                  .nullish(),
                otel: z.looseObject({}).nullish(),
                dbMethod: z.looseObject({}).nullish(),
                anomalyDetection: z.looseObject({}).nullish(),
              })
              .nullish(),
          }),
        )
        .default([]),
      methods: z.array(z.object({ name: text, description: text, propertyNames: texts })).default([]),
    })
    .nullish(),
  status: z.object({ reportToCloud: flag, reportCycle: integer }).nullish(),
});
export type DeviceMessage = z.infer<typeof deviceMessageSchema>;

export const modelMessageSchema = z.object({
  name: text,
  namespace: text,
  spec: z
    .object({
      properties: z
        .array(
          z.object({
            name: text,
            description: text,
            type: text,
            accessMode: text,
            minimum: text,
            maximum: text,
            unit: text,
          }),
        )
        .default([]),
    })
    .nullish(),
});
export type ModelMessage = z.infer<typeof modelMessageSchema>;

export const registerAnswerSchema = z.object({
  modelList: z.array(modelMessageSchema).default([]),
  deviceList: z.array(deviceMessageSchema).default([]),
});

export const deviceRequestSchema = z.object({ device: deviceMessageSchema.nullish() });
export const modelRequestSchema = z.object({ model: modelMessageSchema.nullish() });
export const deviceNameSchema = z.object({ deviceName: text, deviceNamespace: text });
export const modelNameSchema = z.object({ modelName: text, modelNamespace: text });
