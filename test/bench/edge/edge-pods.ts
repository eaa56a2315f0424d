/**
 * What an edgecore at rest costs with no pod, ten and fifty: memory, processor, and what it writes to the disk. The
 * pods are containers where `HAWSER_TEST_CRI` names a runtime, else processes.
 */

import { readFile } from 'node:fs/promises';
import { criEndpoint, criImage, instanceOf, needsCri, openCri } from '../../containers/runtime.ts';
import type { BenchCloud } from '../cloud.ts';
import type { Figure } from '../figures.ts';
import { cpuPercent, pssMb } from '../processes.ts';
import { type BenchEdge, pods, startEdge } from './edge.ts';
import { PodWatch } from './pod-watch.ts';

const counts = [0, 10, 50];
/** What the first seconds of a pod are made of is no rest. */
const settleSeconds = 20;

export async function benchEdgePods(cloud: BenchCloud, restSeconds: number): Promise<Figure[]> {
  const isCri = needsCri === undefined;
  const edge = await startEdge(
    cloud,
    isCri ? { runtime: 'cri', runtimeEndpoint: criEndpoint } : { runtime: 'process' },
  );
  const watch = await PodWatch.open(cloud.api);
  try {
    if (isCri) await pullImage(edge);
    const figures: Figure[] = [];
    let there = 0;
    for (const count of counts) {
      const names = Array.from({ length: count - there }, (_, at) => `rest-${there + at}`);
      there = count;
      for (const name of names) await cloud.api.create(pods, podOf(name, edge.node, isCri));
      await watch.running(names);
      const pid = cloud.processes.pid(edge.service);
      await cpuPercent(pid, settleSeconds);
      const before = await bytesWritten(pid);
      const cpu = await cpuPercent(pid, restSeconds);
      const written = (await bytesWritten(pid)) - before;
      figures.push(
        { what: `edgecore memory (PSS), ${count} pods`, value: await pssMb(pid), unit: 'MB' },
        { what: `edgecore processor at rest, ${count} pods`, value: cpu, unit: '% of a core' },
        {
          what: `written to the disk at rest, ${count} pods, an hour`,
          value: (written / restSeconds) * (3600 / 1e6),
          unit: 'MB',
          ...(count === 10 ? { budget: { is: 'at most', value: 1 } as const } : {}),
        },
      );
    }
    return figures;
  } finally {
    watch.close();
    await edge.close();
  }
}

async function pullImage(edge: BenchEdge): Promise<void> {
  const runtime = openCri(await instanceOf(edge.dataDir));
  await runtime.pullImage(criImage);
  await runtime.close();
}

/** That were sent towards the disk, in whole pages. */
async function bytesWritten(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/io`, 'utf8');
  const bytes = /^write_bytes: (\d+)$/m.exec(text)?.[1];
  if (bytes === undefined) throw new Error(`/proc/${pid}/io has no write_bytes`);
  return Number(bytes);
}

function podOf(name: string, node: string, isCri: boolean): object {
  const command = ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: pods.namespace },
    spec: {
      nodeName: node,
      containers: [{ name: 'main', image: isCri ? criImage : 'busybox', command }],
    },
  };
}
