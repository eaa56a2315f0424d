/**
 * Runs the modules of a daemon: starts them in the order given, each when the one before is ready (or has
 * failed once: a module that cannot start holds up none after it), restarts with back-off what fails, and
 * stops them in reverse, each with time to drain.
 */

import { describeError } from '#protocol/errors.ts';
import { aborted } from './abort.ts';
import { Backoff } from './backoff.ts';
import type { Clock } from './clock.ts';
import { UnrecoverableError } from './errors.ts';
import type { Log } from './log.ts';
import type { Module } from './module.ts';
import type { Random } from './random.ts';

export interface SupervisorOptions {
  readonly restart: { readonly firstMs: number; readonly maxMs: number };
  /** A module that ran this long before it failed starts again with the shortest pause. */
  readonly settledAfterMs: number;
  readonly drainMs: number;
}

export const defaultSupervisorOptions: SupervisorOptions = {
  restart: { firstMs: 200, maxMs: 30_000 },
  settledAfterMs: 60_000,
  drainMs: 10_000,
};

export interface SupervisorComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Resolves when all modules have stopped. @throws UnrecoverableError of the first module that has one. */
export async function supervise(
  modules: readonly Module[],
  components: SupervisorComponents,
  signal: AbortSignal,
  options: SupervisorOptions = defaultSupervisorOptions,
): Promise<void> {
  const log = components.log.child({ module: 'supervisor' });
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const stopped = aborted(stop);
  const running: { module: Module; controller: AbortController; done: Promise<void> }[] = [];
  let fatal: UnrecoverableError | undefined;

  for (const module of modules) {
    if (stop.aborted) break;
    const controller = new AbortController();
    let started: () => void = () => {};
    const settled = new Promise<void>((resolve) => {
      started = resolve;
    });
    const done = keepRunning(module, controller.signal, started, components, options).catch(
      (error: unknown) => {
        fatal ??=
          error instanceof UnrecoverableError
            ? error
            : new UnrecoverableError(describeError(error), { cause: error });
        failed.abort();
        started();
      },
    );
    running.push({ module, controller, done });
    await Promise.race([settled, stopped]);
  }
  await stopped;
  for (const { module, controller, done } of running.reverse()) {
    controller.abort();
    const inTime = new AbortController();
    const late = components.clock.sleep(options.drainMs, inTime.signal).then(
      () => log.warn({ stopping: module.name, afterMs: options.drainMs }, 'module did not stop in time'),
      () => {},
    );
    await Promise.race([done, late]);
    inTime.abort();
  }
  if (fatal !== undefined) throw fatal;
}

async function keepRunning(
  module: Module,
  signal: AbortSignal,
  started: () => void,
  { clock, random, log }: SupervisorComponents,
  options: SupervisorOptions,
): Promise<void> {
  const backoff = new Backoff({ ...options.restart, jitter: 0.2 }, random);
  while (!signal.aborted) {
    const startedMs = clock.monotonicMs();
    // One signal a run: what a run that failed has left behind ends with it, and listens to nothing any more.
    const run = new AbortController();
    const stopRun = () => run.abort();
    signal.addEventListener('abort', stopRun, { once: true });
    try {
      await module.run(run.signal, started);
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof UnrecoverableError) throw error;
      if (clock.monotonicMs() - startedMs >= options.settledAfterMs) backoff.reset();
      const pauseMs = backoff.nextMs();
      log.error(
        { failed: module.name, err: error, restartInMs: Math.round(pauseMs) },
        'module failed, starting it again',
      );
      started();
      stopRun();
      await clock.sleep(pauseMs, signal).catch(() => {});
    } finally {
      signal.removeEventListener('abort', stopRun);
      stopRun();
    }
  }
}
