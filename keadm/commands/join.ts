/**
 * `keadm join`: this machine becomes an edge node. The token's hash pins the cloud's CA before the token is
 * sent, and the certificate is fetched here, so the token is never written to disk. May be repeated: an edge
 * that has joined keeps its name, its data and its instance id.
 */

import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join as joinPath } from 'node:path';
import { parseConfig } from '#beehive/config-file.ts';
import { packageVersion } from '#beehive/package-root.ts';
import { formatYaml } from '#beehive/yaml.ts';
import { type EdgecoreConfig, edgecoreFormat } from '#edgecore/config.ts';
import { dmiSocket } from '#edgecore/devicetwin/config.ts';
import { bootstrap } from '#edgecore/edgehub/bootstrap.ts';
import { saveCredentials } from '#edgecore/edgehub/credentials.ts';
import { CredentialError } from '#edgecore/edgehub/errors.ts';
import { machineOf } from '#edgecore/edgehub/machine.ts';
import {
  brokerUrl,
  defaultPorts,
  type EdgeConfigOptions,
  type EdgePorts,
  edgeConfig,
  edgePorts,
  recordPorts,
} from '../edge-config.ts';
import { KeadmError } from '../errors.ts';
import { daemonArgv, type Host, hostAddress, noteServices } from '../host.ts';
import { Journal } from '../journal.ts';
import { type EdgeLayout, edgeLayout } from '../layout.ts';
import { lastLine } from '../log-tail.ts';
import { requirePort } from '../ports.ts';
import type { Plan } from '../preflight/plan.ts';
import { preflight } from '../preflight/preflight.ts';
import type { Service } from '../service/service.ts';
import { applySet } from '../set-flag.ts';
import { waitFor } from '../wait.ts';

export interface JoinOptions {
  /** `host:port` of CloudHub's WebSocket listener. */
  readonly cloudcoreIpPort: string;
  readonly token: string;
  readonly nodeName?: string | undefined;
  /** Port for certificates on the same host; default 10002. */
  readonly certPort?: number | undefined;
  readonly dataDir?: string | undefined;
  readonly runtime?: 'auto' | 'process' | 'cri' | undefined;
  readonly runtimeEndpoint?: string | undefined;
  /** Pre-flight compares it with the runtime's, as it does with what `set` says. */
  readonly cgroupDriver?: Plan['cgroupDriver'];
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly set?: readonly string[] | undefined;
  /** Names of pre-flight checks whose failure does not matter, or `all`. */
  readonly ignorePreflightErrors?: readonly string[] | undefined;
}

export interface Edge {
  readonly nodeName: string;
  /** URL of the MQTT broker for mappers and apps on this machine. */
  readonly broker: string;
  /** Where it listens for mappers that speak gRPC. */
  readonly dmiSocket: string;
}

const defaultCertPort = 10002;
const bootstrapTimeoutMs = 20_000;
const readyTimeoutMs = 60_000;
/** RFC 1123 subdomain, as Kubernetes names nodes. */
const nodeNamePattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export async function join(options: JoinOptions, host: Host): Promise<Edge> {
  const cloud = parseCloudAddress(options.cloudcoreIpPort);
  const layout = edgeLayout(options.dataDir);
  const nodeName = checkNodeName(options.nodeName ?? hostname().toLowerCase());
  const journal = await openJournal(layout, nodeName);
  const instanceId = journal.data.facts.instanceId ?? randomUUID();
  const httpServer = `https://${cloud.host}:${options.certPort ?? defaultCertPort}`;
  const wish = { ...options, nodeName, nodeIp: hostAddress(), httpServer, layout, instanceId };
  const wished = checkedConfig(wish, defaultPorts);
  await preflight(joinPlan(options, cloud, layout, wished.config), options.ignorePreflightErrors ?? [], host);
  const service = edgeService(layout);
  if (await host.services.isRunning(service.name, service.stateDir)) {
    await host.services.remove(service.name, service.stateDir);
  }
  const ports = await edgePorts(layout, journal.data.facts);
  const { text: configText, config: checked } = checkedConfig(wish, ports);
  await requireBrokerPort(checked);

  await host.steps.step('certificate', async () => {
    const machine = machineOf(dirname(checked.database.dataSource));
    const request = { nodeName, token: options.token, httpServer, machine, timeoutMs: bootstrapTimeoutMs };
    const identity = await fetchCertificate(request, host);
    const { tlsCaFile: caFile, tlsCertFile: certFile, tlsPrivateKeyFile: keyFile } = checked.modules.edgeHub;
    for (const file of [caFile, certFile, keyFile]) await journal.addPath(file);
    await saveCredentials({ caFile, certFile, keyFile }, identity);
    return `node ${nodeName}, signed by ${cloud.host}, whose CA has the token's hash`;
  });
  for (const dir of [layout.podDir, layout.logDir, dirname(layout.configFile)])
    await mkdir(dir, { recursive: true, mode: 0o755 });
  await writeFile(layout.configFile, configText, { mode: 0o600 });
  for (const path of dataPaths(layout, service)) await journal.addPath(path);
  await journal.setFacts({ nodeName, instanceId, ...recordPorts(ports) });

  await host.steps.step('edgecore', async (waiting) => {
    await journal.addService(service.name);
    await host.services.start(service);
    await waitForEdgecore(service, ports.monitor, host, waiting);
    return `connected to ${options.cloudcoreIpPort}`;
  });
  noteServices([service], host);
  const broker = await brokerUrl(checked.modules.eventBus);
  host.steps.note(`  MQTT for mappers and apps on this machine: ${broker}`);
  const socket = dmiSocket(checked.modules.deviceTwin.dmiSockPath);
  host.steps.note(`  DMI for mappers on this machine: ${socket}`);
  return { nodeName, broker, dmiSocket: socket };
}

