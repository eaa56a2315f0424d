/** A device as the edge describes it, read into what the SDK and drivers use. */

import { type Scalar, unpackAny } from '#protocol/dmi/any-value.ts';
import type { DeviceMessage, ModelMessage } from '#protocol/dmi/messages.ts';
import type { Config, MapperDevice, MapperProperty } from '../hawser-mapper.ts';

export interface HttpPush {
  readonly url: string;
  readonly timeoutMs: number;
}

export interface MqttPush {
  readonly address: string;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly retained: boolean;
}

export interface PropertySpec {
  readonly property: MapperProperty;
  /** Undefined: nobody wants a value. */
  readonly desired: string | undefined;
  readonly collectMs: number;
  readonly pushMs: number;
  readonly reportToCloud: boolean;
  readonly http: HttpPush | undefined;
  readonly mqtt: MqttPush | undefined;
  /** Asked for, and nothing that this SDK does. */
  readonly unserved: readonly string[];
}

export interface DeviceSpec {
  readonly device: MapperDevice;
  readonly model: string;
  readonly properties: readonly PropertySpec[];
  readonly methods: readonly { readonly name: string; readonly propertyNames: readonly string[] }[];
  readonly reportState: boolean;
  readonly stateMs: number;
}

const defaultCycleMs = 1_000;
const shortestCycleMs = 10;
const longestCycleMs = 24 * 3_600_000;
const defaultHttpTimeoutMs = 5_000;

export function deviceSpec(message: DeviceMessage, model: ModelMessage | undefined): DeviceSpec {
  const { name, namespace, spec, status } = message;
  const declared = new Map(model?.spec?.properties.map((property) => [property.name, property]));
  return {
    device: { namespace, name, config: configOf(spec?.protocol?.configData?.data) },
    model: spec?.deviceModelReference ?? '',
    properties: (spec?.properties ?? []).map((property): PropertySpec => {
      const {
        type = '',
        accessMode = '',
        minimum = '',
        maximum = '',
        unit = '',
      } = declared.get(property.name) ?? {};
      const { http, mqtt } = property.pushMethod ?? {};
      return {
        property: {
          name: property.name,
          type: type.toLowerCase() || 'string',
          readOnly: accessMode.toLowerCase() === 'readonly',
          minimum,
          maximum,
          unit,
          config: configOf(property.visitors?.configData?.data),
        },
        desired: property.desired?.value || undefined,
        collectMs: cycle(property.collectCycle),
        pushMs: cycle(property.reportCycle),
        reportToCloud: property.reportToCloud,
        http: http ? httpPush(http) : undefined,
        unserved: unservedOf(type, property.pushMethod ?? {}),
        mqtt: mqtt ? { ...mqtt, qos: mqtt.qos === 1 || mqtt.qos === 2 ? mqtt.qos : 0 } : undefined,
      };
    }),
    methods: spec?.methods ?? [],
    reportState: status?.reportToCloud ?? false,
    stateMs: cycle(status?.reportCycle ?? 0),
  };
}

type PushMethod = NonNullable<NonNullable<DeviceMessage['spec']>['properties'][number]['pushMethod']>;

function unservedOf(type: string, { otel, dbMethod, anomalyDetection }: Partial<PushMethod>): string[] {
  // gRPC fills in what was not sent: a database that is not meant is null.
  const databases = Object.entries(dbMethod ?? {}).filter(([, config]) => config);
  return [
    ...(type.toLowerCase() === 'stream' ? ['type STREAM'] : []),
    ...(otel ? ['pushMethod.otel'] : []),
    ...databases.map(([name]) => `pushMethod.dbMethod.${name}`),
    ...(anomalyDetection ? ['pushMethod.anomalyDetection'] : []),
  ];
}

/** Whether only wishes differ: then the driver may stay as it is. */
export function differInWishesOnly(one: DeviceSpec, other: DeviceSpec): boolean {
  const plain = (spec: DeviceSpec) =>
    JSON.stringify({ ...spec, properties: spec.properties.map((it) => ({ ...it, desired: undefined })) });
  return plain(one) === plain(other);
}

/** hostName holds the scheme. */
function httpPush(http: { hostname: string; port: number; requestpath: string; timeout: number }): HttpPush {
  const port = http.port > 0 ? `:${http.port}` : '';
  return {
    url: `${http.hostname}${port}${http.requestpath}`,
    timeoutMs: http.timeout > 0 && http.timeout <= 60_000 ? http.timeout : defaultHttpTimeoutMs,
  };
}

function configOf(data: Readonly<Record<string, Parameters<typeof unpackAny>[0]>> = {}): Config {
  const entries = Object.entries(data).flatMap(([key, any]): [string, Scalar][] => {
    const value = unpackAny(any);
    return value === undefined ? [] : [[key, value]];
  });
  return Object.fromEntries(entries);
}

function cycle(ms: number): number {
  if (!Number.isFinite(ms) || ms <= 0) return defaultCycleMs;
  return Math.min(longestCycleMs, Math.max(shortestCycleMs, ms));
}
