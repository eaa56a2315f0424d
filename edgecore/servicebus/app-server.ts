/**
 * What local apps ask of the cloud: `{"method","targetURL","payload"}` on loopback, answered with
 * `{"code","msg","body"}` (wire 9.2). Only URLs that a rule allows are passed on.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { z } from 'zod';
import { BodyBudget, readBody } from '#beehive/http-listener.ts';
import { ProtocolError } from '#protocol/errors.ts';
import { mqttLimits, ruleLimits } from '#protocol/limits.ts';
import { parseJson } from '#protocol/wire/json.ts';

export interface AppServerComponents {
  readonly isAllowed: (url: string) => boolean;
  /** Undefined: nobody needs one. */
  readonly token: string | undefined;
  /** The whole request as text, to the cloud and back. */
  readonly ask: (url: string, text: string) => Promise<AppReply>;
}

export interface AppReply {
  readonly code: number;
  readonly msg: string;
  readonly body: string;
}

export const appRequestSchema = z.looseObject({
  method: z.string().default('POST'),
  targetURL: z.string(),
  payload: z.unknown(),
});

/** Requests that may be open at once, each for as long as the cloud takes. */
const openMax = 64;
const jsonLimits = { bytesMax: ruleLimits.serviceBusBodyBytesMax, depthMax: mqttLimits.depthMax };

export function createAppHandler(components: AppServerComponents): RequestListener {
  const budget = new BodyBudget(16 * ruleLimits.serviceBusBodyBytesMax);
  let open = 0;
  return (request, response) => {
    if (open >= openMax) return reply(response, 503, 'too many requests wait for the cloud; ask again later');
    open += 1;
    void answer(request, response, budget, components).finally(() => {
      open -= 1;
    });
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  budget: BodyBudget,
  { isAllowed, token, ask }: AppServerComponents,
): Promise<void> {
  if (token !== undefined && !isToken(request.headers.authorization, token))
    return reply(response, 401, 'this edge wants its token: Authorization: Bearer TOKEN');
  if (request.method !== 'POST') return reply(response, 405, 'only POST is served here');
  const body = await readBody(request, ruleLimits.serviceBusBodyBytesMax, budget);
  if ('refused' in body) {
    if (body.refused === 'ended') return void response.destroy();
    if (body.refused === 'no-room') return reply(response, 503, 'too much is on its way; ask again later');
    return reply(response, 413, `a request has at most ${ruleLimits.serviceBusBodyBytesMax} bytes`);
  }
  try {
    const text = body.bytes.toString('utf8');
    const asked = readAppRequest(text);
    if (asked === undefined)
      return reply(response, 200, said(400, 'the request is not {"method","targetURL","payload"}'));
    if (!isAllowed(asked.targetURL))
      return reply(
        response,
        200,
        said(400, `no rule of this node allows "${asked.targetURL.slice(0, 200)}"`),
      );
    reply(response, 200, await ask(asked.targetURL, text));
  } finally {
    body.release();
  }
}

/** Undefined for what has another form. */
export function readAppRequest(text: string): z.infer<typeof appRequestSchema> | undefined {
  try {
    return appRequestSchema.safeParse(parseJson(text, jsonLimits)).data;
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

export function said(code: number, msg: string, body = ''): AppReply {
  return { code, msg, body };
}

/** KubeEdge answers with status 200 whatever happened; what it has no case for has a status of its own. */
function reply(response: ServerResponse, status: number, what: AppReply | string): void {
  const answered = typeof what === 'string' ? said(status, what) : what;
  const text = JSON.stringify(answered);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
    // Whatever body still comes is not read to its end.
    Connection: 'close',
  });
  response.end(text);
}

function isToken(header: string | undefined, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(header ?? ''), digest(`Bearer ${token}`));
}
