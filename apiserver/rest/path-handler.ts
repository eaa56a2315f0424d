/** Answers what is not a resource: health, version, discovery and OpenAPI. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { discoveryDocument } from '../kubectl/discovery.ts';
import { openApiV2 } from '../kubectl/openapi-v2.ts';
import { createOpenApiV3, type OpenApiV3 } from '../kubectl/openapi-v3.ts';
import type { Registry } from '../registry.ts';
import { answer, answerBytes, type Exchange } from './exchange.ts';
import { noSuchPath, notAllowed } from './resource-handler.ts';

const health = new Set(['/healthz', '/livez', '/readyz', '/healthz/ping', '/livez/ping', '/readyz/ping']);

const version = {
  major: '1',
  minor: '32',
  gitVersion: 'v1.32.0+hawser',
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: 'none',
  compiler: 'none',
  platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
};

export class PathHandler {
  readonly #registry: Registry;
  readonly #isReady: () => boolean;
  readonly #openApi: OpenApiV3;

  constructor(registry: Registry, isReady: () => boolean) {
    this.#registry = registry;
    this.#isReady = isReady;
    this.#openApi = createOpenApiV3(registry);
  }

  /** What may be asked without saying who asks. */
  isPublic(path: string): boolean {
    return health.has(path) || path === '/version';
  }

  answerPublic(request: IncomingMessage, response: ServerResponse, path: string): void {
    leaveBody(request, response);
    if (path === '/version') answer({ response, warnings: [] }, 200, version);
    else {
      const ready = !path.startsWith('/readyz') || this.#isReady();
      const text = Buffer.from(ready ? 'ok' : 'not ready');
      answerBytes(response, ready ? 200 : 503, text, 'text/plain; charset=utf-8');
    }
  }

  answer(exchange: Exchange): void {
    const { request, response, path } = exchange;
    leaveBody(request, response);
    if (request.method !== 'GET' && request.method !== 'HEAD') throw notAllowed(exchange);
    const { contentType, bytes } = this.#document(path, request.headers.accept);
    answerBytes(response, 200, bytes, contentType);
  }

  #document(path: string, accept: string | undefined): { contentType: string; bytes: Buffer } {
    if (path === '/openapi/v2') {
      const { contentType, body } = openApiV2(this.#registry, accept);
      return { contentType, bytes: Buffer.from(body) };
    }
    if (path.startsWith('/openapi/v3')) {
      const of = path.slice('/openapi/v3/'.length);
      const text = of === '' ? JSON.stringify(this.#openApi.index()) : this.#openApi.document(of);
      if (text === undefined) throw noSuchPath();
      return { contentType: 'application/json', bytes: Buffer.from(text) };
    }
    const found = discoveryDocument(this.#registry, path, accept);
    if (found === undefined) throw noSuchPath();
    return { contentType: found.contentType, bytes: Buffer.from(JSON.stringify(found.body)) };
  }
}

/** Nothing here has a use for a body: one that comes all the same is not read, which ends the connection. */
function leaveBody(request: IncomingMessage, response: ServerResponse): void {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  if (encoding !== undefined || (length !== undefined && length !== '0')) {
    response.setHeader('connection', 'close');
  } else request.resume();
}
