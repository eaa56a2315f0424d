/**
 * N simulated KubeEdge edges over real WebSocket and TLS against a real cloudcore process: how fast they join,
 * connect and register, what they cost at rest, and how long a pod is on its way to its edge.
 */

import { randomUUID } from 'node:crypto';
import type { BenchCloud } from '../cloud.ts';
import { type Figure, quantile } from '../figures.ts';
import { cpuPercent, cpuSeconds, pause, pssMb } from '../processes.ts';
import {
  BareWatch,
  type Creation,
  createPods,
  currentVersion,
  delaysMs,
  nodeRef,
  podRef,
  removeAll,
} from './delivery.ts';
import { Fleet } from './fleet.ts';
import type { Orders } from './simulated-edges-main.ts';

export interface EdgesOptions {
  readonly edges: number;
  readonly pods: number;
  /** How long each state of rest is watched. */
  readonly restSeconds: number;
}

const atOnce = 16;
const createSeconds = 5;
const settleMs = 10_000;
const arrivalTimeoutMs = 90_000;
const daySeconds = 24 * 3600;

export async function benchEdges(
  cloud: BenchCloud,
  options: EdgesOptions,
  say: (text: string) => void,
): Promise<Figure[]> {
  const run = randomUUID().slice(0, 6);
  const nodes = Array.from({ length: options.edges }, (_, at) => `bench-${run}-${at}`);
  const podNames = Array.from({ length: options.pods }, (_, at) => `bench-${run}-${at}`);
  const floorNames = podNames.map((name) => `${name}-floor`);
  const fleet = new Fleet();
  try {
    const bench = new EdgesBench(cloud, fleet, nodes, options, say);
    return [
      ...(await bench.joinAll()),
      ...(await bench.connectAndRest(Math.min(100, options.edges))),
      ...(options.edges > 100 ? await bench.connectAndRest(options.edges) : []),
      ...(await bench.deliver(podNames)),
      ...(await bench.restAsOurs()),
      ...(await bench.floor(floorNames)),
    ];
  } finally {
    await fleet.end();
    say('removing what was created');
    await removeAll(cloud.api, [...podNames, ...floorNames].map(podRef));
    await removeAll(cloud.api, nodes.map(nodeRef));
  }
}

class EdgesBench {
  readonly #cloud: BenchCloud;
  readonly #fleet: Fleet;
  readonly #nodes: readonly string[];
  readonly #options: EdgesOptions;
  readonly #say: (text: string) => void;
  #connected = 0;

  constructor(
    cloud: BenchCloud,
    fleet: Fleet,
    nodes: readonly string[],
    options: EdgesOptions,
    say: (text: string) => void,
  ) {
    this.#cloud = cloud;
    this.#fleet = fleet;
    this.#nodes = nodes;
    this.#options = options;
    this.#say = say;
  }

