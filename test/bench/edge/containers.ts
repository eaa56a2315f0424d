/**
 * Pods as containers, image present: how soon one, ten, thirty and a hundred are Running, and how soon they are gone
 * from the API and from the runtime; beside each what the runtime takes by itself. Then how pods start while others
 * hang. Needs what `test/containers/up` starts.
 */

import { criEndpoint, criImage, instanceOf, needsCri, openCri } from '../../containers/runtime.ts';
import { eventually } from '../../e2e/workspace.ts';
import { type SilentServer, startSilentServer } from '../../fixtures/silent-server.ts';
import type { BenchCloud } from '../cloud.ts';
import type { Figure } from '../figures.ts';
import { cpuSeconds } from '../processes.ts';
import { criFloor } from './cri-floor.ts';
import { type BenchEdge, podRef, pods, startEdge } from './edge.ts';
import { PodWatch } from './pod-watch.ts';

const counts = [1, 10, 30, 100];
const waitMs = 180_000;
const command = ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done'];
/** Pods that start together, with and without neighbours that hang, in turns. */
const together = 20;
const turns = 3;

export async function benchContainers(cloud: BenchCloud): Promise<Figure[]> {
  if (needsCri !== undefined) throw new Error(needsCri);
  const edge = await startEdge(cloud, { runtime: 'cri', runtimeEndpoint: criEndpoint });
  const watch = await PodWatch.open(cloud.api);
  const runtime = openCri(await instanceOf(edge.dataDir));
  try {
    await runtime.pullImage(criImage);
    const figures: Figure[] = [];
    for (const count of counts) {
      const floor = await criFloor(count, command);
      const names = namesOf(`bench-${count}`, count);
      const daemons = ['apiserver', 'cloudcore', edge.service];
      const spent = await processorOf(cloud, daemons);
      const upMs = performance.now();
      await start(cloud, edge, names);
      await watch.running(names);
      const downMs = performance.now();
      await stop(cloud, names);
      await watch.gone(names);
      await eventually('no sandbox', waitMs, async () =>
        (await runtime.listPodSandboxes()).length === 0 ? true : undefined,
      );
      const goneMs = performance.now();
      figures.push(
        figure(
          `${count} pods Running, image present`,
          downMs - upMs,
          count === 30 ? [3.5, '4.9 s'] : undefined,
        ),
        figure(`${count} pods Running, the runtime alone`, floor.upMs),
        figure(`${count} pods gone`, goneMs - downMs, count === 30 ? [4, '7.5 s'] : undefined),
        figure(`${count} pods gone, the runtime alone`, floor.downMs),
      );
      const now = await processorOf(cloud, daemons);
      for (const [name, seconds] of now)
        figures.push({
          what: `processor of ${name.replace(/@.*/, '')} for ${count} pods, up and gone`,
          value: seconds - (spent.get(name) ?? 0),
          unit: 's',
        });
    }
    figures.push(await besideHanging(cloud, edge, watch));
    return figures;
  } finally {
    watch.close();
    await runtime.close();
    await edge.close();
  }
}

/** Where the time goes beside the runtime's own. */
async function processorOf(cloud: BenchCloud, names: readonly string[]): Promise<Map<string, number>> {
  const spent = new Map<string, number>();
  for (const name of names) spent.set(name, await cpuSeconds(cloud.processes.pid(name)));
  return spent;
}

function figure(what: string, ms: number, budget?: readonly [seconds: number, kubeedge: string]): Figure {
  const common = { what, value: ms / 1000, unit: 's' };
  if (budget === undefined) return common;
  const [value, kubeedge] = budget;
  return { ...common, budget: { is: 'at most', value }, kubeedge };
}

/** The 99th percentile of the starts, relative to that without neighbours that hang. */
async function besideHanging(cloud: BenchCloud, edge: BenchEdge, watch: PodWatch): Promise<Figure> {
  const alone: number[] = [];
  const beside: number[] = [];
  for (let turn = 0; turn < turns; turn += 1) {
    alone.push(...(await startsOf(`alone-${turn}`, cloud, edge, watch)));
    const silent = await startSilentServer();
    const hanging = await hang(cloud, edge, silent);
    beside.push(...(await startsOf(`beside-${turn}`, cloud, edge, watch)));
    await stop(cloud, hanging);
    await watch.gone(hanging);
    silent.close();
  }
  return {
    what: `start of ${together} pods beside four that hang, p99, to that without them`,
    value: p99(beside) / p99(alone),
    unit: ': 1',
    budget: { is: 'at most', value: 1.2 },
  };
}

/** A pull, a hook after the start, a hook before the end and a probe. */
async function hang(cloud: BenchCloud, edge: BenchEdge, silent: SilentServer): Promise<string[]> {
  const hook = { exec: { command: ['/bin/sleep', '3600'] } };
  const hanging: Readonly<Record<string, object>> = {
    'hung-pull': { image: `localhost:${silent.port}/never:1` },
    'hung-start': { lifecycle: { postStart: hook } },
    'hung-stop': { lifecycle: { preStop: hook } },
    'hung-probe': { readinessProbe: { ...hook, timeoutSeconds: 3600 } },
  };
  const stopping = { terminationGracePeriodSeconds: 3600 };
  for (const [name, container] of Object.entries(hanging))
    await cloud.api.create(pods, podOf(name, edge.node, container, name === 'hung-stop' ? stopping : {}));
  await eventually('a pull that hangs', waitMs, async () => (silent.sockets.size > 0 ? true : undefined));
  await eventually('a hook that hangs', waitMs, async () => {
    const { status } = await cloud.api.get(podRef('hung-stop'));
    return JSON.stringify(status ?? {}).includes('"running"') ? true : undefined;
  });
  await cloud.api.delete(podRef('hung-stop'));
  return Object.keys(hanging);
}

async function startsOf(
  prefix: string,
  cloud: BenchCloud,
  edge: BenchEdge,
  watch: PodWatch,
): Promise<number[]> {
  const names = namesOf(prefix, together);
  const startedMs = performance.now();
  await start(cloud, edge, names);
  await watch.running(names);
  await stop(cloud, names);
  await watch.gone(names);
  return names.map((name) => (watch.runningAtMs.get(name) ?? 0) - startedMs);
}

function p99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? 0;
}

function namesOf(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => `${prefix}-${at}`);
}

async function start(cloud: BenchCloud, { node }: BenchEdge, names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => cloud.api.create(pods, podOf(name, node))));
}

async function stop(cloud: BenchCloud, names: readonly string[]): Promise<void> {
  const gracePeriodSeconds = names.some((it) => it.startsWith('hung')) ? 1 : undefined;
  await Promise.all(names.map((name) => cloud.api.delete(podRef(name), { gracePeriodSeconds })));
}

function podOf(name: string, node: string, container: object = {}, spec: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: pods.namespace },
    spec: { nodeName: node, containers: [{ name: 'main', image: criImage, command, ...container }], ...spec },
  };
}
