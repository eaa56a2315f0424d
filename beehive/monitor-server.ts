/**
 * `/healthz`, `/readyz` and `/metrics` of a daemon, on loopback unless configured otherwise. It is no part of the
 * work: while its port is taken all else goes on, and it tries again.
 */

import { createServer, type Server, type ServerResponse } from 'node:http';
import { CancelledError, describeError } from '#protocol/errors.ts';
import { monitorLimits } from '#protocol/limits.ts';
import { aborted } from './abort.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Module } from './module.ts';

export type MonitorLimits = Readonly<Record<keyof typeof monitorLimits, number>>;

export interface MonitorServerOptions {
  /** `ADDRESS:PORT` */
  readonly bindAddress: string;
  /** The field of the config that says so, for the message when the port is taken. */
  readonly field: string;
  readonly limits?: MonitorLimits;
}

export interface MonitorServerComponents {
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
  /** What the daemon still waits for; undefined when it does its work. */
  readonly waitsFor: () => string | undefined;
}

const retryMs = 30_000;

export function createMonitorServer(
  options: MonitorServerOptions,
  components: MonitorServerComponents,
): Module {
  const log = components.log.child({ module: 'monitor' });
  return {
    name: 'monitor',
    async run(signal, ready) {
      const { bindAddress, field } = options;
      const at = bindAddress.lastIndexOf(':');
      const host = bindAddress.slice(0, at).replace(/^\[(.*)\]$/, '$1');
      const port = Number(bindAddress.slice(at + 1));
      for (let said = false; !signal.aborted; said = true) {
        const server = serve(components, options.limits ?? monitorLimits);
        try {
          await listen(server, host, port);
          ready();
          await aborted(signal);
        } catch (error) {
          const fields = { bindAddress, reason: describeError(error) };
          if (!said) log.warn(fields, `no metrics: cannot listen; set ${field} to a free port`);
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

function serve({ metrics, waitsFor }: MonitorServerComponents, limits: MonitorLimits): Server {
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.requestTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
    },
    (request, response) => {
      if (request.method !== 'GET') return answer(response, 405, 'only GET is served here');
      if (request.url === '/healthz') return answer(response, 200, 'ok');
      if (request.url === '/readyz') {
        const missing = waitsFor();
        return missing === undefined ? answer(response, 200, 'ok') : answer(response, 503, missing);
      }
      if (request.url !== '/metrics') return answer(response, 404, 'no such path');
      void metrics.text().then(
        (text) => answer(response, 200, text),
        (error: unknown) => answer(response, 500, describeError(error)),
      );
    },
  );
  server.maxConnections = limits.connectionsMax;
  return server;
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'Content-Type': 'text/plain; version=0.0.4; charset=utf-8',
    // Whatever body still comes is not read to its end.
    Connection: 'close',
  });
  response.end(text.endsWith('\n') ? text : `${text}\n`);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}

async function rest(clock: Clock, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(retryMs, signal);
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
  }
}
