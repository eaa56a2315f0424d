/**
 * Pods as containers, image present: how soon one, ten, thirty and a hundred are Running, and how soon they are gone
 * from the API and from the runtime. Needs what `test/containers/up` starts.
 */

import type { KubeObject } from '#protocol/resources/object.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { criEndpoint, criImage, instanceOf, needsCri, openCri } from '../../containers/runtime.ts';
import { eventually } from '../../e2e/workspace.ts';
import type { BenchCloud } from '../cloud.ts';
import type { Figure } from '../figures.ts';
import { podRef, pods, startEdge } from './edge.ts';

const counts = [1, 10, 30, 100];
const waitMs = 180_000;

export async function benchContainers(cloud: BenchCloud): Promise<Figure[]> {
  if (needsCri !== undefined) throw new Error(needsCri);
  const edge = await startEdge(cloud, { runtime: 'cri', runtimeEndpoint: criEndpoint });
  try {
    const runtime = openCri(await instanceOf(edge.dataDir));
    await runtime.pullImage(criImage);
    const figures: Figure[] = [];
    for (const count of counts) {
      const names = Array.from({ length: count }, (_, at) => `bench-${count}-${at}`);
      const mine = (it: KubeObject) => names.includes(it.metadata.name);
      const listed = async () => (await cloud.api.list(pods)).items.filter(mine);
      const upMs = performance.now();
      await Promise.all(names.map((name) => cloud.api.create(pods, podOf(name, edge.node))));
      await eventually(`${count} pods Running`, waitMs, async () =>
        (await listed()).filter((it) => podSchema.parse(it).status?.phase === 'Running').length === count
          ? true
          : undefined,
      );
      const downMs = performance.now();
      await Promise.all(names.map((name) => cloud.api.delete(podRef(name))));
      await eventually(`${count} pods gone`, waitMs, async () =>
        (await listed()).length === 0 && (await runtime.listPodSandboxes()).length === 0 ? true : undefined,
      );
      const goneMs = performance.now();
      figures.push(
        figure(count, 'Running', downMs - upMs, 3.5, '4.9 s'),
        figure(count, 'gone', goneMs - downMs, 4, '7.5 s'),
      );
    }
    await runtime.close();
    return figures;
  } finally {
    await edge.close();
  }
}

function figure(count: number, what: string, ms: number, budget: number, kubeedge: string): Figure {
  const common = { what: `${count} pods ${what}, image present`, value: ms / 1000, unit: 's' };
  return count === 30 ? { ...common, budget: { is: 'at most', value: budget }, kubeedge } : common;
}

function podOf(name: string, node: string): object {
  const script = 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: pods.namespace },
    spec: {
      nodeName: node,
      containers: [{ name: 'main', image: criImage, command: ['/bin/sh', '-c', script] }],
    },
  };
}
