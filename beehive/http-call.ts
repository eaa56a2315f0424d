/**
 * One HTTP request and its whole answer, within a time and a size. Redirects are not followed, certificates are
 * verified. How it failed says whether the other side may have acted on it: who repeats a call must know.
 */

import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { HawserError } from '#protocol/errors.ts';
import { endToEnd, type HeaderList, pairs } from '#protocol/http-call.ts';
import type { Clock } from './clock.ts';

export interface HttpCall {
  readonly url: URL;
  readonly method: string;
  readonly headers: HeaderList;
  readonly body: Uint8Array;
  readonly timeoutMs: number;
  readonly answerBytesMax: number;
  /** PEM of authorities to trust; undefined: those of the system. */
  readonly ca?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Buffer;
}

/** `unreachable`: nothing was delivered. All others: it may have been. */
export class HttpCallError extends HawserError<{
  readonly code: 'unreachable' | 'broken' | 'timeout' | 'answer-too-large';
}> {}

const answerHeaderBytesMax = 32 * 1024;

/** @throws HttpCallError */
export async function callHttp(call: HttpCall, clock: Clock): Promise<HttpAnswer> {
  const stop = new AbortController();
  let late = false;
  const cancel = clock.after(call.timeoutMs, () => {
    late = true;
    stop.abort();
  });
  const abort = () => stop.abort();
  if (call.signal?.aborted) abort();
  call.signal?.addEventListener('abort', abort, { once: true });
  const sent = { any: false };
  try {
    const answer = await open(call, stop.signal, sent);
    return { status: answer.statusCode ?? 0, headers: headersOf(answer), body: await readAll(answer, call) };
  } catch (error) {
    if (error instanceof HttpCallError) throw error;
    const { host } = call.url;
    if (late && sent.any)
      throw failure('timeout', `${host} did not answer within ${call.timeoutMs} ms`, error);
    if (!sent.any)
      throw failure('unreachable', `cannot reach ${host}${late ? ` in ${call.timeoutMs} ms` : ''}`, error);
    throw failure('broken', `the connection to ${host} broke before the answer was whole`, error);
  } finally {
    cancel();
    call.signal?.removeEventListener('abort', abort);
  }
}

function open(call: HttpCall, signal: AbortSignal, sent: { any: boolean }): Promise<IncomingMessage> {
  const { url, method, body, ca } = call;
  const isPlain = url.protocol === 'http:';
  const headers = [
    ['Host', url.host],
    ...endToEnd(call.headers),
    ...(body.length > 0 || !/^(GET|HEAD)$/.test(method) ? [['Content-Length', String(body.length)]] : []),
    ['Connection', 'close'],
  ].flat();
  return new Promise((resolve, reject) => {
    const options = {
      method,
      headers,
      agent: false as const,
      signal,
      maxHeaderSize: answerHeaderBytesMax,
      ...(ca === undefined || isPlain ? {} : { ca }),
    };
    const asked = isPlain ? httpRequest(url, options) : httpsRequest(url, options);
    asked.on('socket', (socket) => {
      socket.once(isPlain ? 'connect' : 'secureConnect', () => {
        sent.any = true;
      });
    });
    asked.on('response', resolve);
    asked.on('error', reject);
    asked.end(body);
  });
}

async function readAll(answer: IncomingMessage, { url, answerBytesMax }: HttpCall): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > answerBytesMax) {
      answer.destroy();
      throw failure('answer-too-large', `the answer of ${url.host} is larger than ${answerBytesMax} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function headersOf(answer: IncomingMessage): HeaderList {
  return endToEnd(pairs(answer.rawHeaders));
}

function failure(code: HttpCallError['detail']['code'], text: string, cause?: unknown): HttpCallError {
  return new HttpCallError(text, { code }, { retry: 'backoff', cause });
}
