/**
 * The REST interface of a mapper, with KubeEdge's paths and answers: read a property, call a method, look at a model.
 * It has no passwords, so it is for this machine; a browser that another site leads here is turned away.
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { Clock } from '#beehive/clock.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import { describeError } from '#protocol/errors.ts';
import type { DeviceWorker } from './device-worker.ts';
import type { Fleet } from './fleet.ts';
import { MapperError } from './mapper-error.ts';

export interface Rest {
  readonly port: number;
  close(): Promise<void>;
}

interface RestComponents {
  readonly fleet: Fleet;
  readonly clock: Clock;
}

const limits = { connectionsMax: 64, headerBytesMax: 8 * 1024, requestTimeoutMs: 30_000 } as const;
const prefix = '/api/v1/';

/** @throws UnrecoverableError when it cannot listen */
export async function startRest(
  { host, port }: { readonly host: string; readonly port: number },
  components: RestComponents,
): Promise<Rest> {
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytesMax,
      requestTimeout: limits.requestTimeoutMs,
      headersTimeout: limits.requestTimeoutMs,
    },
    (request, response) => {
      void answer(request, components).then(({ status, body }) =>
        write(request, response, status, body, components),
      );
    },
  );
  server.maxConnections = limits.connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const text = `the REST interface cannot listen on ${host}:${port}: choose another with --http-port (0 takes a free one) or --address`;
      reject(new UnrecoverableError(text, { cause }));
    });
    server.listen({ host, port }, () => resolve());
  });
  const address = server.address();
  return {
    port: address !== null && typeof address === 'object' ? address.port : port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Answer {
  readonly status: number;
  readonly body: object | string;
}

async function answer(request: IncomingMessage, components: RestComponents): Promise<Answer> {
  if (!isFromHere(request)) return { status: 403, body: 'this interface is for programs on this machine' };
  if (request.method !== 'GET') return { status: 405, body: 'all paths are GET' };
  try {
    const parts = pathOf(request.url ?? '');
    const body = parts === undefined ? undefined : await route(parts, components);
    return body === undefined ? { status: 404, body: 'no such path' } : { status: 200, body };
  } catch (error) {
    // The driver's own, or a refusal: in both cases the text is for the caller.
    const status = error instanceof MapperError && error.code === 'unavailable' ? 503 : 500;
    return { status, body: describeError(error) };
  }
}

async function route(
  parts: readonly string[],
  { fleet, clock }: RestComponents,
): Promise<object | undefined> {
  const [what, namespace = '', name = '', ...rest] = parts;
  const id = `${namespace}/${name}`;
  if (what === 'ping' && parts.length === 1) return { Message: 'the mapper is running' };
  if (what === 'meta' && namespace === 'model' && rest.length === 1) {
    const model = fleet.model(`${name}/${rest[0]}`);
    if (model === undefined) throw new MapperError(`no model ${name}/${rest[0]}`, { code: 'unknown' });
    return model;
  }
  if (what === 'device' && rest.length === 1) {
    const [property = ''] = rest;
    const worker = workerOf(fleet, id);
    const value = await worker.read(property);
    const type = worker.spec.properties.find((it) => it.property.name === property)?.property.type;
    const TimeStamp = clock.now();
    return {
      Data: {
        DeviceName: name,
        PropertyName: property,
        Namespace: namespace,
        Value: value,
        Type: type,
        TimeStamp,
      },
    };
  }
  if (what === 'database' && parts.length === 3)
    throw new MapperError('this mapper keeps no values: ask the database that they are pushed to', {
      code: 'unavailable',
    });
  if (what !== 'devicemethod') return undefined;
  const worker = workerOf(fleet, id);
  if (rest.length === 0 && parts.length === 3) return { Data: { Methods: methodsOf(worker, id) } };
  const [method, property = '', data = ''] = rest;
  if (rest.length !== 3) return undefined;
  const declared = worker.spec.methods.find((it) => it.name === method);
  if (!declared?.propertyNames.includes(property))
    throw new MapperError(`method ${method} of ${id} does not write ${property}`, { code: 'unknown' });
  await worker.write(property, data);
  return { Message: `${property} of ${id} is written` };
}

function methodsOf({ spec }: DeviceWorker, id: string): object[] {
  return spec.methods.map(({ name, propertyNames }) => ({
    Name: name,
    Path: `${prefix}devicemethod/${id}/${name}/{propertyName}/{data}`,
    Parameters: propertyNames.map((property) => ({
      PropertyName: property,
      ValueType: spec.properties.find((it) => it.property.name === property)?.property.type ?? 'string',
    })),
  }));
}

function workerOf(fleet: Fleet, id: string): DeviceWorker {
  const worker = fleet.get(id);
  if (worker === undefined) throw new MapperError(`no device ${id}`, { code: 'unknown' });
  return worker;
}

function pathOf(url: string): string[] | undefined {
  const path = url.split('?')[0] ?? '';
  if (!path.startsWith(prefix)) return undefined;
  try {
    return path.slice(prefix.length).split('/').map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

/** A page of another site can make a browser ask here, but not hide that it does. */
function isFromHere({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  const host = (headers.host ?? '').replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  return (site === undefined || site === 'none') && (isIP(host) !== 0 || host === 'localhost');
}

function write(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: object | string,
  { clock }: RestComponents,
): void {
  const correlation = request.headers['x-correlation-id'];
  if (typeof correlation === 'string') response.setHeader('X-Correlation-ID', correlation);
  if (typeof body === 'string') {
    response.writeHead(status, { 'content-type': 'text/plain' }).end(`${body}\n`);
    return;
  }
  const timeStamp = new Date(clock.now()).toISOString();
  const text = JSON.stringify({ apiVersion: 'v1', statusCode: status, timeStamp, ...body });
  response.writeHead(status, { 'content-type': 'application/json' }).end(text);
}
