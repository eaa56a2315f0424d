/** What all controllers are given, and the loop most of them are: follow a resource, act per object, try again later. */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { CancelledError } from '#protocol/errors.ts';
import type { Api, ResourceRef, WatchEvent, WatchOptions } from '../api.ts';
import { StatusError } from '../status-error.ts';

export interface ControllerComponents {
  readonly api: Api;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Controller {
  readonly name: string;
  /** Runs until the signal is aborted; a failure of one object does not end it. */
  run(signal: AbortSignal): Promise<void>;
}

const restartMs = 1_000;

/** Calls `handle` for every present object and every change, one after the other, for as long as the signal allows. */
export async function follow(
  { api, clock, log }: ControllerComponents,
  resource: ResourceRef,
  options: Omit<WatchOptions, 'signal' | 'fromRevision'> & { signal: AbortSignal },
  handle: (event: WatchEvent) => Promise<void>,
): Promise<void> {
  const { signal } = options;
  while (!signal.aborted) {
    try {
      for await (const event of api.watch(resource, options)) {
        if (signal.aborted) return;
        await attempt(log, `${resource.plural} ${event.object.metadata.name}`, () => handle(event));
      }
    } catch (error) {
      // The log no longer reaches back to where this watch was: begin anew with what is there.
      if (!(error instanceof StatusError)) throw error;
      log.warn({ err: error, resource: resource.plural }, 'watch ended, beginning anew');
      await pause(clock, restartMs, signal);
    }
  }
}

/** Does the work again and again with a pause between; ends when the signal is aborted. */
export async function every(
  { clock, log }: Pick<ControllerComponents, 'clock' | 'log'>,
  ms: number,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await attempt(log, 'periodic work', work);
    await pause(clock, ms, signal);
  }
}

/** A refusal by the API (a conflict, something already gone) is left to the next event or round. */
export async function attempt(log: Log, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof CancelledError) return;
    if (error instanceof StatusError) log.debug({ err: error, what }, 'refused, left to the next round');
    else log.error({ err: error, what }, 'failed, left to the next round');
  }
}

export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
  }
}
