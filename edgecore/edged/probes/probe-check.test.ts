import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { notServing, startHealthServer } from '#test/fixtures/health-server.ts';
import { containerSchema } from '../pod/pod.ts';
import { type CheckAction, check } from './probe-check.ts';

const runtime = {
  execSync: async () => ({ exitCode: 3, stdout: Buffer.from('out '), stderr: Buffer.from('err') }),
};
const servers: Server[] = [];

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function ask(action: CheckAction, timeoutMs = 60_000, ports: object[] = []) {
  const container = containerSchema.parse({ name: 'main', ports });
  const target = { containerId: 'c', container, host: '127.0.0.1' };
  return check(action, target, timeoutMs, { runtime, clock: systemClock });
}
const http = (port: number | string, path = '/', more: object = {}) => ({
  httpGet: { port, path, httpHeaders: [], ...more },
});

describe('a check', () => {
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((it) => new Promise((resolve) => it.close(resolve))));
  });

  it('by HTTP takes 200 to 399 for fine, sends the headers, and finds ports by name', async () => {
    const seen: IncomingMessage[] = [];
    const port = await listen(
      createHttpServer((request, response) => {
        seen.push(request);
        response.writeHead(Number(request.url?.slice(1) || 200)).end('body');
      }),
    );
    expect(await ask(http(port, '/204'))).toEqual({ ok: true, message: '' });
    expect(await ask(http(port, '/302'))).toEqual({ ok: true, message: '' });
    expect(await ask(http(port, '/503'))).toEqual({
      ok: false,
      message: 'HTTP probe failed with statuscode: 503',
    });
    const headers = [{ name: 'X-Probe', value: 'yes' }];
    const ports = [{ name: 'web', containerPort: port }];
    expect((await ask(http('web', '/', { httpHeaders: headers }), 60_000, ports)).ok).toBe(true);
    expect(seen.at(-1)?.headers).toMatchObject({ 'x-probe': 'yes', 'user-agent': 'kube-probe/1.32' });
    expect(await ask(http('nowhere'))).toMatchObject({
      ok: false,
      message: 'the container has no port nowhere',
    });
  });

  it('by TCP takes a connection for fine', async () => {
    const port = await listen(createServer((socket) => socket.resume()));
    expect((await ask({ tcpSocket: { port } })).ok).toBe(true);
    const [server] = servers.splice(0);
    await new Promise((resolve) => server?.close(resolve));
    expect(await ask({ tcpSocket: { port } })).toMatchObject({
      ok: false,
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  it('by a command says what the command said', async () => {
    expect(await ask({ exec: { command: ['x'] } })).toEqual({ ok: false, message: 'out err' });
  });

  it('by gRPC asks for the health of the service', async () => {
    const { port, health, close } = await startHealthServer();
    health.set('sick', notServing);
    expect(await ask({ grpc: { port } })).toEqual({ ok: true, message: '' });
    expect(await ask({ grpc: { port, service: 'sick' } })).toEqual({
      ok: false,
      message: 'service unhealthy (responded with 2)',
    });
    close();
    expect((await ask({ grpc: { port } })).ok).toBe(false);
  });

  it('ends in time however silent the other side is, and leaves no connection', async () => {
    let open = 0;
    let accepted = 0;
    const port = await listen(
      createServer((socket) => {
        open += 1;
        accepted += 1;
        socket.on('error', () => {});
        socket.on('close', () => {
          open -= 1;
        });
        socket.resume();
      }),
    );
    for (let n = 0; n < 10; n += 1)
      await Promise.all(Array.from({ length: 100 }, () => ask(http(port), 200)));
    expect(accepted).toBeGreaterThan(500);
    await expect.poll(() => open).toBe(0);
    expect(await ask(http(port), 20)).toEqual({ ok: false, message: 'no answer within 0.02 s' });
  });
});
