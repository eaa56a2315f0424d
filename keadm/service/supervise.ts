/**
 * Keeps one daemon running: restarts it with back-off, writes its output into a capped log, records how it is
 * (`<stateDir>/<name>.json`), and ends it with SIGTERM, then SIGKILL.
 */

import { spawn } from 'node:child_process';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import type { Random } from '#beehive/random.ts';
import { identify } from '#edgecore/edged/runtime/process-identity.ts';
import { RotatingLog } from './rotating-log.ts';
import type { Service } from './service.ts';

export const superviseLimits = {
  /** SC-45: what a daemon may write is capped, 10 MiB in each of three files. */
  log: { bytesMax: 10 * 1024 * 1024, filesMax: 3 },
  restart: { firstMs: 500, maxMs: 30_000, jitter: 0.2 },
  /** A daemon that ran this long starts again with the shortest pause. */
  settledAfterMs: 60_000,
  /** Between SIGTERM and SIGKILL. */
  graceMs: 20_000,
};

const processIdentitySchema = z.object({ pid: z.number().int().positive(), start: z.string() });

export const serviceStateSchema = z.object({
  supervisor: processIdentitySchema,
  daemon: processIdentitySchema.optional(),
  restarts: z.number(),
  lastExit: z.object({ code: z.number().nullable(), signal: z.string().nullable() }).optional(),
});
export type ServiceState = z.infer<typeof serviceStateSchema>;

export function stateFileOf(name: string, stateDir: string): string {
  return join(stateDir, `${name}.json`);
}

/** Resolves when the signal is aborted and the daemon is gone. */
export async function supervise(
  service: Service,
  { clock, random }: { clock: Clock; random: Random },
  signal: AbortSignal,
): Promise<void> {
  const self = identify(process.pid);
  if (self === undefined) throw new Error('no /proc: the supervisor needs Linux');
  const log = new RotatingLog(service.logFile, superviseLimits.log);
  const backoff = new Backoff(superviseLimits.restart, random);
  let state: ServiceState = { supervisor: self, restarts: 0 };
  try {
    while (!signal.aborted) {
      const startedMs = clock.monotonicMs();
      const run = startDaemon(service, log, clock, signal);
      const daemon = run.pid === undefined ? undefined : identify(run.pid);
      state = {
        supervisor: self,
        restarts: state.restarts,
        lastExit: state.lastExit,
        ...(daemon === undefined ? {} : { daemon }),
      };
      await saveState(service, state);
      const lastExit = await run.exited;
      if (signal.aborted) break;
      if (clock.monotonicMs() - startedMs >= superviseLimits.settledAfterMs) backoff.reset();
      state = { supervisor: self, restarts: state.restarts + 1, lastExit };
      await saveState(service, state);
      await clock.sleep(backoff.nextMs(), signal).catch(() => {});
    }
  } finally {
    log.close();
  }
}

interface DaemonRun {
  readonly pid: number | undefined;
  readonly exited: Promise<{ code: number | null; signal: string | null }>;
}

function startDaemon(service: Service, log: RotatingLog, clock: Clock, signal: AbortSignal): DaemonRun {
  const [command, ...args] = service.argv;
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const write = (chunk: Buffer) => log.write(chunk);
  child.stdout.on('data', write);
  child.stderr.on('data', write);
  const done = new AbortController();
  const end = () => {
    child.kill('SIGTERM');
    clock.sleep(superviseLimits.graceMs, done.signal).then(
      () => child.kill('SIGKILL'),
      () => {},
    );
  };
  if (signal.aborted) end();
  else signal.addEventListener('abort', end, { once: true });
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('error', (error) => {
      write(Buffer.from(`cannot start ${command}: ${error.message}\n`));
      resolve({ code: 127, signal: null });
    });
    child.once('close', (code, by) => resolve({ code, signal: by }));
  }).finally(() => {
    done.abort();
    signal.removeEventListener('abort', end);
  });
  return { pid: child.pid, exited };
}

async function saveState(service: Service, state: ServiceState): Promise<void> {
  const file = stateFileOf(service.name, service.stateDir);
  await mkdir(service.stateDir, { recursive: true });
  await writeFile(`${file}.new`, `${JSON.stringify(state)}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
}
