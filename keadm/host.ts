/** What the commands of keadm work with: how services are run, time, chance, and where lines go. */

import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '#beehive/clock.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { type Random, systemRandom } from '#beehive/random.ts';
import type { ServiceHost } from './service/service.ts';
import { createSupervisorHost } from './service/supervisor-host.ts';
import { createSystemdHost, hasSystemd } from './service/systemd-host.ts';
import { printSteps, type Steps } from './steps.ts';

export interface Host {
  readonly services: ServiceHost;
  readonly steps: Steps;
  readonly clock: Clock;
  readonly random: Random;
}

export function createHost(out: (line: string) => void, services?: ServiceHost): Host {
  return {
    services: services ?? (hasSystemd() ? createSystemdHost() : createSupervisorHost(systemClock)),
    steps: printSteps(out, systemClock),
    clock: systemClock,
    random: systemRandom,
  };
}

/** The argv of one of our daemons. */
export function daemonArgv(
  name: 'apiserver' | 'cloudcore' | 'edgecore',
  ...args: string[]
): [string, ...string[]] {
  return [process.execPath, join(packageRoot(), 'dist', `${name}.js`), ...args];
}

/** The first address of this machine that others may reach; loopback when there is none. */
export function hostAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) {
    const found = addresses?.find((entry) => entry.family === 'IPv4' && !entry.internal);
    if (found !== undefined) return found.address;
  }
  return '127.0.0.1';
}
