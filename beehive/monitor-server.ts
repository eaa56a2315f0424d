/** `/healthz`, `/readyz` and `/metrics` of a daemon. */

import { monitorLimits } from '#protocol/limits.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Module } from './module.ts';
import { createReadOnlyServer, type Page, type ReadOnlyServerLimits } from './read-only-server.ts';

export interface MonitorServerOptions {
  /** `ADDRESS:PORT` */
  readonly bindAddress: string;
  /** The field of the config that says so, for the message when the port is taken. */
  readonly field: string;
  readonly limits?: ReadOnlyServerLimits;
}

export interface MonitorServerComponents {
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
  /** What the daemon still waits for; undefined when it does its work. */
  readonly waitsFor: () => string | undefined;
}

const ok: Page = { status: 200, text: 'ok' };

export function createMonitorServer(
  { bindAddress, field, limits = monitorLimits }: MonitorServerOptions,
  components: MonitorServerComponents,
): Module {
  const options = { name: 'monitor', bindAddress, field, limits, serves: 'metrics' };
  return createReadOnlyServer(options, components, async (path) => {
    if (path === '/healthz') return ok;
    if (path === '/metrics') return { status: 200, text: await components.metrics.text() };
    if (path !== '/readyz') return undefined;
    const missing = components.waitsFor();
    return missing === undefined ? ok : { status: 503, text: missing };
  });
}
