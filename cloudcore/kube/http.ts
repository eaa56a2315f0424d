/**
 * HTTP to one API server: keep-alive connections, credentials that renew themselves, a deadline and a size
 * limit for each call, and failures as KubeError. What is asked and answered is client.ts's business.
 */

import { readFile } from 'node:fs/promises';
import * as http from 'node:http';
import * as https from 'node:https';
import type { Clock } from '#beehive/clock.ts';
import { CancelledError } from '#protocol/errors.ts';
import { loadPluginAuth, type PluginAuth } from './auth-plugin.ts';
import { codeOfStatus, failureStatus, KubeError, statusSchema } from './kube-api.ts';
import type { Endpoint } from './kubeconfig.ts';

export interface HttpLimits {
  /** Calls that run at once; more wait for a connection. Watches are not counted. */
  readonly connectionsMax: number;
  readonly answerBytesMax: number;
  readonly requestTimeoutMs: number;
  /** How long a token or plug-in's answer is used before it is asked for again. */
  readonly credentialTtlMs: number;
}

export const defaultHttpLimits: HttpLimits = {
  connectionsMax: 32,
  answerBytesMax: 64 * 1024 * 1024,
  requestTimeoutMs: 30_000,
  credentialTtlMs: 30_000,
};

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly accept: string;
  readonly body?: { readonly type: string; readonly text: string };
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

interface Access {
  readonly agent: http.Agent | undefined;
  readonly headers: Record<string, string>;
}

export class HttpConnection {
  readonly #endpoint: Endpoint;
  readonly #base: URL;
  readonly #clock: Clock;
  readonly #limits: HttpLimits;
  readonly #calls: http.Agent;
  readonly #streams: http.Agent;
  #plugin: PluginAuth | undefined;
  #credential: { readonly access: Access; readonly untilMs: number } | undefined;

  constructor(endpoint: Endpoint, components: { clock: Clock }, limits: HttpLimits = defaultHttpLimits) {
    this.#endpoint = endpoint;
    this.#base = new URL(endpoint.server);
    this.#clock = components.clock;
    this.#limits = limits;
    const { Agent } = this.#base.protocol === 'http:' ? http : https;
    this.#calls = new Agent({ keepAlive: true, maxSockets: limits.connectionsMax, ...endpoint.tls });
    this.#streams = new Agent({ keepAlive: true, ...endpoint.tls });
  }

  close(): void {
    this.#calls.destroy();
    this.#streams.destroy();
  }

