/**
 * From Device and DeviceModel objects to what mappers are told: pure. What the model says of properties and protocol
 * are defaults, the device's own configData wins key by key.
 */

import { z } from 'zod';
import type { AnyValue, Scalar } from '#protocol/dmi/any-value.ts';
import { packAny } from '#protocol/dmi/any-value.ts';
import type { Device } from '#protocol/resources/device.ts';
import type { DeviceModel } from '#protocol/resources/device-model.ts';

export interface DeviceForMapper {
  readonly name: string;
  readonly namespace: string;
  readonly spec: object;
  readonly status: object;
}

export interface ModelForMapper {
  readonly name: string;
  readonly namespace: string;
  readonly spec: object;
}

const scalar = z.union([z.string(), z.boolean(), z.number()]);
const configData = z.record(z.string(), scalar).nullish();
const visitors = z.looseObject({ protocolName: z.string().optional(), configData }).nullish();
const cycle = z.number().nullish();
const text = z.string().nullish();
const whole = z.number().int().nullish();
const configOf = <S extends z.ZodRawShape>(shape: S) => z.looseObject(shape).nullish();

const pushSchema = configOf({
  http: configOf({ hostName: text, port: whole, requestPath: text, timeout: whole }),
  mqtt: configOf({ address: text, topic: text, qos: whole, retained: z.boolean().nullish() }),
  otel: configOf({ endpointURL: text }),
  dbMethod: configOf({
    influxdb2: configOf({
      influxdb2ClientConfig: configOf({ url: text, org: text, bucket: text }),
      influxdb2DataConfig: configOf({
        measurement: text,
        tag: z.record(z.string(), z.string()).nullish(),
        fieldKey: text,
      }),
    }),
    redis: configOf({
      redisClientConfig: configOf({ addr: text, db: whole, poolsize: whole, minIdleConns: whole }),
    }),
    TDEngine: configOf({ TDEngineClientConfig: configOf({ addr: text, dbName: text }) }),
    mysql: configOf({ mysqlClientConfig: configOf({ addr: text, database: text, userName: text }) }),
  }),
  anomalyDetection: configData,
});

const deviceDetails = z.looseObject({
  spec: z
    .looseObject({
      protocol: z.looseObject({ protocolName: z.string().optional(), configData }).nullish(),
      properties: z
        .array(
          z.looseObject({
            name: z.string(),
            desired: z
              .looseObject({ value: z.string(), metadata: z.record(z.string(), z.string()).nullish() })
              .nullish(),
            visitors,
            reportCycle: cycle,
            collectCycle: cycle,
            reportToCloud: z.boolean().nullish(),
            pushMethod: pushSchema,
          }),
        )
        .nullish(),
      methods: z
        .array(
          z.looseObject({
            name: z.string(),
            description: text,
            propertyNames: z.array(z.string()).nullish(),
          }),
        )
        .nullish(),
      stateReport: z.looseObject({ reportToCloud: z.boolean().nullish(), reportCycle: cycle }).nullish(),
    })
    .default({}),
  status: z.looseObject({ reportToCloud: z.boolean().nullish(), reportCycle: cycle }).nullish(),
});
type Details = z.infer<typeof deviceDetails>;
type PropertyDetails = NonNullable<Details['spec']['properties']>[number];

const modelDetails = z.looseObject({
  spec: z
    .looseObject({
      protocolConfigData: configData,
      properties: z.array(z.looseObject({ name: z.string(), visitors })).nullish(),
    })
    .default({}),
});
type ModelDetails = z.infer<typeof modelDetails>;

