/** A mapper, whole: its socket for the edge, its devices, its REST interface, and the way to the edge. */

import type { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { packageRoot } from '#beehive/package-root.ts';
import type { Random } from '#beehive/random.ts';
import {
  deviceNameSchema,
  deviceRequestSchema,
  dmiLimits,
  modelNameSchema,
  modelRequestSchema,
} from '#protocol/dmi/messages.ts';
import { createRpcServer, type RpcHandler } from '#protocol/dmi/rpc.ts';
import { RpcError } from '#protocol/dmi/rpc-error.ts';
import { listenUnix } from '#protocol/dmi/unix-socket.ts';
import type { DriverClass } from '../hawser-mapper.ts';
import type { MapperConfig } from './config.ts';
import { EdgeLink } from './edge-link.ts';
import { Fleet, idOf } from './fleet.ts';
import { createPush } from './push.ts';
import { startRest } from './rest.ts';

export interface MapperComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Hears the port of the REST interface. */
  readonly listening?: (port: number) => void;
}

/** The edge runs as the same user, or as root. */
const socketMode = 0o600;

/** Runs until the signal is aborted. @throws SocketError, UnrecoverableError or the system's error when it cannot listen */
export async function runMapper(
  config: MapperConfig,
  driverClass: DriverClass,
  components: MapperComponents,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = components;
  const push = createPush({ clock });
  const edge = new EdgeLink(config, { ...components, assigned: (assignment) => fleet.assign(assignment) });
  const fleet = new Fleet(driverClass, { ...components, push, reports: edge.reports });
  const server = createRpcServer(
    { packageDirectory: packageRoot(), service: 'DeviceMapperService' },
    handlersOf(fleet, edge),
    (method, error) => log.error({ method, err: error }, 'a call of the edge failed'),
  );
  const { connectionsMax } = dmiLimits;
  const path = config.grpc_server.socket_path;
  const listener = await listenUnix({ path, mode: socketMode, connectionsMax }, (socket) =>
    server.accept(socket),
  );
  try {
    const { address: host, http_port: port } = config.common;
    const rest = await startRest({ host, port }, { fleet, clock });
    try {
      components.listening?.(rest.port);
      await edge.run(signal);
    } finally {
      await rest.close();
    }
  } finally {
    await listener.close();
    server.close();
    await fleet.stop();
    await push.close();
  }
}

function handlersOf(fleet: Fleet, edge: EdgeLink): Readonly<Record<string, RpcHandler>> {
  /** What the edge has given up meanwhile was said before the registration, whose answer knows better. */
  const inOrder = async (method: string, signal: AbortSignal) => {
    await edge.settled();
    if (signal.aborted) throw refused(method, 'the caller has given up', 'CANCELLED');
  };
  const putDevice =
    (method: string): RpcHandler =>
    async (request, signal) => {
      const { device } = read(method, deviceRequestSchema, request);
      if (!device || device.name === '') throw refused(method, 'the request names no device');
      await inOrder(method, signal);
      fleet.put(device);
      return { deviceName: device.name, deviceNamespace: device.namespace };
    };
  const putModel =
    (method: string): RpcHandler =>
    async (request, signal) => {
      const { model } = read(method, modelRequestSchema, request);
      if (!model || model.name === '') throw refused(method, 'the request names no model');
      await inOrder(method, signal);
      fleet.putModel(model);
      return { deviceModelName: model.name, deviceModelNamespace: model.namespace };
    };
  return {
    RegisterDevice: putDevice('RegisterDevice'),
    UpdateDevice: putDevice('UpdateDevice'),
    CreateDeviceModel: putModel('CreateDeviceModel'),
    UpdateDeviceModel: putModel('UpdateDeviceModel'),
    RemoveDevice: async (request, signal) => {
      const { deviceName, deviceNamespace } = read('RemoveDevice', deviceNameSchema, request);
      await inOrder('RemoveDevice', signal);
      fleet.remove(idOf({ namespace: deviceNamespace, name: deviceName }));
      return {};
    },
    RemoveDeviceModel: async (request, signal) => {
      const { modelName, modelNamespace } = read('RemoveDeviceModel', modelNameSchema, request);
      await inOrder('RemoveDeviceModel', signal);
      fleet.removeModel(idOf({ namespace: modelNamespace, name: modelName }));
      return {};
    },
    GetDevice: async (request) => {
      const { deviceName, deviceNamespace } = read('GetDevice', deviceNameSchema, request);
      const worker = fleet.get(idOf({ namespace: deviceNamespace, name: deviceName }));
      if (worker === undefined) throw refused('GetDevice', 'no such device', 'NOT_FOUND');
      return { device: { name: deviceName, namespace: deviceNamespace, status: { twins: [] } } };
    },
  };
}

function read<S extends z.ZodType>(method: string, schema: S, request: unknown): z.infer<S> {
  const parsed = schema.safeParse(request);
  if (parsed.success) return parsed.data;
  throw refused(method, `the request does not fit: ${parsed.error.issues[0]?.message ?? ''}`);
}

function refused(
  method: string,
  reason: string,
  status: 'INVALID_ARGUMENT' | 'NOT_FOUND' | 'CANCELLED' = 'INVALID_ARGUMENT',
): RpcError {
  return new RpcError(reason, { code: 'rpc', status, method });
}
