/**
 * `keadm init`: a cloud on this machine. By default with the embedded API; with a kubeconfig on a cluster that
 * is there already. May be repeated: what is there is kept (CA, keys, data), daemons are started anew.
 */

import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { parseConfig } from '#beehive/config-file.ts';
import { packageVersion } from '#beehive/package-root.ts';
import { formatYaml } from '#beehive/yaml.ts';
import { type CloudcoreConfig, cloudcoreConfigFormat } from '#cloudcore/config.ts';
import { createKubeApi, type KubeClient } from '#cloudcore/kube/client.ts';
import { isAlreadyExists, isNotFound, isUnreachable, type KubeApi } from '#cloudcore/kube/kube-api.ts';
import { cloudcoreRbac } from '#cloudcore/kube/rbac.ts';
import { systemNamespace } from '#protocol/names.ts';
import { daemonArgv, type Host, hostAddress, noteServices } from '../host.ts';
import { Journal } from '../journal.ts';
import { writeTokenKubeconfig } from '../kubeconfig.ts';
import { type CloudLayout, cloudLayout } from '../layout.ts';
import { lastLine } from '../log-tail.ts';
import { applyManifest, readPackageManifests, toManifest } from '../manifests.ts';
import { isPortFree, requirePort } from '../ports.ts';
import { defaultRuntimeEndpoint, type PlannedPort } from '../preflight/plan.ts';
import { preflight } from '../preflight/preflight.ts';
import type { Service } from '../service/service.ts';
import { applySet, type ConfigTree } from '../set-flag.ts';
import { waitFor } from '../wait.ts';
import { readToken } from './gettoken.ts';

export interface InitOptions {
  readonly dataDir?: string | undefined;
  /** A cluster to use instead of the embedded API. */
  readonly kubeConfig?: string | undefined;
  readonly advertiseAddress?: readonly string[] | undefined;
  /** Port of the embedded API. */
  readonly apiPort?: number | undefined;
  readonly set?: readonly string[] | undefined;
  /** Names of pre-flight checks whose failure does not matter, or `all`. */
  readonly ignorePreflightErrors?: readonly string[] | undefined;
}

export interface Cloud {
  /** Kubeconfig of an administrator. */
  readonly kubeConfig: string;
  /** `host:port` that `keadm join --cloudcore-ipport` takes. */
  readonly cloudcoreIpPort: string;
  readonly bootstrapPort: number;
}

const defaultApiPort = 6443;
const readyTimeoutMs = 60_000;

export async function init(options: InitOptions, host: Host): Promise<Cloud> {
  const layout = cloudLayout(options.dataDir);
  const addresses = options.advertiseAddress?.length ? options.advertiseAddress : [hostAddress()];
  const configText = formatYaml(cloudcoreConfig(layout, addresses, options.set ?? []));
  const hub = parseConfig(configText, '--set', cloudcoreConfigFormat).config.modules.cloudHub;
  const journal = await Journal.open(layout.journalFile, 'cloud', packageVersion());
  const services = cloudServices(layout, addresses, options.apiPort ?? defaultApiPort);

  const ports = plannedPorts(hub, options);
  await checkMachine(layout, ports, services, options, host);
  await stopOld(services, host);
  for (const { port, host: address, use, change } of ports) await requirePort(port, address, use, change);
  for (const dir of [
    layout.caDir,
    layout.certDir,
    layout.libDir,
    layout.logDir,
    dirname(layout.configFile),
  ]) {
    await mkdir(dir, { recursive: true, mode: 0o755 });
  }
  for (const path of [
    layout.caDir,
    layout.certDir,
    layout.apiserverDir,
    layout.adminConf,
    layout.cloudcoreConf,
    layout.configFile,
  ]) {
    await journal.addPath(path);
  }
  for (const { logFile } of [services.apiserver, services.cloudcore]) {
    for (const suffix of ['', '.1', '.2']) await journal.addPath(`${logFile}${suffix}`);
  }
  const kubeConfig = options.kubeConfig ?? layout.adminConf;
  await host.steps.step('Kubernetes API', async (waiting) => {
    if (options.kubeConfig === undefined) {
      await startEmbeddedApi(layout, services.apiserver, journal, host);
    }
    const api = await createKubeApi(kubeConfig);
    await waitForApi(api, host, waiting);
    return `${api.server}, ${await api.serverVersion()}`;
  });
  const api = await createKubeApi(kubeConfig);
  await prepareCluster(api, host);
  if (options.kubeConfig !== undefined) await writeServiceAccountConfig(api, layout, host);
  await writeFile(layout.configFile, configText, { mode: 0o600 });
  await journal.setFacts({ kubeConfig, api: options.kubeConfig === undefined ? 'embedded' : 'cluster' });

  await host.steps.step('cloudcore', async (waiting) => {
    await journal.addService(services.cloudcore.name);
    await host.services.start(services.cloudcore);
    await waitForCloudcore(api, services.cloudcore, [hub.websocket.port, hub.https.port], host, waiting);
    return `CloudHub on ports ${hub.websocket.port} and ${hub.https.port}`;
  });
  const { apiserver, cloudcore } = services;
  noteServices(options.kubeConfig === undefined ? [apiserver, cloudcore] : [cloudcore], host);
  return {
    kubeConfig,
    cloudcoreIpPort: `${addresses[0]}:${hub.websocket.port}`,
    bootstrapPort: hub.https.port,
  };
}