/** The message, or in words why a mapper cannot be told of the device. */
export function deviceMessage(device: Device, model: DeviceModel | undefined): DeviceForMapper | string {
  if (model === undefined) return `its model "${device.spec?.deviceModelRef?.name ?? ''}" is not here`;
  const details = deviceDetails.safeParse(device);
  if (!details.success) return wordsOf('the device', details.error);
  const defaults = modelDetails.safeParse(model);
  if (!defaults.success) return wordsOf('its model', defaults.error);
  const { spec, status } = details.data;
  const reporting = spec.stateReport ?? status;
  return {
    name: device.metadata.name,
    namespace: device.metadata.namespace ?? '',
    spec: {
      deviceModelReference: model.metadata.name,
      protocol: {
        protocolName: spec.protocol?.protocolName ?? '',
        configData: packed({ ...defaults.data.spec.protocolConfigData, ...spec.protocol?.configData }),
      },
      properties: (spec.properties ?? []).map((property) => propertyMessage(property, defaults.data)),
      methods: (spec.methods ?? []).map(({ name, description, propertyNames }) => ({
        name,
        description: description ?? '',
        propertyNames: propertyNames ?? [],
      })),
    },
    status: {
      reportToCloud: reporting?.reportToCloud ?? false,
      reportCycle: milliseconds(reporting?.reportCycle),
    },
  };
}

export function modelMessage(model: DeviceModel): ModelForMapper {
  const properties = model.spec?.properties ?? [];
  return {
    name: model.metadata.name,
    namespace: model.metadata.namespace ?? '',
    spec: {
      properties: properties.map(({ name, description, type, accessMode, minimum, maximum, unit }) => ({
        name,
        description,
        type,
        accessMode,
        minimum,
        maximum,
        unit,
      })),
    },
  };
}

function propertyMessage(property: PropertyDetails, model: ModelDetails): object {
  const defaults = model.spec.properties?.find(({ name }) => name === property.name)?.visitors;
  const own = property.visitors;
  const desired = property.desired ?? undefined;
  return {
    name: property.name,
    ...(desired === undefined
      ? {}
      : { desired: { value: desired.value, metadata: { ...desired.metadata } } }),
    ...(own || defaults
      ? {
          visitors: {
            protocolName: defaults?.protocolName || own?.protocolName || '',
            configData: packed({ ...defaults?.configData, ...own?.configData }),
          },
        }
      : {}),
    reportCycle: milliseconds(property.reportCycle),
    collectCycle: milliseconds(property.collectCycle),
    reportToCloud: property.reportToCloud ?? false,
    ...(property.pushMethod ? { pushMethod: pushMessage(property.pushMethod) } : {}),
  };
}

/** The CRD's names in the spelling of the message. */
function pushMessage(push: NonNullable<PropertyDetails['pushMethod']>): object {
  const { http, mqtt, otel, dbMethod, anomalyDetection } = push;
  const tdengine = dbMethod?.TDEngine?.TDEngineClientConfig;
  return {
    ...(http
      ? {
          http: {
            hostname: http.hostName,
            port: http.port,
            requestpath: http.requestPath,
            timeout: http.timeout,
          },
        }
      : {}),
    ...(mqtt ? { mqtt } : {}),
    ...(otel ? { otel } : {}),
    ...(dbMethod
      ? {
          dbMethod: {
            ...(dbMethod.influxdb2 ? { influxdb2: dbMethod.influxdb2 } : {}),
            ...(dbMethod.redis ? { redis: dbMethod.redis } : {}),
            ...(tdengine
              ? { tdengine: { tdEngineClientConfig: { addr: tdengine.addr, dbname: tdengine.dbName } } }
              : {}),
            ...(dbMethod.mysql ? { mysql: dbMethod.mysql } : {}),
          },
        }
      : {}),
    ...(anomalyDetection ? { anomalyDetection: packed(anomalyDetection) } : {}),
  };
}

function packed(config: Readonly<Record<string, Scalar>>): { data: Record<string, AnyValue> } {
  const entries = Object.entries(config).filter(([key]) => key !== '__proto__');
  return { data: Object.fromEntries(entries.map(([key, value]) => [key, packAny(value)])) };
}

function milliseconds(value: number | null | undefined): number {
  return value === null || value === undefined || !Number.isFinite(value) ? 0 : Math.trunc(value);
}

/** As KubeEdge, a device is told whole or not at all: lists, objects and null in configData cannot be. */
function wordsOf(what: string, error: z.ZodError): string {
  const issues = error.issues
    .slice(0, 3)
    .map(({ path, message }) => `${path.map(String).join('.')}: ${message}`);
  return `${what} cannot be told to a mapper: ${issues.join('; ')}`;
}
