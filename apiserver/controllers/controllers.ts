/** The controllers that run inside the API server. */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import type { Api } from '../api.ts';
import type { Registry } from '../registry.ts';
import type { LogStore } from '../store/log-store.ts';
import type { Controller } from './controller.ts';
import { createHousekeeping } from './housekeeping.ts';

export interface ControllersComponents {
  /** The API under a controller's own name. */
  readonly apiOf: (name: string) => Api;
  readonly store: LogStore;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly caCertificate: string;
}

export function createControllers({
  apiOf,
  store,
  clock,
  log,
}: ControllersComponents): readonly Controller[] {
  const of = (name: string) => ({ api: apiOf(name), clock, log: log.child({ controller: name }) });
  return [createHousekeeping(store, of('housekeeping'))];
}
