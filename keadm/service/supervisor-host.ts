/** Services under a detached supervisor of our own, one per service: where there is no systemd. */

import { spawn } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '#beehive/clock.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { isAlive, signal } from '#edgecore/edged/runtime/process-identity.ts';
import { KeadmError } from '../errors.ts';
import type { Service, ServiceHost } from './service.ts';
import { type ServiceState, serviceStateSchema, stateFileOf, superviseLimits } from './supervise.ts';

const pollMs = 50;
const startTimeoutMs = 10_000;

export function createSupervisorHost(
  clock: Clock,
  entry = join(packageRoot(), 'dist/supervise.js'),
): ServiceHost {
  return {
    kind: 'supervisor',
    async start(service) {
      await stopSupervisor(service.name, service.stateDir, clock);
      const child = spawn(process.execPath, [entry, JSON.stringify(service)], {
        detached: true,
        stdio: 'ignore',
      });
      child.unref();
      await waitUntil(
        clock,
        startTimeoutMs,
        async () => (await readState(service.name, service.stateDir))?.supervisor.pid === child.pid,
        service,
      );
    },
    async remove(name, stateDir) {
      await stopSupervisor(name, stateDir, clock);
      await rm(stateFileOf(name, stateDir), { force: true });
    },
    async isRunning(name, stateDir) {
      const state = await readState(name, stateDir);
      return state?.daemon !== undefined && isAlive(state.daemon);
    },
    logOf: ({ logFile }) => logFile,
  };
}

/** How the service's supervisor last saw it; undefined when it never ran there. */
export async function readState(name: string, stateDir: string): Promise<ServiceState | undefined> {
  let text: string;
  try {
    text = await readFile(stateFileOf(name, stateDir), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  return serviceStateSchema.parse(JSON.parse(text));
}

/** Ends the supervisor, which ends its daemon; a daemon whose supervisor was killed is ended by itself. */
async function stopSupervisor(name: string, stateDir: string, clock: Clock): Promise<void> {
  const state = await readState(name, stateDir);
  if (state === undefined) return;
  for (const identity of [state.supervisor, state.daemon]) {
    if (identity === undefined || !isAlive(identity)) continue;
    signal(identity, 'SIGTERM', 'process');
    const service = { name, logFile: stateFileOf(name, stateDir) };
    await waitUntil(clock, superviseLimits.graceMs + 5_000, async () => !isAlive(identity), service);
  }
}

async function waitUntil(
  clock: Clock,
  timeoutMs: number,
  holds: () => Promise<boolean>,
  service: Pick<Service, 'name' | 'logFile'>,
): Promise<void> {
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  while (!(await holds())) {
    if (clock.monotonicMs() > deadlineMs) {
      throw new KeadmError(
        `${service.name} did not start or stop in ${timeoutMs / 1000} s; see ${service.logFile}`,
        {
          code: 'service-failed',
          service: service.name,
          logFile: service.logFile,
        },
      );
    }
    await clock.sleep(pollMs);
  }
}
