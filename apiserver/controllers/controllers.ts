/** The controllers that run inside the API server. */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Api } from '../api.ts';
import type { Registry } from '../registry.ts';
import type { LogStore } from '../store/log-store.ts';
import type { Controller } from './controller.ts';
import { createCustomResourceCleanup } from './custom-resource-cleanup.ts';
import { createDaemonSetController } from './daemonset.ts';
import { createDeploymentController } from './deployment.ts';
import { createGarbageCollector } from './garbage-collector.ts';
import { createHousekeeping } from './housekeeping.ts';
import { createNamespaceController } from './namespace-controller.ts';
import { createNodeLifecycle } from './node-lifecycle.ts';
import { createReplicaSetController } from './replicaset.ts';
import { createScheduler } from './scheduler.ts';
import { createServiceAccountController } from './service-account-controller.ts';

export interface ControllersComponents {
  /** The API under a controller's own name. */
  readonly apiOf: (name: string) => Api;
  readonly store: LogStore;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
  readonly caCertificate: string;
}

export function createControllers(components: ControllersComponents): readonly Controller[] {
  const { apiOf, store, registry, clock, log, caCertificate } = components;
  const of = (name: string) => ({ api: apiOf(name), clock, log: log.child({ controller: name }) });
  return [
    createNamespaceController(registry, of('namespace-controller')),
    createServiceAccountController(caCertificate, of('service-account-controller')),
    createGarbageCollector({ ...of('garbage-collector'), store, registry }),
    createCustomResourceCleanup(of('custom-resource-cleanup')),
    createDeploymentController(of('deployment-controller')),
    createReplicaSetController(of('replicaset-controller')),
    createDaemonSetController(of('daemonset-controller')),
    createScheduler(of('scheduler')),
    createNodeLifecycle(of('node-controller')),
    createHousekeeping(store, of('housekeeping')),
  ];
}
