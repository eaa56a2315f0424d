/**
 * The kubelet's read-only port as far as it tells numbers: `/stats/summary`, `/metrics/resource` and `/healthz`, on
 * loopback only. The tunnel to the cloud and agents on the machine read here.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Module } from '#beehive/module.ts';
import { createReadOnlyServer, type ReadOnlyServerLimits } from '#beehive/read-only-server.ts';
import { monitorLimits } from '#protocol/limits.ts';
import { DiskUses } from '../node/disk-use.ts';
import type { RuntimeService } from '../runtime/runtime-service.ts';
import { Collector, machineReader } from './collector.ts';
import { type PodDisk, podDisk } from './pod-disk.ts';
import { resourceMetrics } from './resource-metrics.ts';
import { summary } from './summary.ts';

export interface StatsServerOptions {
  readonly port: number;
  readonly nodeName: string;
  readonly rootDirectory: string;
  /** Empty: the first of the machine. */
  readonly interfaceName: string;
  readonly limits?: ReadOnlyServerLimits;
}

export interface StatsServerComponents {
  readonly runtime: RuntimeService;
  readonly clock: Clock;
  readonly log: Log;
}

/** A module of its own, so that a port that is taken touches no pod. */
export function createStatsServer(options: StatsServerOptions, components: StatsServerComponents): Module {
  const { runtime, clock } = components;
  const log = components.log.child({ module: 'stats' });
  const machine = machineReader(runtime, options.rootDirectory, clock);
  const collector = new Collector({ runtime, machine, clock, log });
  const uses = new DiskUses(clock);
  const door = {
    name: 'stats',
    bindAddress: `127.0.0.1:${options.port}`,
    field: 'modules.edged.tailoredKubeletConfig.readOnlyPort',
    limits: options.limits ?? monitorLimits,
    serves: 'stats',
  };
  return createReadOnlyServer(door, { clock, log: components.log }, async (path) => {
    // Agents append what they want left out, as `?only_cpu_and_memory=true`; all of it is what they would get.
    switch (path.split('?')[0]) {
      case '/healthz':
        return { status: 200, text: 'ok' };
      case '/metrics/resource':
        return { status: 200, text: resourceMetrics(await collector.read()) };
      case '/stats/summary':
      case '/stats/summary/': {
        const reading = await collector.read();
        const disks = new Map<string, PodDisk>();
        for (const pod of reading.pods)
          disks.set(pod.sandbox.podUid, await podDisk(pod, options.rootDirectory, uses));
        const { nodeName, interfaceName } = options;
        const text = JSON.stringify(summary(reading, disks, { nodeName, interfaceName }));
        return { status: 200, text, contentType: 'application/json' };
      }
      default:
        return undefined;
    }
  });
}