  /** The answer's text. @throws KubeError; CancelledError when the signal is aborted. */
  async call(request: HttpRequest): Promise<string> {
    return await this.#withDeadline(
      request,
      request.timeoutMs ?? this.#limits.requestTimeoutMs,
      async (signal) => {
        const answer = await this.#open(request, signal, this.#calls);
        return await this.#readAll(answer);
      },
    );
  }

  /** The answer's lines as they come. @throws as `call`; the deadline covers the whole stream. */
  async *lines(request: HttpRequest & { readonly timeoutMs: number }): AsyncGenerator<string, void, void> {
    const stop = new AbortController();
    const late = this.#clock.sleep(request.timeoutMs, stop.signal).then(
      () => stop.abort(),
      () => {},
    );
    const signal = AbortSignal.any([stop.signal, ...(request.signal ? [request.signal] : [])]);
    try {
      const answer = await this.#open(request, signal, this.#streams);
      answer.setEncoding('utf8');
      let rest = '';
      for await (const chunk of answer as AsyncIterable<string>) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > this.#limits.answerBytesMax) throw unreachable(this.#base, 'a line is too long');
        for (const line of lines) if (line !== '') yield line;
      }
    } catch (error) {
      if (request.signal?.aborted) throw new CancelledError(error);
      if (stop.signal.aborted) return;
      throw error instanceof KubeError ? error : unreachable(this.#base, 'the connection broke', error);
    } finally {
      stop.abort();
      await late;
    }
  }

  async #withDeadline<T>(
    request: HttpRequest,
    timeoutMs: number,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const stop = new AbortController();
    let late = false;
    const cancel = this.#clock.after(timeoutMs, () => {
      late = true;
      stop.abort();
    });
    const abort = () => stop.abort();
    if (request.signal?.aborted) abort();
    request.signal?.addEventListener('abort', abort, { once: true });
    try {
      return await run(stop.signal);
    } catch (error) {
      if (error instanceof KubeError) throw error;
      if (request.signal?.aborted) throw new CancelledError(error);
      throw unreachable(this.#base, late ? `no answer in ${timeoutMs} ms` : 'no answer', error);
    } finally {
      cancel();
      request.signal?.removeEventListener('abort', abort);
    }
  }

  /** Answers with status 2xx; any other becomes its KubeError. */
  async #open(request: HttpRequest, signal: AbortSignal, agent: http.Agent): Promise<http.IncomingMessage> {
    let answer = await this.#once(request, signal, agent);
    if (answer.statusCode === 401 && this.#credential !== undefined) {
      answer.resume();
      this.#credential = undefined;
      answer = await this.#once(request, signal, agent);
    }
    const code = answer.statusCode ?? 0;
    if (code >= 200 && code < 300) return answer;
    throw errorOf(code, await this.#readAll(answer), answer.headers['retry-after']);
  }

  async #once(request: HttpRequest, signal: AbortSignal, agent: http.Agent): Promise<http.IncomingMessage> {
    const access = await this.#access();
    const send = () => this.#send(request, signal, access.agent ?? agent, access.headers);
    try {
      return await send();
    } catch (error) {
      // The server may close an idle connection just as we use it; what it may not have seen twice is not repeated.
      if (error instanceof StaleConnectionError && request.method !== 'POST') return await send();
      throw error;
    }
  }

  #send(
    request: HttpRequest,
    signal: AbortSignal,
    agent: http.Agent,
    headers: Record<string, string>,
  ): Promise<http.IncomingMessage> {
    return new Promise((resolve, reject) => {
      const call = (this.#base.protocol === 'http:' ? http : https).request(
        new URL(this.#base.pathname.replace(/\/$/, '') + request.path, this.#base),
        {
          method: request.method,
          agent,
          signal,
          headers: {
            accept: request.accept,
            'user-agent': 'hawser',
            ...headers,
            ...(request.body === undefined
              ? {}
              : {
                  'content-type': request.body.type,
                  'content-length': Buffer.byteLength(request.body.text),
                }),
          },
        },
      );
      call.on('response', resolve);
      call.on('error', (error) => reject(call.reusedSocket ? new StaleConnectionError(error) : error));
      call.end(request.body?.text);
    });
  }

  async #readAll(answer: http.IncomingMessage): Promise<string> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > this.#limits.answerBytesMax) {
        answer.destroy();
        throw unreachable(this.#base, `an answer is larger than ${this.#limits.answerBytesMax} bytes`);
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  async #access(): Promise<Access> {
    const { credential } = this.#endpoint;
    if (credential.kind === 'none') return { agent: undefined, headers: {} };
    if (credential.kind === 'header') {
      return { agent: undefined, headers: { authorization: credential.value } };
    }
    const nowMs = this.#clock.monotonicMs();
    if (this.#credential === undefined || nowMs >= this.#credential.untilMs) {
      let access: Access;
      if (credential.kind === 'token-file') {
        const token = (await readFile(credential.file, 'utf8')).trim();
        access = { agent: undefined, headers: { authorization: `Bearer ${token}` } };
      } else {
        this.#plugin ??= await loadPluginAuth(credential.kubeconfig);
        access = await this.#plugin.fresh();
      }
      this.#credential = { access, untilMs: nowMs + this.#limits.credentialTtlMs };
    }
    return this.#credential.access;
  }
}

/** A kept connection turned out to be closed. */
class StaleConnectionError extends Error {
  constructor(cause: unknown) {
    super('a kept connection was closed', { cause });
  }
}

function unreachable(base: URL, reason: string, cause?: unknown): KubeError {
  const message = `Kubernetes API at ${base.origin}: ${reason}`;
  return new KubeError('unreachable', failureStatus(503, 'ServiceUnavailable', message), { cause });
}

function errorOf(code: number, text: string, retryAfter: string | undefined): KubeError {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  const parsed = statusSchema.safeParse(body);
  const status =
    parsed.success && parsed.data.kind === 'Status'
      ? parsed.data
      : failureStatus(code, '', `HTTP ${code}: ${text.slice(0, 200)}`);
  const seconds = Number(retryAfter);
  const retryAfterMs = Number.isFinite(seconds) && retryAfter !== undefined ? seconds * 1000 : undefined;
  return new KubeError(codeOfStatus({ ...status, code: status.code || code }), status, { retryAfterMs });
}