/** The edgecore.yaml that is to be, with what `--set` changes in it. @throws what is wrong with that */
function checkedConfig(
  wish: Omit<EdgeConfigOptions, 'ports'> & Pick<JoinOptions, 'set'>,
  ports: EdgePorts,
): { readonly text: string; readonly config: EdgecoreConfig } {
  const text = formatYaml(applySet(edgeConfig({ ...wish, ports }), wish.set ?? []));
  return { text, config: parseConfig(text, '--set', edgecoreFormat).config };
}

function joinPlan(
  options: JoinOptions,
  cloud: { host: string; port: number },
  layout: EdgeLayout,
  { modules: { edged } }: EdgecoreConfig,
): Plan {
  return {
    role: 'edge',
    dataDir: layout.libDir,
    runtime: edged.runtime,
    runtimeEndpoint: edged.tailoredKubeletConfig.containerRuntimeEndpoint,
    cgroupDriver: edged.tailoredKubeletConfig.cgroupDriver,
    nodeName: options.nodeName,
    ports: [],
    cloud: { host: cloud.host, ports: [cloud.port, options.certPort ?? defaultCertPort] },
  };
}

export function edgeService(layout: EdgeLayout): Service {
  return {
    name: layout.instance === undefined ? 'edgecore' : `edgecore@${layout.instance}`,
    description: 'Hawser edgecore',
    argv: daemonArgv('edgecore', '--config', layout.configFile),
    logFile: `${layout.logDir}/edgecore.log`,
    stateDir: layout.libDir,
  };
}

/** edgecore itself would run its pods and wait for the port; a person who joins is told at once. */
async function requireBrokerPort({ modules: { eventBus } }: EdgecoreConfig): Promise<void> {
  if (!eventBus.enable || eventBus.mqttMode === 2) return;
  const { hostname: address, port } = new URL(eventBus.mqttServerInternal);
  await requirePort(
    Number(port),
    address,
    'MQTT broker',
    `--set modules.eventBus.mqttServerInternal=tcp://${address}:PORT`,
  );
}

/** edgecore's own word: its monitor says what it still waits for. */
async function waitForEdgecore(
  service: Service,
  port: number,
  host: Host,
  waiting: (reason: string) => void,
): Promise<void> {
  const next = `see ${host.services.logOf(service)}; it goes on trying`;
  await waitFor('edgecore', { clock: host.clock, timeoutMs: readyTimeoutMs, waiting, next }, async () => {
    if (!(await host.services.isRunning(service.name, service.stateDir))) {
      return { waitingFor: `it does not run (${await lastLine(service, host.services)})` };
    }
    try {
      const answer = await fetch(`http://127.0.0.1:${port}/readyz`);
      return answer.ok ? 'ready' : { waitingFor: (await answer.text()).trim() };
    } catch (error) {
      // fetch says TypeError for every connection that it does not get.
      if (error instanceof TypeError) return { waitingFor: 'it has not opened its monitor yet' };
      throw error;
    }
  });
}

function checkNodeName(name: string): string {
  if (name.length <= 253 && nodeNamePattern.test(name)) return name;
  throw new KeadmError(
    `"${name}" cannot be a node's name (lower-case letters, digits, "-" and "."); choose one with --edgenode-name`,
    { code: 'bad-flag', flag: '--edgenode-name' },
  );
}

/** @throws KeadmError `bad-flag` */
export function parseCloudAddress(text: string): { host: string; port: number } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:/\s]+):(\d{1,5})$/.exec(text);
  if (match?.[1] !== undefined) return { host: match[1], port: Number(match[2]) };
  throw new KeadmError(`--cloudcore-ipport: "${text}" is not host:port, for example 10.0.0.1:10000`, {
    code: 'bad-flag',
    flag: '--cloudcore-ipport',
  });
}

async function openJournal(layout: EdgeLayout, nodeName: string): Promise<Journal> {
  const journal = await Journal.open(layout.journalFile, 'edge', packageVersion());
  const before = journal.data.facts.nodeName;
  if (before === undefined || before === nodeName) return journal;
  throw new KeadmError(
    `this machine has joined as node ${before} already; take that away first with \`keadm reset edge\`, or put a second edge elsewhere with --data-dir`,
    { code: 'already-set-up', where: layout.journalFile },
  );
}

async function fetchCertificate(request: Parameters<typeof bootstrap>[0], host: Host) {
  try {
    return await bootstrap(request, { clock: host.clock }, new AbortController().signal);
  } catch (error) {
    if (!(error instanceof CredentialError)) throw error;
    if (error.detail.code === 'refused' && error.detail.status === 403) {
      const { body } = error.detail;
      const inUse = `the name ${request.nodeName} is in use by another machine; choose another with --edgenode-name, or delete that node on the cloud first (kubectl delete node ${request.nodeName})`;
      const said = body.includes('--edgenode-name') ? body : inUse;
      throw new KeadmError(said, { code: 'name-taken', node: request.nodeName });
    }
    throw error;
  }
}

/** What edgecore and its supervisor write; the directories around may be shared with a cloud on this machine. */
function dataPaths(layout: EdgeLayout, service: Service): string[] {
  const store = joinPath(layout.libDir, 'edgecore.db');
  const stores = [store, `${store}.last-good`, `${store}.damaged`];
  return [
    layout.configFile,
    ...[layout.sealKeyFile, `${layout.sealKeyFile}.damaged`],
    ...stores.flatMap((file) => [file, `${file}-wal`, `${file}-shm`]),
    `${store}.lock`,
    layout.podDir,
    ...['', '.1', '.2'].map((suffix) => `${service.logFile}${suffix}`),
  ];
}
