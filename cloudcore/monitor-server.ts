/** `/metrics` and `/healthz` for who watches this daemon. It is no part of the work: without its port all else goes on. */

import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Metrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import { CancelledError, describeError } from '#protocol/errors.ts';

export interface MonitorComponents {
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
}

const limits = { connectionsMax: 32, headerBytesMax: 8 * 1024, timeoutMs: 10_000, retryMs: 30_000 };

export function createMonitor(bindAddress: string, components: MonitorComponents): Module {
  const log = components.log.child({ module: 'monitor' });
  return {
    name: 'monitor',
    async run(signal, ready) {
      const at = bindAddress.lastIndexOf(':');
      const host = bindAddress.slice(0, at).replace(/^\[(.*)\]$/, '$1');
      const port = Number(bindAddress.slice(at + 1));
      for (let said = false; !signal.aborted; said = true) {
        const server = createMonitorServer(components.metrics);
        try {
          await listen(server, host, port);
          ready();
          await aborted(signal);
        } catch (error) {
          if (!said)
            log.warn(
              { bindAddress, reason: describeError(error) },
              'no metrics: cannot listen; set commonConfig.monitorServer.bindAddress to a free port',
            );
          ready();
          await rest(components.clock, signal);
        } finally {
          server.close();
          server.closeAllConnections();
        }
      }
    },
  };
}

function createMonitorServer(metrics: Metrics): Server {
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.timeoutMs,
      requestTimeout: limits.timeoutMs,
    },
    (request, response) => {
      if (request.method !== 'GET') return answer(response, 405, 'only GET is served here\n');
      if (request.url === '/healthz') return answer(response, 200, 'ok\n');
      if (request.url !== '/metrics') return answer(response, 404, 'no such path\n');
      void metrics.text().then(
        (text) => answer(response, 200, text),
        (error: unknown) => answer(response, 500, `${describeError(error)}\n`),
      );
    },
  );
  server.maxConnections = limits.connectionsMax;
  return server;
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' });
  response.end(text);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

async function rest(clock: Clock, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(limits.retryMs, signal);
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
  }
}
