/** The HTTPS listener: who asks, may they, and which handler answers. Every failure becomes a Status. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { UnrecoverableError } from '#beehive/errors.ts';
import type { Log } from '#beehive/log.ts';
import { type Authenticator, unauthorized } from '../auth/authenticator.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import { impersonated } from '../auth/impersonation.ts';
import type { Attributes } from '../auth/rbac.ts';
import { anonymous } from '../auth/user.ts';
import { limits } from '../limits.ts';
import type { Registry } from '../registry.ts';
import { StatusError } from '../status-error.ts';
import { StoreError } from '../store/log-store.ts';
import { answer, type Exchange } from './exchange.ts';
import type { PathHandler } from './path-handler.ts';
import { parseRequest, type RequestInfo, type ResourceRequest } from './request-info.ts';
import { noSuchPath, notAllowed, type ResourceHandler } from './resource-handler.ts';
import type { Reviews } from './reviews.ts';

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  readonly caCertificate: string;
  readonly certificate: string;
  readonly key: string;
  readonly times?: ListenerTimes | undefined;
}

/** How long a peer may take for what, in milliseconds. */
export type ListenerTimes = Readonly<
  Record<'handshakeMs' | 'headMs' | 'requestMs' | 'keepAliveMs' | 'checkEveryMs', number>
>;

export interface ServerComponents {
  readonly registry: Registry;
  readonly authenticator: Authenticator;
  readonly authorizer: Authorizer;
  readonly resources: ResourceHandler;
  readonly reviews: Reviews;
  readonly paths: PathHandler;
  readonly log: Log;
}

export interface RunningServer {
  readonly port: number;
  close(): Promise<void>;
}

/** @throws UnrecoverableError when the address cannot be listened on. */
export async function listen(options: ServerOptions, components: ServerComponents): Promise<RunningServer> {
  const { times = limits } = options;
  const server = createServer({
    cert: options.certificate,
    key: options.key,
    ca: options.caCertificate,
    requestCert: true,
    // Who shows no certificate may bring a token.
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    handshakeTimeout: times.handshakeMs,
    maxHeaderSize: limits.headerBytes,
    requestTimeout: times.requestMs,
    headersTimeout: times.headMs,
    connectionsCheckingInterval: times.checkEveryMs,
    keepAliveTimeout: times.keepAliveMs,
  });
  server.maxConnections = limits.connections;
  server.on('request', (request, response) => {
    serve(request, response, components).catch((error: unknown) => {
      components.log.error({ err: error }, 'a request could not be answered');
      response.destroy();
    });
  });
  // Clients that speak no TLS, or end in the middle of it, are nobody's failure.
  server.on('tlsClientError', (error) => components.log.debug({ err: error }, 'TLS handshake failed'));
  await listening(server, options);
  // A listening TCP server has an AddressInfo, not a pipe's name.
  const { port } = server.address() as AddressInfo;
  return { port, close: () => closed(server) };
}

function listening(server: Server, { host, port }: ServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, host, port)));
    server.listen(port, host, resolve);
  });
}

function explain(error: NodeJS.ErrnoException, host: string, port: number): UnrecoverableError {
  switch (error.code) {
    case 'EADDRINUSE':
      return new UnrecoverableError(
        `port ${port} on ${host} is taken by another process; stop it, or choose another port with --secure-port`,
        { cause: error },
      );
    case 'EADDRNOTAVAIL':
      return new UnrecoverableError(`${host} is no address of this machine; choose one with --bind-address`, {
        cause: error,
      });
    case 'EACCES':
      return new UnrecoverableError(
        `port ${port} needs more rights; choose one above 1023 with --secure-port`,
        { cause: error },
      );
    default:
      return new UnrecoverableError(`cannot listen on ${host}:${port}`, { cause: error });
  }
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  components: ServerComponents,
): Promise<void> {
  const warnings: string[] = [];
  try {
    const url = new URL(request.url ?? '/', 'https://localhost');
    const path = withoutSlashes(url.pathname);
    if (components.paths.isPublic(path)) return components.paths.answerPublic(request, response, path);
    const sender = await components.authenticator.authenticate(request);
    if (sender === anonymous) throw unauthorized();
    const user = impersonated(sender, request.headers, components.authorizer);
    const info = parseRequest(request.method ?? 'GET', path, url.searchParams);
    components.authorizer.require(user, attributesOf(info));
    await dispatch({ request, response, path, query: url.searchParams, info, user, warnings }, components);
  } catch (error) {
    refuse(request, response, error, components.log);
  }
}

/** A loop, since a pattern would try anew at each of many slashes. */
function withoutSlashes(path: string): string {
  let end = path.length;
  while (end > 1 && path[end - 1] === '/') end -= 1;
  return path.slice(0, end);
}

async function dispatch(exchange: Exchange, components: ServerComponents): Promise<void> {
  const { info } = exchange;
  if (!isResourceExchange(exchange)) return components.paths.answer(exchange);
  const { group, version, plural, verb } = exchange.info;
  const definition = components.registry.find(group, version, plural);
  if (definition === undefined) throw noSuchPath();
  if (definition.storage !== '') return components.resources.handle(exchange, definition);
  if (verb !== 'create' || (info.isResource && info.subresource !== undefined)) throw notAllowed(exchange);
  return components.reviews.handle(exchange, definition);
}

function isResourceExchange(exchange: Exchange): exchange is Exchange<ResourceRequest> {
  return exchange.info.isResource;
}

function attributesOf(info: RequestInfo): Attributes {
  if (!info.isResource) return { verb: info.verb, path: info.path };
  const { verb, group, plural, subresource, namespace, name } = info;
  return { verb, group, plural, subresource, namespace, name };
}

function refuse(request: IncomingMessage, response: ServerResponse, error: unknown, log: Log): void {
  const gone = response.destroyed || request.socket.destroyed;
  if (gone) return;
  const status = toStatusError(error, log);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const retryAfter = status.detail.details?.retryAfterSeconds;
  if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter);
  // What is left of a body that was not read would be taken for the next request.
  if (!request.complete) response.setHeader('connection', 'close');
  answer({ response, warnings: [] }, status.httpStatus, status.toStatus());
}

function toStatusError(error: unknown, log: Log): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof StoreError)
    return new StatusError('ServiceUnavailable', error.message, undefined, error);
  if (error instanceof TypeError && 'code' in error && error.code === 'ERR_INVALID_URL') {
    return new StatusError('BadRequest', 'the URL is not well-formed', undefined, error);
  }
  log.error({ err: error }, 'a request failed inside the server');
  return new StatusError(
    'InternalError',
    'Internal error occurred: see the log of the server',
    undefined,
    error,
  );
}
