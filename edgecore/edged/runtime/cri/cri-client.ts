/**
 * gRPC over a container runtime's unix socket: one call, one deadline, one parsed answer. Which call means what is
 * the runtime's business. Load this file only when a runtime is spoken to: gRPC costs megabytes.
 */

import { dirname, join } from 'node:path';
import {
  Client,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import { CancelledError, HawserError } from '#protocol/errors.ts';

export type CriStatus = keyof typeof status;

/** The runtime refused a call, or did not answer it. The message is the runtime's own. */
export class CriError extends HawserError<{ code: 'cri'; status: CriStatus; method: string }> {
  get status(): CriStatus {
    return this.detail.status;
  }
}

export interface CriCall {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface CriClient {
  /** @throws CriError, CancelledError */
  call<S extends z.ZodType>(
    method: CriMethod,
    request: object,
    answer: S,
    options: CriCall,
  ): Promise<z.infer<S>>;
  /** A stream without end, until the signal is aborted. @throws CriError */
  stream<S extends z.ZodType>(
    method: CriMethod,
    request: object,
    item: S,
    signal: AbortSignal,
  ): AsyncIterable<z.infer<S>>;
  close(): void;
}

/** `Tasks` is containerd's own, where CRI does not suffice. */
export type CriMethod = `${'RuntimeService' | 'ImageService' | 'Tasks'}/${string}`;

/** Of containerd, where all that comes by CRI lies. */
const criNamespace = 'k8s.io';
const answerBytesMax = 16 * 1024 * 1024;

export function createCriClient(
  options: { readonly socket: string; readonly protoFile: string },
  { clock }: { clock: Clock },
): CriClient {
  const methods = loadMethods([options.protoFile, join(dirname(options.protoFile), 'containerd.proto')]);
  const client = new Client(`unix:${options.socket}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': answerBytesMax,
    'grpc.initial_reconnect_backoff_ms': 500,
    'grpc.max_reconnect_backoff_ms': 5000,
    'grpc.enable_http_proxy': 0,
  });
  const find = (method: CriMethod) => {
    const definition = methods.get(method);
    if (definition === undefined) throw new Error(`cri.proto has no ${method}`);
    return definition;
  };
  return {
    async call(method, request, answer, { timeoutMs, signal }) {
      const { path, requestSerialize, responseDeserialize } = find(method);
      if (signal?.aborted) throw new CancelledError();
      const raw = await new Promise<unknown>((resolve, reject) => {
        const deadline = clock.now() + timeoutMs;
        const metadata = new Metadata();
        if (method.startsWith('Tasks/')) metadata.set('containerd-namespace', criNamespace);
        const call = client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata,
          { deadline },
          (error, value) => {
            signal?.removeEventListener('abort', cancel);
            if (error === null) resolve(value);
            else reject(signal?.aborted ? new CancelledError(error) : refused(method, error));
          },
        );
        const cancel = () => call.cancel();
        signal?.addEventListener('abort', cancel, { once: true });
      });
      return answer.parse(raw);
    },

    async *stream(method, request, item, signal) {
      const { path, requestSerialize, responseDeserialize } = find(method);
      const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
      const cancel = () => call.cancel();
      signal.addEventListener('abort', cancel, { once: true });
      try {
        for await (const raw of call) yield item.parse(raw);
      } catch (error) {
        if (signal.aborted) return;
        throw isServiceError(error) ? refused(method, error) : error;
      } finally {
        signal.removeEventListener('abort', cancel);
        call.cancel();
      }
    },

    close: () => client.close(),
  };
}

function loadMethods(protoFiles: string[]): ReadonlyMap<string, MethodDefinition<object, object>> {
  const loaded = loadSync(protoFiles, {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    arrays: true,
  });
  const methods = new Map<string, MethodDefinition<object, object>>();
  for (const [name, service] of Object.entries(loaded)) {
    // Messages and enums carry a string as `format`; what is left are services.
    if ('format' in service && typeof service.format === 'string') continue;
    for (const [method, definition] of Object.entries(service))
      methods.set(`${name.replace(/^.*\./, '')}/${method}`, definition);
  }
  return methods;
}

function refused(method: CriMethod, error: ServiceError): CriError {
  // The enum's reverse mapping; a status it lacks would be a new gRPC.
  const name = Object.entries(status).find(([, code]) => code === error.code)?.[0] as CriStatus | undefined;
  return new CriError(error.details || error.message, { code: 'cri', status: name ?? 'UNKNOWN', method });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error;
}
