/** One real edgecore at a real cloud, joined as keadm joins it. */

import { randomUUID } from 'node:crypto';
import { join as joinPath } from 'node:path';
import type { ObjectRef } from '#cloudcore/kube/kube-api.ts';
import { edgeService, join } from '#keadm/commands/join.ts';
import { resetEdge } from '#keadm/commands/reset.ts';
import { edgeLayout } from '#keadm/layout.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { eventually } from '../../e2e/workspace.ts';
import type { BenchCloud } from '../cloud.ts';
import { TlsMeter } from './tls-meter.ts';

export interface BenchEdge {
  readonly node: string;
  /** URL of its MQTT broker. */
  readonly broker: string;
  /** On its way to the cloud. */
  readonly meter: TlsMeter;
  /** Of its edgecore, for the processes of the cloud. */
  readonly service: string;
  readonly dataDir: string;
  close(): Promise<void>;
}

export const pods = { apiVersion: 'v1', plural: 'pods', namespace: 'default' };

export async function startEdge(
  cloud: BenchCloud,
  runsOn: { readonly runtime: 'process' | 'cri'; readonly runtimeEndpoint?: string } = { runtime: 'process' },
): Promise<BenchEdge> {
  const name = `bench-${randomUUID().slice(0, 6)}`;
  const dataDir = joinPath(cloud.dir, name);
  const meter = await TlsMeter.to(cloud.hubPort);
  const options = {
    cloudcoreIpPort: `127.0.0.1:${meter.port}`,
    certPort: cloud.bootstrapPort,
    token: cloud.token,
    nodeName: name,
    dataDir,
    ...runsOn,
  };
  const { broker } = await join(options, cloud.host);
  return {
    node: name,
    broker,
    meter,
    service: edgeService(edgeLayout(dataDir)).name,
    dataDir,
    async close() {
      await resetEdge({ dataDir }, cloud.host);
      await meter.close();
    },
  };
}

export async function runPods(cloud: BenchCloud, edge: BenchEdge, names: readonly string[]): Promise<void> {
  const script = `echo started >> ${edge.dataDir}/$NAME; while true; do sleep 3600; done`;
  for (const name of names) {
    await cloud.api.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: pods.namespace },
      spec: {
        nodeName: edge.node,
        containers: [
          {
            name: 'main',
            image: 'busybox',
            command: ['/bin/sh', '-c', script],
            env: [{ name: 'NAME', value: name }],
          },
        ],
      },
    });
  }
  for (const name of names) {
    await eventually(`${name} Running`, 60_000, async () => {
      const pod = podSchema.parse(await cloud.api.get(podRef(name)));
      return pod.status?.phase === 'Running' ? true : undefined;
    });
  }
}

export function podRef(name: string): ObjectRef {
  return { ...pods, name };
}
