/** One request being answered: who asks for what, and the ways to answer. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { User } from '../auth/user.ts';
import type { JsonObject } from '../kube-object.ts';
import { chooseRendering, type Rendering } from '../kubectl/accept.ts';
import { StatusError } from '../status-error.ts';
import type { RequestInfo } from './request-info.ts';

/** Warnings go out as headers, of which a client takes some 16 KiB. */
const mostWarnings = 20;
const longestWarning = 256;

export interface Exchange<Info extends RequestInfo = RequestInfo> {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly info: Info;
  readonly user: User;
  readonly warnings: string[];
}

export function warn(exchange: Exchange, text: string): void {
  if (exchange.warnings.length < mostWarnings) exchange.warnings.push(text.slice(0, longestWarning));
}

/** @throws StatusError 406 */
export function renderingOf(exchange: Exchange): Rendering {
  const rendering = chooseRendering(exchange.request.headers.accept);
  if (rendering !== undefined) return rendering;
  throw new StatusError(
    'NotAcceptable',
    'only the following media types are accepted: application/json, application/json;as=Table;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io',
  );
}

export function answer(
  { response, warnings }: Pick<Exchange, 'response' | 'warnings'>,
  status: number,
  body: JsonObject,
  contentType = 'application/json',
): void {
  answerBytes(response, status, Buffer.from(JSON.stringify(body)), contentType, warnings);
}

export function answerBytes(
  response: ServerResponse,
  status: number,
  bytes: Buffer,
  contentType: string,
  warnings: readonly string[] = [],
): void {
  if (response.headersSent || response.destroyed) return;
  response.statusCode = status;
  response.setHeader('content-type', contentType);
  response.setHeader('content-length', bytes.length);
  response.setHeader('cache-control', 'no-cache, private');
  if (warnings.length > 0) response.setHeader('warning', warnings.map(warningHeader));
  response.end(bytes);
}

function warningHeader(text: string): string {
  const plain = text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&');
  return `299 - "${plain}"`;
}