function plannedPorts(
  hub: CloudcoreConfig['modules']['cloudHub'],
  { apiPort = defaultApiPort, kubeConfig }: InitOptions,
): PlannedPort[] {
  const everywhere = '0.0.0.0';
  const set = '--set modules.cloudHub';
  return [
    { port: hub.websocket.port, host: everywhere, use: 'CloudHub', change: `${set}.websocket.port=PORT` },
    { port: hub.https.port, host: everywhere, use: 'CloudHub bootstrap', change: `${set}.https.port=PORT` },
    ...(kubeConfig === undefined
      ? [{ port: apiPort, host: '127.0.0.1', use: 'embedded Kubernetes API', change: '--api-port PORT' }]
      : []),
  ];
}

/** Before anything is touched. Ports are looked at only when it is not our own cloud that holds them. */
async function checkMachine(
  layout: CloudLayout,
  ports: readonly PlannedPort[],
  services: ReturnType<typeof cloudServices>,
  { ignorePreflightErrors = [] }: InitOptions,
  host: Host,
): Promise<void> {
  const running = await Promise.all(
    [services.apiserver, services.cloudcore].map(({ name, stateDir }) =>
      host.services.isRunning(name, stateDir),
    ),
  );
  const plan = {
    role: 'cloud',
    dataDir: layout.libDir,
    runtime: 'process',
    runtimeEndpoint: defaultRuntimeEndpoint,
    cgroupDriver: undefined,
    nodeName: undefined,
    ports: running.includes(true) ? [] : ports,
    cloud: undefined,
  } as const;
  await preflight(plan, ignorePreflightErrors, host);
}

/** What init would write, as YAML documents: the config of cloudcore, and the objects for the API. */
export async function describeInit(options: InitOptions): Promise<string> {
  const addresses = options.advertiseAddress?.length ? options.advertiseAddress : [hostAddress()];
  const configText = formatYaml(cloudcoreConfig(cloudLayout(options.dataDir), addresses, options.set ?? []));
  parseConfig(configText, '--set', cloudcoreConfigFormat);
  const manifests = [...(await readPackageManifests('crds')), ...cloudcoreRbac().map(toManifest)];
  return [configText, ...manifests.map(({ object }) => formatYaml(object))].join('---\n').trimEnd();
}

export function cloudServices(layout: CloudLayout, addresses: readonly string[], apiPort: number) {
  // The first stands in the kubeconfigs, and the API listens on loopback only.
  const advertised = [...new Set(['127.0.0.1', ...addresses])].join(',');
  const common = { stateDir: layout.libDir };
  return {
    apiserver: {
      ...common,
      name: 'apiserver',
      description: 'Hawser embedded Kubernetes API',
      argv: daemonArgv(
        'apiserver',
        ...['--data-dir', layout.apiserverDir],
        ...['--secure-port', String(apiPort)],
        ...['--advertise-address', advertised],
      ),
      logFile: `${layout.logDir}/apiserver.log`,
    },
    cloudcore: {
      ...common,
      name: 'cloudcore',
      description: 'Hawser cloudcore',
      argv: daemonArgv('cloudcore', '--config', layout.configFile),
      logFile: `${layout.logDir}/cloudcore.log`,
    },
  } satisfies Record<string, Service>;
}

function cloudcoreConfig(
  layout: CloudLayout,
  addresses: readonly string[],
  set: readonly string[],
): ConfigTree {
  const base: ConfigTree = {
    apiVersion: 'cloudcore.config.kubeedge.io/v1alpha1',
    kind: 'CloudCore',
    kubeAPIConfig: { kubeConfig: layout.cloudcoreConf },
    modules: {
      cloudHub: {
        advertiseAddress: [...new Set([...addresses, '127.0.0.1'])],
        tlsCAFile: `${layout.caDir}/rootCA.crt`,
        tlsCAKeyFile: `${layout.caDir}/rootCA.key`,
        tlsCertFile: `${layout.certDir}/server.crt`,
        tlsPrivateKeyFile: `${layout.certDir}/server.key`,
        websocket: { enable: true, address: '0.0.0.0', port: 10000 },
        https: { enable: true, port: 10002 },
      },
    },
  };
  return applySet(base, set);
}

async function stopOld(services: ReturnType<typeof cloudServices>, host: Host): Promise<void> {
  for (const service of [services.cloudcore, services.apiserver]) {
    if (await host.services.isRunning(service.name, service.stateDir)) {
      await host.services.remove(service.name, service.stateDir);
    }
  }
}