  async joinAll(): Promise<Figure[]> {
    this.#say(`${this.#nodes.length} edges make their keys`);
    await this.#fleet.tell('prepare', { nodes: this.#nodes });
    const { ca, token, bootstrapPort: port } = this.#cloud;
    const { seconds } = await this.#fleet.tell('join', { port, ca, token, atOnce });
    this.#say(`joined in ${seconds.toFixed(1)} s`);
    return [
      { what: 'joins (/edge.crt)', value: this.#nodes.length / seconds, unit: '/s' },
      { what: 'cloudcore memory (PSS), no edge connected', value: await this.#pss(), unit: 'MB' },
    ];
  }

  /** Up to `count` edges, then rest. */
  async connectAndRest(count: number): Promise<Figure[]> {
    const range = { from: this.#connected, to: count };
    const connected = await this.#fleet.tell('connect', {
      ...range,
      port: this.#cloud.hubPort,
      kind: 'kubeedge',
      atOnce,
    });
    const registered = await this.#fleet.tell('register', { ...range, atOnce });
    const more = count - this.#connected;
    this.#connected = count;
    this.#say(
      `${count} connected (${connected.seconds.toFixed(1)} s) and registered (${registered.seconds.toFixed(1)} s)`,
    );
    const rest = await this.#rest();
    const figures: Figure[] = [
      {
        what: `cloudcore memory (PSS), ${count} KubeEdge edges at rest`,
        value: await this.#pss(),
        unit: 'MB',
        ...(count === 1000 ? { budget: { is: 'at most', value: 200 }, kubeedge: '459 MB' } : {}),
      },
      {
        what: `cloudcore processor, ${count} KubeEdge edges at rest`,
        value: rest.cpu,
        unit: '% of a core',
        ...(count === 1000 ? { kubeedge: '17 % of a core' } : {}),
      },
    ];
    if (count < this.#nodes.length) return figures;
    return [
      { what: 'connects (TLS, WebSocket)', value: more / connected.seconds, unit: '/s' },
      { what: 'registrations (Node, status, Lease)', value: more / registered.seconds, unit: '/s' },
      ...figures,
      {
        what: 'wire of a KubeEdge edge at rest, a day',
        value: dailyMb(rest.traffic, count),
        unit: 'MB',
        kubeedge: '28 MB',
      },
    ];
  }

  /** The same edges with our own session. */
  async restAsOurs(): Promise<Figure[]> {
    await this.#fleet.tell('close', {});
    const range = { from: 0, to: this.#nodes.length };
    await this.#fleet.tell('connect', { ...range, port: this.#cloud.hubPort, kind: 'hawser', atOnce });
    await this.#fleet.tell('register', { ...range, atOnce });
    this.#say('connected again as edges of ours');
    const { cpu } = await this.#rest();
    const count = this.#nodes.length;
    return [
      {
        what: `cloudcore memory (PSS), ${count} edges of ours at rest, after the pods`,
        value: await this.#pss(),
        unit: 'MB',
      },
      { what: `cloudcore processor, ${count} edges of ours at rest`, value: cpu, unit: '% of a core' },
    ];
  }

  async deliver(names: readonly string[]): Promise<Figure[]> {
    await this.#fleet.tell('arrivals', {});
    const pid = this.#cloud.processes.pid('cloudcore');
    const [cloudBefore, edgesBefore] = [await cpuSeconds(pid), await cpuSeconds(this.#fleet.pid)];
    const creation = await createPods(this.#cloud.api, names, this.#nodes, createSeconds);
    this.#say(`${names.length} pods created in ${creation.seconds.toFixed(1)} s`);
    const arrivals = new Map<string, number>();
    const deadlineMs = performance.now() + arrivalTimeoutMs;
    while (arrivals.size < names.length && performance.now() < deadlineMs) {
      for (const [pod, atMs] of (await this.#fleet.tell('arrivals', {})).pods) {
        if (creation.askedMs.has(pod) && !arrivals.has(pod)) arrivals.set(pod, atMs);
      }
      await pause(500);
    }
    this.#say(`${arrivals.size} of them arrived`);
    const cloudSpent = (await cpuSeconds(pid)) - cloudBefore;
    const edgesSpent = (await cpuSeconds(this.#fleet.pid)) - edgesBefore;
    const delays = delaysMs(creation.askedMs, arrivals);
    return [
      ...creationFigures('', creation),
      {
        what: 'pods that arrived',
        value: arrivals.size,
        unit: '',
        budget: { is: 'at least', value: names.length },
      },
      {
        what: 'create to received at the edge, p50',
        value: quantile(delays, 0.5) / 1000,
        unit: 's',
        budget: { is: 'at most', value: 0.5 },
        kubeedge: '20.5 s',
      },
      {
        what: 'create to received at the edge, p99',
        value: quantile(delays, 0.99) / 1000,
        unit: 's',
        budget: { is: 'at most', value: 2 },
        kubeedge: '30.7 s',
      },
      { what: 'processor of cloudcore meanwhile', value: cloudSpent, unit: 's' },
      { what: 'processor of the simulated edges meanwhile', value: edgesSpent, unit: 's' },
      { what: 'cloudcore memory (PSS), right after the pods', value: await this.#pss(), unit: 'MB' },
    ];
  }

  /** The same pods at the same pace with neither cloudcore nor edges: what is left is the API's own. */
  async floor(names: readonly string[]): Promise<Figure[]> {
    await this.#fleet.tell('close', {});
    await this.#cloud.processes.stop('cloudcore');
    const watch = new BareWatch(this.#cloud.api, await currentVersion(this.#cloud.api));
    const creation = await createPods(this.#cloud.api, names, this.#nodes, createSeconds);
    await pause(2_000);
    await watch.close();
    const delays = delaysMs(creation.askedMs, watch.arrivals);
    return [
      ...creationFigures(', floor', creation),
      { what: 'create to seen by a bare watch, floor, p50', value: quantile(delays, 0.5) / 1000, unit: 's' },
      { what: 'create to seen by a bare watch, floor, p99', value: quantile(delays, 0.99) / 1000, unit: 's' },
    ];
  }

  async #rest(): Promise<{ cpu: number; traffic: Orders['traffic']['result'] }> {
    await pause(settleMs);
    await this.#fleet.tell('traffic', {});
    const cpu = await cpuPercent(this.#cloud.processes.pid('cloudcore'), this.#options.restSeconds);
    const traffic = await this.#fleet.tell('traffic', {});
    if (traffic.connected < this.#connected) throw new Error(`only ${traffic.connected} edges are connected`);
    return { cpu, traffic };
  }

  #pss(): Promise<number> {
    return pssMb(this.#cloud.processes.pid('cloudcore'));
  }
}

function creationFigures(suffix: string, { answersMs, seconds }: Creation): Figure[] {
  return [
    { what: `time of all the creations${suffix}`, value: seconds, unit: 's' },
    {
      what: `answer of the API to a creation${suffix}, p50`,
      value: quantile(answersMs, 0.5) / 1000,
      unit: 's',
    },
    {
      what: `answer of the API to a creation${suffix}, p99`,
      value: quantile(answersMs, 0.99) / 1000,
      unit: 's',
    },
  ];
}

function dailyMb({ upBytes, downBytes, seconds }: Orders['traffic']['result'], edges: number): number {
  return ((upBytes + downBytes) / edges / seconds) * (daySeconds / 1e6);
}
