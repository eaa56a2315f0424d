/**
 * gRPC between an edge and its mappers: unary calls over unix sockets. What a message means is for its reader. Load
 * this file only when somebody is spoken to: gRPC costs megabytes.
 */

import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import {
  Client,
  credentials,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { CancelledError } from '../errors.ts';
import { dmiLimits } from './messages.ts';
import { RpcError, type RpcStatus } from './rpc-error.ts';

export type DmiService = 'DeviceManagerService' | 'DeviceMapperService';

/**
 * Gets the request as gRPC reads it, answers with a message. The signal is aborted when the caller has given up.
 * @throws RpcError to refuse with its status.
 */
export type RpcHandler = (request: unknown, signal: AbortSignal) => Promise<object>;

export interface RpcServer {
  /** Serves a client that has connected. */
  accept(socket: Duplex): void;
  close(): void;
}

export interface RpcClient {
  /** @throws RpcError, CancelledError */
  call(method: string, request: object, options: CallOptions): Promise<unknown>;
  /** Any answer shows that the peer is alive, also that it has no such service. @throws RpcError, CancelledError */
  ping(options: CallOptions): Promise<void>;
  close(): void;
}

export interface CallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

const sizes = {
  'grpc.max_receive_message_length': dmiLimits.messageBytesMax,
  'grpc.max_send_message_length': dmiLimits.messageBytesMax,
};

/** `failed` hears of what a handler threw that is no RpcError: a fault of ours, told to the caller as INTERNAL. */
export function createRpcServer(
  { packageDirectory, service }: { readonly packageDirectory: string; readonly service: DmiService },
  handlers: Readonly<Record<string, RpcHandler>>,
  failed: (method: string, error: unknown) => void,
): RpcServer {
  const methods = loadMethods(packageDirectory, service);
  const server = new Server({ ...sizes, 'grpc.max_concurrent_streams': dmiLimits.callsPerConnectionMax });
  const served = [...methods].filter(([name]) => Object.hasOwn(handlers, name));
  const implementation = served.map(([name]) => {
    const handle = handlers[name] ?? (() => Promise.reject(new Error(`no handler of ${name}`)));
    const unary = (call: ServerUnaryCall<object, object>, answer: sendUnaryData<object>) => {
      const givenUp = new AbortController();
      call.once('cancelled', () => givenUp.abort());
      handle(call.request, givenUp.signal).then(
        (value) => answer(null, value),
        (error: unknown) => {
          if (error instanceof RpcError) answer({ code: status[error.status], details: error.message });
          else {
            failed(name, error);
            answer({ code: status.INTERNAL, details: 'the request could not be handled' });
          }
        },
      );
    };
    return [name, unary] as const;
  });
  server.addService(Object.fromEntries(served), Object.fromEntries(implementation));
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  return {
    accept: (socket) => injector.injectConnection(socket),
    close() {
      injector.destroy();
      server.forceShutdown();
    },
  };
}

export function createRpcClient({
  packageDirectory,
  service,
  socket,
  now,
}: {
  readonly packageDirectory: string;
  readonly service: DmiService;
  readonly socket: string;
  /** The system's clock: gRPC takes deadlines by it. */
  readonly now: () => number;
}): RpcClient {
  const methods = loadMethods(packageDirectory, service);
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    ...sizes,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.min_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1_000,
    'grpc.enable_http_proxy': 0,
    'grpc.use_local_subchannel_pool': 1,
  });
  const unary = (
    method: Pick<MethodDefinition<object, object>, 'path' | 'requestSerialize' | 'responseDeserialize'>,
    request: object,
    { timeoutMs, signal }: CallOptions,
  ) => {
    if (signal?.aborted) return Promise.reject(new CancelledError());
    return new Promise<unknown>((resolve, reject) => {
      const { path, requestSerialize, responseDeserialize } = method;
      const deadline = now() + timeoutMs;
      const answered = (error: ServiceError | null, value?: object) => {
        signal?.removeEventListener('abort', cancel);
        if (error === null) resolve(value);
        else reject(signal?.aborted ? new CancelledError(error) : refused(path, error));
      };
      const call = client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        { deadline },
        answered,
      );
      const cancel = () => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
    });
  };
  return {
    call(method, request, options) {
      const definition = methods.get(method);
      if (definition === undefined) throw new TypeError(`${service} has no ${method}`);
      return unary(definition, request, options);
    },
    async ping(options) {
      try {
        await unary(healthCheck, {}, options);
      } catch (error) {
        if (!(error instanceof RpcError) || error.isAway) throw error;
      }
    },
    close: () => client.close(),
  };
}

/** The health service that gRPC defines; who lacks it says so without looking at the request. */
const healthCheck = {
  path: '/grpc.health.v1.Health/Check',
  requestSerialize: () => Buffer.alloc(0),
  responseDeserialize: () => ({}),
};

function loadMethods(
  packageDirectory: string,
  service: DmiService,
): ReadonlyMap<string, MethodDefinition<object, object>> {
  const loaded = loadSync(join(packageDirectory, 'protocol/dmi/dmi.proto'), {
    keepCase: true,
    longs: Number,
    defaults: true,
    arrays: true,
    objects: true,
  });
  const definition = loaded[`v1beta1.${service}`];
  // Messages carry a string as `format`; what is left are services.
  if (definition === undefined || ('format' in definition && typeof definition.format === 'string'))
    throw new TypeError(`dmi.proto has no ${service}`);
  return new Map(Object.entries(definition));
}

function refused(method: string, error: ServiceError): RpcError {
  // The enum's reverse mapping; a status it lacks would be a new gRPC.
  const name = Object.entries(status).find(([, code]) => code === error.code)?.[0] as RpcStatus | undefined;
  return new RpcError(error.details || error.message, { code: 'rpc', status: name ?? 'UNKNOWN', method });
}
