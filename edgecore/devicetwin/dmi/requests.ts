/** What mappers ask of the edge: requests read strictly, and put to the twin or to the register. */

import type { z } from 'zod';
import {
  registerRequestSchema,
  type StatusReport,
  stateReportSchema,
  statusReportSchema,
} from '#protocol/dmi/messages.ts';
import type { RpcHandler } from '#protocol/dmi/rpc.ts';
import { RpcError, type RpcStatus } from '#protocol/dmi/rpc-error.ts';
import { isKey, keyReason } from '../validation.ts';
import type { MapperRow } from './mapper-rows.ts';
import type { Wanted } from './wanted.ts';

/** The twins of this node. */
export interface TwinDoor {
  /** As a `twin/update` and a `state/update` of a client, answered when it is stored. */
  update(id: string, twin: Readonly<Record<string, object>>): Promise<Verdict>;
  state(id: string, state: string): Promise<Verdict>;
  /** Undefined for a device that is not here. */
  stateOf(id: string): string | undefined;
  /** What a property should be: by the spec, and as the twin has it. */
  wish(id: string, property: string): { readonly bySpec: boolean; readonly expected: string | undefined };
}

export type Verdict = { readonly code: 200 } | { readonly code: 400 | 404 | 500; readonly reason: string };

export type Register = (
  info: Omit<MapperRow, 'registration' | 'told' | 'statesBefore'>,
  withData: boolean,
) => Promise<Wanted | 'full' | 'not-ready'>;

/** It is a part of a row's key. */
const namePattern = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?$/;
const textBytesMax = 256;
/** What the kernel takes for the path of a unix socket. */
const addressBytesMax = 107;

export function managerHandlers(twin: TwinDoor, register: Register): Readonly<Record<string, RpcHandler>> {
  return {
    MapperRegister: async (request) => {
      const { withData, mapper } = read('MapperRegister', registerRequestSchema, request);
      const fail = refuser('MapperRegister');
      if (!mapper) throw fail('INVALID_ARGUMENT', 'the request names no mapper');
      const { name, version, protocol, state, api_version: apiVersion } = mapper;
      if (!namePattern.test(name)) throw fail('INVALID_ARGUMENT', 'mapper.name is not a name');
      if (protocol === '') throw fail('INVALID_ARGUMENT', 'mapper.protocol is empty');
      if ([version, protocol, state, apiVersion].some((text) => Buffer.byteLength(text) > textBytesMax))
        throw fail('INVALID_ARGUMENT', `a field of mapper has more than ${textBytesMax} bytes`);
      const address = socketOf(mapper.address);
      if (address === undefined)
        throw fail('INVALID_ARGUMENT', 'mapper.address is not the path of a unix socket');
      const wanted = await register({ name, version, protocol, state, apiVersion, address }, withData);
      if (wanted === 'full') throw fail('RESOURCE_EXHAUSTED', 'too many mappers are registered');
      if (wanted === 'not-ready')
        throw fail('UNAVAILABLE', 'the edge has not read its devices yet: try again');
      if (!withData) return {};
      return {
        modelList: [...wanted.models.values()].map(({ message }) => message),
        deviceList: [...wanted.devices.values()].map(({ message }) => message),
      };
    },

    ReportDeviceStatus: async (request) => {
      const report = read('ReportDeviceStatus', statusReportSchema, request);
      const id = deviceId('ReportDeviceStatus', report);
      judge('ReportDeviceStatus', await twin.update(id, twinOf(id, report, twin)));
      return {};
    },

    ReportDeviceStates: async (request) => {
      const report = read('ReportDeviceStates', stateReportSchema, request);
      const id = deviceId('ReportDeviceStates', report);
      if (report.state === '') throw refuser('ReportDeviceStates')('INVALID_ARGUMENT', 'state is empty');
      judge('ReportDeviceStates', await twin.state(id, report.state));
      return {};
    },
  };
}

/**
 * The report as a twin update. What a mapper has observed as wanted is an echo of what it was told, and it may be
 * late: it is taken only for what no spec asks for.
 */
function twinOf(id: string, report: StatusReport, twin: TwinDoor): Record<string, object> {
  const fail = refuser('ReportDeviceStatus');
  if (!report.reportedDevice) throw fail('INVALID_ARGUMENT', 'reportedDevice is missing');
  const entries: [string, object][] = [];
  for (const { propertyName, observedDesired, reported } of report.reportedDevice.twins) {
    if (!isKey(propertyName)) throw fail('INVALID_ARGUMENT', keyReason);
    if (!observedDesired && !reported)
      throw fail(
        'INVALID_ARGUMENT',
        `twin ${propertyName.slice(0, 128)} has neither observedDesired nor reported`,
      );
    const wish = twin.wish(id, propertyName);
    const wanted = observedDesired?.value ?? '';
    entries.push([
      propertyName,
      {
        ...(wanted === '' || wish.bySpec || wish.expected === wanted ? {} : { expected: { value: wanted } }),
        ...(reported ? { actual: { value: reported.value } } : {}),
      },
    ]);
  }
  if (entries.length === 0) throw fail('INVALID_ARGUMENT', 'reportedDevice has no twins');
  return Object.fromEntries(entries);
}

function read<S extends z.ZodType>(method: string, schema: S, request: unknown): z.infer<S> {
  const parsed = schema.safeParse(request);
  if (parsed.success) return parsed.data;
  throw refuser(method)(
    'INVALID_ARGUMENT',
    `the request does not fit: ${parsed.error.issues[0]?.message ?? ''}`,
  );
}

function deviceId(
  method: string,
  { deviceName, deviceNamespace }: { readonly deviceName: string; readonly deviceNamespace: string },
): string {
  if (deviceName === '') throw refuser(method)('INVALID_ARGUMENT', 'deviceName is empty');
  return `${deviceNamespace === '' ? 'default' : deviceNamespace}/${deviceName}`;
}

function judge(method: string, verdict: Verdict): void {
  if (verdict.code === 200) return;
  const status = ({ 400: 'INVALID_ARGUMENT', 404: 'NOT_FOUND', 500: 'INTERNAL' } as const)[verdict.code];
  throw refuser(method)(status, verdict.reason);
}

/** KubeEdge's mappers give a path; `unix://` before it is what others write. */
function socketOf(address: Uint8Array): string | undefined {
  const path = Buffer.from(address)
    .toString('utf8')
    .replace(/^unix:(\/\/)?/, '');
  const fits = path.startsWith('/') && Buffer.byteLength(path) <= addressBytesMax && !path.includes('\0');
  return fits ? path : undefined;
}

function refuser(method: string): (status: RpcStatus, reason: string) => RpcError {
  return (status, reason) => new RpcError(reason, { code: 'rpc', status, method });
}
