/** A call of a rule to an app on this machine (wire 9.1): `<port>:<path>` → one HTTP request → its answer, or why none. */

import type { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import { callHttp, HttpCallError } from '#beehive/http-call.ts';
import { ProtocolError } from '#protocol/errors.ts';
import { headerList, headerRecord, type httpResponseSchema } from '#protocol/http-call.ts';
import { ruleLimits } from '#protocol/limits.ts';
import type { Envelope } from '#protocol/message.ts';
import { open } from '#protocol/open.ts';

export type AppAnswer = z.input<typeof httpResponseSchema>;

export interface AppRequest {
  readonly url: URL;
  readonly method: string;
}

/** KubeEdge's deadline for an app. */
const appTimeoutMs = 10_000;
const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** Never throws for what the cloud sent or the app did: each becomes an answer, so that the caller does not wait in vain. */
export async function callApp(request: Envelope, clock: Clock, signal: AbortSignal): Promise<AppAnswer> {
  const target = readTarget(request);
  if (typeof target === 'string') return failed(400, target);
  const content = contentOf(request);
  if (content === undefined) return failed(400, 'the call has another form than it should');
  const { serviceBusBodyBytesMax, answerBytesMax } = ruleLimits;
  if (Buffer.byteLength(content.body, 'base64') > serviceBusBodyBytesMax)
    return failed(413, `an app gets at most ${serviceBusBodyBytesMax} bytes`);
  try {
    const { status, headers, body } = await callHttp(
      {
        ...target,
        headers: headerList(content.header),
        body: Buffer.from(content.body, 'base64'),
        timeoutMs: appTimeoutMs,
        answerBytesMax,
        signal,
      },
      clock,
    );
    return { header: headerRecord(headers), status_code: status, body: body.toString('base64') };
  } catch (error) {
    if (!(error instanceof HttpCallError)) throw error;
    return failed(error.code === 'timeout' ? 504 : 502, error.message);
  }
}

/** The app that is meant, or what is wrong with the way it is named. */
export function readTarget({ route: { operation: method, resource } }: Envelope): AppRequest | string {
  const colon = resource.indexOf(':');
  const port = Number(resource.slice(0, colon));
  if (colon < 1 || !/^\d{1,5}$/.test(resource.slice(0, colon)) || port < 1 || port > 65_535)
    return 'a call names its app as <port>:<path>';
  if (!methods.has(method)) return `"${method.slice(0, 20)}" is no HTTP method that is passed on`;
  const path = resource.slice(colon + 1);
  const text = `http://127.0.0.1:${port}${path.startsWith('/') ? '' : '/'}${path}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // A path cannot lead to another host, or name a user.
  if (url?.host !== new URL(`http://127.0.0.1:${port}`).host || url.username !== '')
    return `"${path.slice(0, 200)}" is no path`;
  return { url, method };
}

export function failed(status: number, reason: string): AppAnswer {
  return {
    header: { Server: ['hawser-edgecore'], 'Content-Type': ['text/plain; charset=utf-8'] },
    status_code: status,
    body: Buffer.from(`${reason}\n`).toString('base64'),
  };
}

function contentOf(request: Envelope) {
  try {
    const message = open(request);
    return message.kind === 'servicebus/call' ? message.content : undefined;
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}
