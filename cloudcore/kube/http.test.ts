import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type Clock, ManualClock, systemClock } from '#beehive/clock.ts';
import { CancelledError } from '#protocol/errors.ts';
import { defaultHttpLimits, HttpConnection, type HttpLimits } from './http.ts';
import { KubeError } from './kube-api.ts';

const get = { method: 'GET', path: '/api/v1/x', accept: 'application/json' } as const;
let server: Server | undefined;
let connection: HttpConnection | undefined;

afterEach(async () => {
  connection?.close();
  const closing = server;
  closing?.closeAllConnections();
  await new Promise((resolve) => (closing === undefined ? resolve(undefined) : closing.close(resolve)));
  server = undefined;
});

async function serve(
  listener: RequestListener,
  limits: Partial<HttpLimits> = {},
  clock: Clock = systemClock,
): Promise<HttpConnection> {
  const listening = createServer(listener);
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const { port } = listening.address() as AddressInfo;
  const endpoint = {
    server: `http://127.0.0.1:${port}/prefix`,
    tls: {},
    credential: { kind: 'header', value: 'Bearer t' },
  } as const;
  connection = new HttpConnection(endpoint, { clock }, { ...defaultHttpLimits, ...limits });
  return connection;
}

const failure = async (work: Promise<unknown>): Promise<KubeError> => {
  const error = await work.catch((caught: unknown) => caught);
  if (error instanceof KubeError) return error;
  throw new Error(`expected a KubeError, got ${String(error)}`);
};

describe('HttpConnection', () => {
  it('sends credentials and keeps the path of the server address', async () => {
    const http = await serve((request, response) => {
      response.end(JSON.stringify([request.url, request.headers.authorization]));
    });
    expect(JSON.parse(await http.call(get))).toEqual(['/prefix/api/v1/x', 'Bearer t']);
  });

  it('turns a Status into an error with its code, and anything else into one by HTTP code', async () => {
    const status = {
      kind: 'Status',
      status: 'Failure',
      reason: 'AlreadyExists',
      message: 'there',
      code: 409,
    };
    const bodies = [JSON.stringify(status), 'gateway is sad', '{}'];
    const codes = [409, 502, 429];
    let at = 0;
    const http = await serve((_request, response) => {
      response.writeHead(codes[at] ?? 500, { 'retry-after': '2' }).end(bodies[at]);
      at += 1;
    });
    expect(await failure(http.call(get))).toMatchObject({ code: 'alreadyExists', message: 'there' });
    expect(await failure(http.call(get))).toMatchObject({ code: 'unreachable', retry: 'backoff' });
    expect(await failure(http.call(get))).toMatchObject({
      code: 'throttled',
      detail: { retryAfterMs: 2000 },
    });
  });

  it('gives up at its deadline, and at an answer that is too large', async () => {
    const clock = new ManualClock();
    const http = await serve(
      (request, response) => {
        if (request.url?.endsWith('large')) response.end('x'.repeat(2_000));
        else void clock.advance(5_000);
      },
      { requestTimeoutMs: 5_000, answerBytesMax: 1_000 },
      clock,
    );
    expect(await failure(http.call(get))).toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining('no answer in 5000 ms'),
    });
    expect((await failure(http.call({ ...get, path: '/large' }))).message).toMatch(/larger than 1000 bytes/);
  });

  it('is cancelled by its signal', async () => {
    const stop = new AbortController();
    const http = await serve(() => stop.abort());
    await expect(http.call({ ...get, signal: stop.signal })).rejects.toBeInstanceOf(CancelledError);
  });

  it('asks once more when a kept connection was closed under it', async () => {
    let requests = 0;
    const http = await serve((request, response) => {
      requests += 1;
      if (requests === 2) request.socket.destroy();
      else response.end('ok');
    });
    await http.call(get);
    expect(await http.call(get)).toBe('ok');
    expect(requests).toBe(3);
  });

  it('reads lines across chunks and characters, and ends when the server does', async () => {
    const bytes = Buffer.from('{"a":"ä"}\n{"b":1}\n');
    const http = await serve(async (_request, response) => {
      for (const byte of bytes) {
        response.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
    });
    const lines: string[] = [];
    for await (const line of http.lines({ ...get, timeoutMs: 5_000 })) lines.push(line);
    expect(lines).toEqual(['{"a":"ä"}', '{"b":1}']);
  });

  it('says a broken stream is unreachable, and ends a silent one at its time', async () => {
    const clock = new ManualClock();
    const listener: RequestListener = (request, response) => {
      response.write('{}\n');
      if (request.url?.endsWith('broken')) setImmediate(() => response.destroy());
    };
    const http = await serve(listener, {}, clock);
    const broken = http.lines({ ...get, path: '/broken', timeoutMs: 5_000 });
    const readOn = async () => {
      for await (const _ of broken);
    };
    expect(await failure(readOn())).toMatchObject({ code: 'unreachable' });
    const silent = http.lines({ ...get, path: '/silent', timeoutMs: 5_000 });
    expect(await silent.next()).toEqual({ done: false, value: '{}' });
    const next = silent.next();
    await clock.advance(5_000);
    expect((await next).done).toBe(true);
  });
});
