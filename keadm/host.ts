/** What the commands of keadm work with: how services are run, time, chance, and where lines go. */

import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '#beehive/clock.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { type Random, systemRandom } from '#beehive/random.ts';
import type { Service, ServiceHost } from './service/service.ts';
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

/** Says what runs the daemons, and where they say what. In the foreground that is plain to see. */
export function noteServices(services: readonly Service[], { services: by, steps }: Host): void {
  if (by.kind === 'foreground') return;
  const logs = services.map((service) => by.logOf(service)).join(', ');
  steps.note(
    by.kind === 'systemd'
      ? `  systemd runs it (units ${services.map(({ name }) => name).join(', ')}); logs: ${logs}`
      : `  no systemd here, so a supervisor of ours runs it, until the machine is started anew; logs: ${logs}`,
  );
}

/**
 * Left to itself V8 keeps half as much again free as cloudcore needs for a thousand edges, and collects garbage so
 * rarely that it stays. These ask for collections after a third of growth.
 */
const nodeFlags: Readonly<Record<string, readonly string[]>> = {
  cloudcore: ['--max-semi-space-size=4', '--heap-growing-percent=30'],
};

/** The argv of one of our daemons. */
export function daemonArgv(
  name: 'apiserver' | 'cloudcore' | 'edgecore',
  ...args: string[]
): [string, ...string[]] {
  return [process.execPath, ...(nodeFlags[name] ?? []), join(packageRoot(), 'dist', `${name}.js`), ...args];
}

/** The first address of this machine that others may reach; loopback when there is none. */
export function hostAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) {
    const found = addresses?.find((entry) => entry.family === 'IPv4' && !entry.internal);
    if (found !== undefined) return found.address;
  }
  return '127.0.0.1';
}
