/** What a URL and method mean: which resource, object, subresource and verb, or which other path. */

import { badRequest } from '../status-error.ts';

export interface ResourceRequest {
  readonly isResource: true;
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly namespace: string | undefined;
  readonly plural: string;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  /** What stands behind the subresource, for proxies. */
  readonly rest: string;
}

export interface PathRequest {
  readonly isResource: false;
  readonly verb: string;
  readonly path: string;
}

export type RequestInfo = ResourceRequest | PathRequest;

const ofNamespace = new Set(['status', 'finalize']);

export function parseRequest(method: string, path: string, query: URLSearchParams): RequestInfo {
  const segments = split(path);
  const [root] = segments;
  const [group, version, at] =
    root === 'api'
      ? ['', segments[1], 2]
      : root === 'apis'
        ? [segments[1], segments[2], 3]
        : [undefined, undefined, 0];
  const parts = segments.slice(at);
  if (group === undefined || version === undefined || parts.length === 0) {
    return { isResource: false, verb: method.toLowerCase(), path };
  }
  const [first, second, third] = parts;
  const scoped =
    first === 'namespaces' && third !== undefined && !(ofNamespace.has(third) && parts.length === 3);
  const namespace = scoped ? second : undefined;
  const [plural = '', name, subresource, ...rest] = scoped ? parts.slice(2) : parts;
  const chosen = name ?? /^metadata\.name==?([^,]+)$/.exec(query.get('fieldSelector') ?? '')?.[1];
  return {
    isResource: true,
    verb: verbOf(method, name, query),
    group,
    version,
    namespace,
    plural,
    name: name ?? (method === 'GET' ? chosen : undefined),
    subresource,
    rest: rest.join('/'),
  };
}

function split(path: string): readonly string[] {
  try {
    return path
      .split('/')
      .filter((segment) => segment !== '')
      .map(decodeURIComponent);
  } catch (error) {
    if (error instanceof URIError) throw badRequest('the path is not well-formed', error);
    throw error;
  }
}

function verbOf(method: string, name: string | undefined, query: URLSearchParams): string {
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (name !== undefined) return 'get';
      return isTrue(query.get('watch')) ? 'watch' : 'list';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return name === undefined ? 'deletecollection' : 'delete';
    default:
      return method.toLowerCase();
  }
}

export function isTrue(value: string | null): boolean {
  return value === '1' || value === 'true' || value === '';
}
