/** Composition root of the API server: files, store, API, controllers, listener; closed in reverse. */

import { setMaxListeners } from 'node:events';
import { mkdirSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { Random } from '#beehive/random.ts';
import { Authenticator } from './auth/authenticator.ts';
import { Authorizer } from './auth/authorizer.ts';
import { refuseEscalation } from './auth/escalation.ts';
import { kubeconfig } from './auth/kubeconfig.ts';
import { openPki, type Pki, writePrivate } from './auth/pki.ts';
import { ServiceAccountTokens } from './auth/service-account-tokens.ts';
import { builtInResources } from './builtin-resources.ts';
import type { Controller, ControllerComponents } from './controllers/controller.ts';
import { createControllers } from './controllers/controllers.ts';
import { seed } from './controllers/seeds.ts';
import { followDefinitions } from './crd/custom-resource-registry.ts';
import { Registry } from './registry.ts';
import { PathHandler } from './rest/path-handler.ts';
import { ResourceHandler } from './rest/resource-handler.ts';
import { Reviews } from './rest/reviews.ts';
import { type ListenerTimes, listen } from './rest/server.ts';
import { Subresources } from './rest/subresources.ts';
import { WatchStreams } from './rest/watch-stream.ts';
import { Reader } from './service/reader.ts';
import { Resources } from './service/resources.ts';
import { Writer } from './service/writer.ts';
import { LogStore } from './store/log-store.ts';

export interface ApiServerOptions {
  readonly dataDir: string;
  readonly bindAddress: string;
  /** 0: any free one. */
  readonly securePort: number;
  /** Further names and addresses by which clients reach the server; the first stands in the kubeconfigs. */
  readonly advertiseAddresses: readonly string[];
  /** Default: those of limits.ts. */
  readonly times?: ListenerTimes;
}

export interface ApiServerComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface ApiServer {
  readonly port: number;
  readonly url: string;
  readonly adminKubeconfig: string;
  close(): Promise<void>;
}

export async function startApiServer(
  options: ApiServerOptions,
  components: ApiServerComponents,
): Promise<ApiServer> {
  const { clock, random, log } = components;
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
  const hosts = hostNames(options);
  const pki = await openPki(join(options.dataDir, 'pki'), hosts, clock);

  const store = new LogStore(join(options.dataDir, 'state.db'), clock);
  const registry = new Registry(builtInResources);
  const stopFollowing = followDefinitions(store, registry);
  const reader = new Reader(store);
  const writer = new Writer({ store, clock, random });
  const apiOf = (name: string) => new Resources(name, { registry, reader, writer });
  const api = apiOf('apiserver');
  await seed(api);

  const stop = new AbortController();
  // Every watch and every controller listens for the end.
  setMaxListeners(0, stop.signal);
  const server = await listen(
    {
      host: options.bindAddress,
      port: options.securePort,
      caCertificate: pki.caCertificate,
      certificate: pki.serving.certificate,
      key: pki.serving.key,
      times: options.times,
    },
    createHandlers({ api, store, registry, reader, pki }, components, stop.signal),
  ).catch((error: unknown) => {
    store.close();
    throw error;
  });

  const controllers = createControllers({
    apiOf,
    store,
    registry,
    clock,
    log,
    caCertificate: pki.caCertificate,
  });
  const running = controllers.map((controller) =>
    runController(controller, { api, clock, log }, stop.signal),
  );
  const url = `https://${urlHost(hosts[0] ?? '127.0.0.1')}:${server.port}`;
  const adminKubeconfig = writeKubeconfigs(options.dataDir, url, pki);
  return {
    port: server.port,
    url,
    adminKubeconfig,
    async close() {
      stop.abort();
      await server.close();
      await Promise.all(running);
      stopFollowing();
      store.close();
    },
  };
}

/** What answers requests: who asks, what they may, and the verbs. */
function createHandlers(
  {
    api,
    store,
    registry,
    reader,
    pki,
  }: {
    api: Resources;
    store: LogStore;
    registry: Registry;
    reader: Reader;
    pki: Pki;
  },
  { clock, random, log }: ApiServerComponents,
  stop: AbortSignal,
) {
  const tokens = new ServiceAccountTokens(pki.tokenKey, { api, clock });
  const authorizer = new Authorizer(api);
  const writer = new Writer({
    store,
    clock,
    random,
    admit: (requester, definition, object) => refuseEscalation(requester, definition, object, authorizer),
  });
  const watches = new WatchStreams({ reader, clock, random }, stop);
  const subresources = new Subresources({ api, reader, writer, tokens, clock });
  return {
    registry,
    authenticator: new Authenticator(tokens),
    authorizer,
    resources: new ResourceHandler({ reader, writer, watches, subresources, clock }),
    reviews: new Reviews(authorizer, tokens),
    paths: new PathHandler(registry, () => !stop.aborted),
    log,
  };
}

const controllerRestartMs = 1_000;

/** A controller that fails begins anew; the others and the API go on. */
async function runController(
  controller: Controller,
  { clock, log }: ControllerComponents,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await controller.run(signal);
      return;
    } catch (error) {
      if (signal.aborted) return;
      log.error({ controller: controller.name, err: error }, 'controller failed, starting it again');
      await clock.sleep(controllerRestartMs, signal).catch(() => {});
    }
  }
}

/** The first is what kubeconfigs name. */
function hostNames({ advertiseAddresses, bindAddress }: ApiServerOptions): readonly string[] {
  const everywhere = bindAddress === '0.0.0.0' || bindAddress === '::';
  const names = [
    ...advertiseAddresses,
    ...(everywhere ? [] : [bindAddress]),
    '127.0.0.1',
    '::1',
    'localhost',
    hostname(),
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
  ];
  return [...new Set(names)];
}

function urlHost(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}

function writeKubeconfigs(dataDir: string, server: string, pki: Pki): string {
  const { caCertificate } = pki;
  const admin = join(dataDir, 'admin.conf');
  writePrivate(admin, kubeconfig({ server, caCertificate, user: 'kubernetes-admin', client: pki.admin }));
  writePrivate(
    join(dataDir, 'cloudcore.conf'),
    kubeconfig({ server, caCertificate, user: 'system:cloudcore', client: pki.cloudcore }),
  );
  return admin;
}
