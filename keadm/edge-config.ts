/** The edgecore.yaml that join writes: KubeEdge's fields, every path, socket and port said. */

import { dirname } from 'node:path';
import type { CgroupDriver } from '#edgecore/edged/runtime/cri/cgroups.ts';
import type { EventBusConfig } from '#edgecore/eventbus/config.ts';
import type { EdgeLayout } from './layout.ts';
import { findFreePort, isPortFree } from './ports.ts';
import type { ConfigTree } from './set-flag.ts';

export interface EdgePorts {
  readonly mqtt: number;
  readonly monitor: number;
  readonly kubelet: number;
  readonly serviceBus: number;
}

export interface EdgeConfigOptions {
  readonly layout: EdgeLayout;
  readonly ports: EdgePorts;
  readonly nodeName: string;
  readonly nodeIp: string;
  readonly instanceId: string;
  readonly cloudcoreIpPort: string;
  readonly httpServer: string;
  readonly runtime?: 'auto' | 'process' | 'cri' | undefined;
  readonly runtimeEndpoint?: string | undefined;
  readonly cgroupDriver?: CgroupDriver | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

const loopback = '127.0.0.1';
export const defaultPorts: EdgePorts = { mqtt: 1884, monitor: 10352, kubelet: 10350, serviceBus: 9060 };

/** KubeEdge's ports for the edge in the default places; for one of several those of a former join while they are free, else others. */
export async function edgePorts(
  layout: EdgeLayout,
  recorded: Readonly<Record<string, string>>,
): Promise<EdgePorts> {
  if (layout.instance === undefined) return defaultPorts;
  const taken = new Set<number>();
  const choose = async (before: string | undefined, first: number): Promise<number> => {
    const port = await findFreePort(before === undefined ? first : Number(before), loopback, taken);
    taken.add(port);
    return port;
  };
  return {
    mqtt: await choose(recorded.mqttPort, defaultPorts.mqtt),
    kubelet: await choose(recorded.kubeletPort, defaultPorts.kubelet),
    monitor: await choose(recorded.monitorPort, defaultPorts.monitor),
    serviceBus: await choose(recorded.serviceBusPort, defaultPorts.serviceBus),
  };
}

export function recordPorts({ mqtt, monitor, kubelet, serviceBus }: EdgePorts): Record<string, string> {
  return {
    mqttPort: String(mqtt),
    monitorPort: String(monitor),
    kubeletPort: String(kubelet),
    serviceBusPort: String(serviceBus),
  };
}

/** The broker that clients on this machine find; where the config leaves the choice, edgecore takes one that is there. */
export async function brokerUrl(
  eventBus: Pick<EventBusConfig, 'mqttMode' | 'mqttServerExternal' | 'mqttServerInternal'>,
): Promise<string> {
  const { mqttMode, mqttServerExternal: external, mqttServerInternal: internal } = eventBus;
  if (mqttMode !== undefined) return mqttMode === 2 ? external : internal;
  const { hostname, port } = new URL(external);
  return (await isPortFree(Number(port), hostname)) ? internal : external;
}

export function edgeConfig(options: EdgeConfigOptions): ConfigTree {
  const { layout, ports } = options;
  const isOneOfSeveral = layout.instance !== undefined;
  return {
    apiVersion: 'edgecore.config.kubeedge.io/v1alpha2',
    kind: 'EdgeCore',
    instanceID: options.instanceId,
    database: { dataSource: `${layout.libDir}/edgecore.db`, sealKeyFile: layout.sealKeyFile },
    monitorServer: { bindAddress: `${loopback}:${ports.monitor}` },
    modules: {
      edged: {
        hostnameOverride: options.nodeName,
        nodeIP: options.nodeIp,
        rootDirectory: layout.podDir,
        runtime: options.runtime ?? 'auto',
        nodeLabels: { ...options.labels },
        tailoredKubeletConfig: {
          readOnlyPort: ports.kubelet,
          staticPodPath: layout.staticPodDir,
          ...(options.runtimeEndpoint === undefined
            ? {}
            : { containerRuntimeEndpoint: options.runtimeEndpoint }),
          ...(options.cgroupDriver === undefined ? {} : { cgroupDriver: options.cgroupDriver }),
          ...(isOneOfSeveral ? { podLogsDir: `${layout.logDir}/pods` } : {}),
        },
      },
      edgeHub: {
        httpServer: options.httpServer,
        tlsCaFile: `${layout.caDir}/rootCA.crt`,
        tlsCertFile: `${layout.certDir}/server.crt`,
        tlsPrivateKeyFile: `${layout.certDir}/server.key`,
        bootstrapFile: layout.bootstrapFile,
        websocket: { server: options.cloudcoreIpPort },
      },
      deviceTwin: { dmiSockPath: `${dirname(layout.bootstrapFile)}/` },
      eventBus: {
        ...(isOneOfSeveral ? { mqttMode: 0 } : {}),
        mqttServerInternal: `tcp://${loopback}:${ports.mqtt}`,
      },
      serviceBus: { port: ports.serviceBus },
    },
  };
}