async function startEmbeddedApi(
  layout: CloudLayout,
  service: Service,
  journal: Journal,
  host: Host,
): Promise<void> {
  await journal.addService(service.name);
  await host.services.start(service);
  await waitFor(
    'embedded Kubernetes API',
    { clock: host.clock, timeoutMs: readyTimeoutMs, next: `see ${host.services.logOf(service)}` },
    async () => {
      try {
        await copyFile(`${layout.apiserverDir}/admin.conf`, layout.adminConf);
        await copyFile(`${layout.apiserverDir}/cloudcore.conf`, layout.cloudcoreConf);
        return 'ready';
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
          return { waitingFor: 'it has not written its keys' };
        throw error;
      }
    },
  );
}

async function waitForApi(api: KubeApi, host: Host, waiting: (reason: string) => void): Promise<void> {
  await waitFor(
    'Kubernetes API',
    {
      clock: host.clock,
      timeoutMs: readyTimeoutMs,
      waiting,
      next: 'is the API server running, and is the kubeconfig the right one?',
    },
    async () => {
      try {
        await api.serverVersion();
        return 'ready';
      } catch (error) {
        if (isUnreachable(error))
          return { waitingFor: `it does not answer (${error instanceof Error ? error.message : ''})` };
        throw error;
      }
    },
  );
}

async function prepareCluster(api: KubeApi, host: Host): Promise<void> {
  await host.steps.step('custom resources', async () => {
    const manifests = await readPackageManifests('crds');
    for (const manifest of manifests) await applyManifest(api, manifest);
    return `${manifests.length} kinds`;
  });
  await host.steps.step(`namespace ${systemNamespace} and roles`, async (waiting) => {
    await createSystemNamespace(api, host, waiting);
    for (const manifest of cloudcoreRbac().map(toManifest)) await applyManifest(api, manifest);
    return undefined;
  });
}

/** A namespace that a reset has just deleted must be gone before anything can be made in it. */
async function createSystemNamespace(
  api: KubeApi,
  host: Host,
  waiting: (reason: string) => void,
): Promise<void> {
  const ref = { apiVersion: 'v1', plural: 'namespaces', name: systemNamespace };
  const next = `see \`kubectl describe namespace ${systemNamespace}\``;
  await waitFor(
    `namespace ${systemNamespace}`,
    { clock: host.clock, timeoutMs: readyTimeoutMs, waiting, next },
    async () => {
      try {
        await api.create(ref, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: systemNamespace } });
        return 'ready';
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
      try {
        const { metadata } = await api.get(ref);
        return metadata.deletionTimestamp == null
          ? 'ready'
          : { waitingFor: 'the one of before is being deleted' };
      } catch (error) {
        if (isNotFound(error)) return { waitingFor: 'the one of before has just gone' };
        throw error;
      }
    },
  );
}

/** A service account, not the administrator, is who cloudcore is on a cluster of its own. */
async function writeServiceAccountConfig(api: KubeClient, layout: CloudLayout, host: Host): Promise<void> {
  const name = 'cloudcore-token';
  const secrets = { apiVersion: 'v1', plural: 'secrets', namespace: systemNamespace };
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name,
      namespace: systemNamespace,
      annotations: { 'kubernetes.io/service-account.name': 'cloudcore' },
    },
    type: 'kubernetes.io/service-account-token',
  };
  try {
    await api.create(secrets, secret);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
  await host.steps.step("cloudcore's own credentials", async (waiting) => {
    const next = 'is kube-controller-manager running? It fills in service account tokens';
    await waitFor(
      'service account token',
      { clock: host.clock, timeoutMs: readyTimeoutMs, waiting, next },
      async () => {
        const data = z
          .looseObject({ data: z.record(z.string(), z.string()).optional() })
          .parse(await api.get({ ...secrets, name })).data;
        if (data?.token === undefined)
          return { waitingFor: `secret ${systemNamespace}/${name} has no token yet` };
        await writeTokenKubeconfig(
          layout.cloudcoreConf,
          api,
          'cloudcore',
          Buffer.from(data.token, 'base64').toString(),
        );
        return 'ready';
      },
    );
    return layout.cloudcoreConf;
  });
}

async function waitForCloudcore(
  api: KubeApi,
  service: Service,
  ports: readonly number[],
  host: Host,
  waiting: (reason: string) => void,
): Promise<void> {
  const next = `see ${host.services.logOf(service)}`;
  await waitFor('cloudcore', { clock: host.clock, timeoutMs: readyTimeoutMs, waiting, next }, async () => {
    if (!(await host.services.isRunning(service.name, service.stateDir))) {
      return { waitingFor: `it does not run (${await lastLine(service, host.services)})` };
    }
    for (const port of ports)
      if (await isPortFree(port, '0.0.0.0')) return { waitingFor: `it does not listen on port ${port}` };
    try {
      await readToken(api);
      return 'ready';
    } catch (error) {
      if (isNotFound(error)) return { waitingFor: 'it has made no join token yet' };
      throw error;
    }
  });
}
