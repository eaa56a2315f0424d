/** For tests: an API server on a free port in a temporary directory, and a client that speaks plain HTTPS to it. */

import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Clock, systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { seededRandom } from '#beehive/random.ts';
import { type ApiServer, startApiServer } from '../apiserver.ts';
import type { JsonObject } from '../kube-object.ts';
import type { ListenerTimes } from '../rest/server.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly body: JsonObject;
}

export interface CallOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is; objects are sent as JSON. */
  readonly body?: unknown;
  /** Whose certificate is shown. */
  readonly as?: 'admin' | 'cloudcore' | 'nobody';
}

export class RunningServer {
  readonly dataDir: string;
  readonly server: ApiServer;
  readonly #agents: Readonly<Record<NonNullable<CallOptions['as']>, Agent>>;

  private constructor(dataDir: string, server: ApiServer) {
    this.dataDir = dataDir;
    this.server = server;
    const file = (name: string) => readFileSync(join(dataDir, 'pki', name));
    const agent = (name: string) =>
      new Agent({ keepAlive: true, ca: file('ca.crt'), cert: file(`${name}.crt`), key: file(`${name}.key`) });
    this.#agents = {
      admin: agent('admin'),
      cloudcore: agent('cloudcore'),
      nobody: new Agent({ keepAlive: true, ca: file('ca.crt') }),
    };
  }

  static async start(
    clock: Clock = systemClock,
    dataDir = mkdtempSync(join(tmpdir(), 'apiserver-')),
    times?: ListenerTimes,
  ) {
    const server = await startApiServer(
      {
        dataDir,
        bindAddress: '127.0.0.1',
        securePort: 0,
        advertiseAddresses: [],
        ...(times === undefined ? {} : { times }),
      },
      { clock, random: seededRandom(1), log: silentLog },
    );
    return new RunningServer(dataDir, server);
  }

  async call(method: string, path: string, options: CallOptions = {}): Promise<Answer> {
    const response = await this.#send(method, path, options);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(Buffer.from(chunk));
    const text = Buffer.concat(chunks).toString();
    const isJson = (response.headers['content-type'] ?? '').startsWith('application/json');
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      text,
      body: isJson ? (JSON.parse(text) as JsonObject) : {},
    };
  }

  get(path: string, options?: CallOptions) {
    return this.call('GET', path, options);
  }

  post(path: string, body: unknown, options?: CallOptions) {
    return this.call('POST', path, { ...options, body });
  }

  put(path: string, body: unknown, options?: CallOptions) {
    return this.call('PUT', path, { ...options, body });
  }

  patch(path: string, type: 'merge' | 'json' | 'strategic' | 'apply', body: unknown, options?: CallOptions) {
    const contentType = {
      merge: 'application/merge-patch+json',
      json: 'application/json-patch+json',
      strategic: 'application/strategic-merge-patch+json',
      apply: 'application/apply-patch+yaml',
    }[type];
    return this.call('PATCH', path, {
      ...options,
      body,
      headers: { 'content-type': contentType, ...options?.headers },
    });
  }

  delete(path: string, options?: CallOptions) {
    return this.call('DELETE', path, options);
  }

  /** Events of a watch as they come; ends with the stream or when the reader leaves. */
  async *watch(
    path: string,
    options: CallOptions = {},
  ): AsyncGenerator<{ type: string; object: JsonObject }> {
    const response = await this.#send('GET', path, options);
    try {
      for await (const line of createInterface({ input: response })) yield JSON.parse(line);
    } finally {
      response.destroy();
    }
  }

  async stop(): Promise<void> {
    for (const agent of Object.values(this.#agents)) agent.destroy();
    await this.server.close();
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  async #send(
    method: string,
    path: string,
    { headers = {}, body, as = 'admin' }: CallOptions,
  ): Promise<IncomingMessage> {
    const raw =
      typeof body === 'string' || Buffer.isBuffer(body)
        ? body
        : body === undefined
          ? undefined
          : JSON.stringify(body);
    const request = httpsRequest(`${this.server.url}${path}`, {
      method,
      agent: this.#agents[as],
      headers: {
        ...(raw === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(raw)) }),
        ...headers,
      },
    });
    request.end(raw);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return response;
  }
}
