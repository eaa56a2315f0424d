/**
 * The edge daemon, top to bottom: store, runtime, pods, MQTT, then the network; run until stopped; closed in
 * reverse. Nothing here waits for the cloud.
 */

import { dirname, join } from 'node:path';
import { Bus } from '#beehive/bus.ts';
import { systemClock } from '#beehive/clock.ts';
import type { LoadedConfig } from '#beehive/config-file.ts';
import { UnrecoverableError } from '#beehive/errors.ts';
import { createLog, type Log } from '#beehive/log.ts';
import { createMetrics } from '#beehive/metrics.ts';
import type { Module } from '#beehive/module.ts';
import { createMonitorServer } from '#beehive/monitor-server.ts';
import { packageRoot, packageVersion } from '#beehive/package-root.ts';
import { systemRandom } from '#beehive/random.ts';
import { supervise } from '#beehive/supervisor.ts';
import { connection, operation, source } from '#protocol/names.ts';
import { createWebSocketTransport } from '#protocol/transport/websocket.ts';
import { absentModules, type EdgecoreConfig } from './config.ts';
import { createDeviceTwin, deviceTwinInbox } from './devicetwin/devicetwin.ts';
import { createEdged, edgedInbox } from './edged/edged.ts';
import { chooseRuntime, protoFileOf } from './edged/runtime/choose-runtime.ts';
import { createStatsServer } from './edged/stats/stats-server.ts';
import { createCertificates } from './edgehub/certificates.ts';
import { certificatesOptions, edgeHubOptions } from './edgehub/config.ts';
import { createEdgeHub, edgeHubInbox } from './edgehub/edgehub.ts';
import { machineOf } from './edgehub/machine.ts';
import { createEventBus, eventBusInbox, eventBusModule } from './eventbus/eventbus.ts';
import { createMetaManager, metaManagerInbox } from './metamanager/metamanager.ts';
import { createServiceBus, serviceBusInbox } from './servicebus/servicebus.ts';
import { openDatabase, type Store } from './store/database.ts';
import { StoreError } from './store/errors.ts';
import { lockInstance } from './store/instance-lock.ts';
import { openSealKey, sealedValues } from './store/sealed-values.ts';
import { SessionStore } from './store/session-store.ts';

/** Resolves when the signal was aborted and everything is closed. @throws UnrecoverableError */
export async function runEdgecore(loaded: LoadedConfig<EdgecoreConfig>, signal: AbortSignal): Promise<void> {
  const { config } = loaded;
  const { edged, edgeHub, eventBus, metaManager, deviceTwin, serviceBus } = config.modules;
  const { dataSource } = config.database;
  const nodeName = edged.hostnameOverride;
  const log = createLog({ name: 'edgecore' });
  const base = { clock: systemClock, random: systemRandom, log, metrics: createMetrics() };
  tellWhatIsUnused(loaded, log);

  const { store, close } = openStore(config.database, log);
  try {
    const bus = new Bus(base);
    const edge = { ...base, bus, store };
    const modules: Module[] = [];
    const names: string[] = [source.metaManager];

    bus.open(source.metaManager, metaManagerInbox);
    const remoteQueryTimeoutMs = metaManager.remoteQueryTimeout * 1000;
    modules.push(createMetaManager({ remoteQueryTimeoutMs, modules: names }, edge));
    if (edged.enable) {
      bus.open(source.edged, edgedInbox);
      names.push(source.edged);
      const files = {
        logWriterFile: join(packageRoot(), 'dist/process-logs.js'),
        protoFile: protoFileOf(packageRoot()),
      };
      const runtime = await chooseRuntime(edged, config.instanceID || nodeName, files, base);
      const memory = new SessionStore(store);
      modules.push(createEdged({ ...edged, version: packageVersion() }, { ...edge, runtime, memory }));
      modules.push(...statsOf(edged, { ...base, runtime }));
    }
    if (deviceTwin.enable) {
      bus.open(source.twin, deviceTwinInbox);
      names.push(source.twin);
      modules.push(createDeviceTwin({ nodeName, dmiSockPath: deviceTwin.dmiSockPath }, edge));
    }
    if (eventBus.enable) {
      bus.open(eventBusModule, eventBusInbox);
      names.push(eventBusModule);
      modules.push(createEventBus(eventBus, edge));
    }
    if (serviceBus.enable) {
      bus.open(source.serviceBus, serviceBusInbox);
      names.push(source.serviceBus);
      modules.push(createServiceBus(serviceBus, edge));
    }
    bus.open(source.edgeHub, edgeHubInbox);
    const who = { nodeName, machine: machineOf(dirname(dataSource)) };
    const certificates = createCertificates(certificatesOptions(edgeHub, who), base);
    const transport = createWebSocketTransport(base);
    modules.push(createEdgeHub(edgeHubOptions(edgeHub, who, names), { ...edge, transport, certificates }));
    modules.push(...monitorOf(config, bus, base));

    log.info(
      { node: nodeName, version: packageVersion(), modules: modules.map((it) => it.name) },
      'starting',
    );
    await supervise(modules, base, signal);
  } finally {
    await close();
  }
}

/** @throws UnrecoverableError when another edgecore has it, or a newer version wrote it. */
function openStore(
  { dataSource: file, sealKeyFile }: EdgecoreConfig['database'],
  log: Log,
): { store: Store; close(): Promise<void> } {
  try {
    const lock = lockInstance(file);
    const codec = sealedValues(openSealKey(sealKeyFile, { log }));
    const store = openDatabase(file, { log, codec });
    const close = async () => {
      await store.close();
      lock.release();
    };
    return { store, close };
  } catch (error) {
    if (error instanceof StoreError) throw new UnrecoverableError(error.message, { cause: error });
    throw new UnrecoverableError(
      `cannot open the store ${file} with the key ${sealKeyFile}; check that this user may write there, or set database.dataSource and database.sealKeyFile`,
      { cause: error },
    );
  }
}

function statsOf(
  config: EdgecoreConfig['modules']['edged'],
  components: Parameters<typeof createStatsServer>[1],
): Module[] {
  const port = config.tailoredKubeletConfig.readOnlyPort;
  if (port === 0) return [];
  const { hostnameOverride: nodeName, rootDirectory, customInterfaceName: interfaceName } = config;
  return [createStatsServer({ port, nodeName, rootDirectory, interfaceName }, components)];
}

function monitorOf(
  config: EdgecoreConfig,
  bus: Bus,
  components: Pick<Parameters<typeof createMonitorServer>[1], 'clock' | 'log' | 'metrics'>,
): Module[] {
  const { bindAddress } = config.monitorServer;
  if (bindAddress === '') return [];
  let connected = false;
  bus.taps.subscribe(({ envelope: { route, content } }) => {
    if (route.source === source.edgeHub && route.operation === operation.connect) {
      connected = content === connection.connected;
    }
  });
  const waitsFor = () => (connected ? undefined : 'not connected to the cloud');
  return [
    createMonitorServer({ bindAddress, field: 'monitorServer.bindAddress' }, { ...components, waitsFor }),
  ];
}

function tellWhatIsUnused({ config, unused }: LoadedConfig<EdgecoreConfig>, log: Log): void {
  if (unused.length > 0) log.warn({ fields: unused }, 'these fields of the config do nothing here');
  for (const name of absentModules) {
    if (config.modules[name].enable) log.warn({ absent: name }, 'this version has no such module yet');
  }
}
