/** The cloud daemon, top to bottom: API, cache, bus, modules; run until stopped; closed in reverse. */

import { Backoff } from '#beehive/backoff.ts';
import { Bus } from '#beehive/bus.ts';
import { systemClock } from '#beehive/clock.ts';
import type { LoadedConfig } from '#beehive/config-file.ts';
import { createLog } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import { createMonitorServer } from '#beehive/monitor-server.ts';
import { systemRandom } from '#beehive/random.ts';
import { type SupervisorComponents, supervise } from '#beehive/supervisor.ts';
import { CancelledError } from '#protocol/errors.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { cloudHubInbox, createCloudHub } from './cloudhub/cloudhub.ts';
import { authorizes, cloudHubOptions } from './cloudhub/config.ts';
import type { Controller } from './cloudhub/dispatcher.ts';
import { readServingRequest } from './cloudhub/serving-request.ts';
import { absentModules, type CloudcoreConfig } from './config.ts';
import { createDeviceController, deviceControllerInbox } from './devicecontroller/devicecontroller.ts';
import { createEdgeController, edgeControllerInbox } from './edgecontroller/edgecontroller.ts';
import { createKubeApi, type KubeClient } from './kube/client.ts';
import { KubeError } from './kube/kube-api.ts';
import { createObjectCacheModule } from './kube/object-cache-module.ts';
import { ObjectCache } from './kube/objects.ts';
import { createRouter, routerInbox } from './router/router.ts';
import { SyncController } from './synccontroller/synccontroller.ts';

const apiRetry = { firstMs: 500, maxMs: 10_000, jitter: 0.2 };

/** Resolves when the signal was aborted and everything is closed. @throws UnrecoverableError, ConfigError */
export async function runCloudcore(
  loaded: LoadedConfig<CloudcoreConfig>,
  signal: AbortSignal,
): Promise<void> {
  const { config } = loaded;
  const { cloudHub, edgeController, deviceController, router } = config.modules;
  const log = createLog({ name: 'cloudcore' });
  const base = { clock: systemClock, random: systemRandom, log };
  const metrics = createMetrics();
  tellWhatIsUnused(loaded, base);

  const { master, kubeConfig } = config.kubeAPIConfig;
  const api = await createKubeApi(kubeConfig || undefined, {
    clock: base.clock,
    ...(master === '' ? {} : { master }),
  });
  try {
    if (!(await waitForApi(api, base, signal))) return;

    const cache = new ObjectCache({ ...base, api });
    const ledger = new SyncController({ ...base, api, cache });
    const bus = new Bus(base);
    const { bindAddress } = config.commonConfig.monitorServer;
    const monitor = { bindAddress, field: 'commonConfig.monitorServer.bindAddress' };
    const modules: Module[] = [
      createMonitorServer(monitor, { ...base, metrics, waitsFor: () => undefined }),
      createObjectCacheModule(cache),
      ledger,
    ];
    const controllers: Controller[] = [];
    bus.open('cloudhub', cloudHubInbox);
    if (edgeController.enable) {
      bus.open('edgecontroller', edgeControllerInbox);
      controllers.push('edgecontroller');
      const certificates = { kubernetesCa: api.ca, readCertificateRequest: readServingRequest };
      const components = { ...base, ...certificates, api, cache, ledger, bus };
      modules.push(createEdgeController({ authorize: authorizes(cloudHub) }, components));
    }
    if (deviceController.enable) {
      bus.open('devicecontroller', deviceControllerInbox);
      controllers.push('devicecontroller');
      modules.push(createDeviceController({}, { ...base, api, cache, ledger, bus }));
    }
    if (router.enable) {
      bus.open('router', routerInbox);
      controllers.push('router');
      modules.push(createRouter(router, { ...base, metrics, api, cache, bus }));
    }
    if (cloudHub.enable) {
      const transport = createWebSocketTransport(base);
      const components = { ...base, metrics, api, bus, transport, controllers, reader: cache, ledger };
      modules.push(createCloudHub(cloudHubOptions(cloudHub), components));
    }
    await supervise(modules, base, signal);
  } finally {
    api.close();
  }
}

function tellWhatIsUnused(
  { config, unused }: LoadedConfig<CloudcoreConfig>,
  { log }: SupervisorComponents,
): void {
  if (unused.length > 0) log.warn({ fields: unused }, 'these fields of the config do nothing here');
  for (const name of absentModules)
    if (config.modules[name].enable) log.warn({ absent: name }, 'this version has no such module yet');
  if (!authorizes(config.modules.cloudHub))
    log.warn({}, 'modules.cloudHub.authorization is off: every edge may ask for every object');
}

/** Says once for each reason why it waits. False: the signal was aborted first. */
async function waitForApi(
  api: KubeClient,
  { clock, random, log }: SupervisorComponents,
  signal: AbortSignal,
): Promise<boolean> {
  const backoff = new Backoff(apiRetry, random);
  let said: string | undefined;
  try {
    for (;;) {
      try {
        const version = await api.serverVersion({ signal });
        log.info({ server: api.server, version }, 'connected to the Kubernetes API');
        return true;
      } catch (error) {
        if (!(error instanceof KubeError)) throw error;
        if (error.code !== said)
          log.warn(
            { server: api.server, err: error },
            'waiting for the Kubernetes API; check that it runs, and kubeAPIConfig',
          );
        said = error.code;
      }
      await clock.sleep(backoff.nextMs(), signal);
    }
  } catch (error) {
    if (error instanceof CancelledError) return false;
    throw error;
  }
}
