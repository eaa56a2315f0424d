/**
 * What the node and its pods use, read when somebody asks. Whoever asks while a reading is under way, or just after
 * one, gets that: a scraper that asks without end costs the runtime one question a second.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { type MachineUse, readMachineUse } from '../node/machine-use.ts';
import {
  type Container,
  type ContainerStats,
  RuntimeError,
  type RuntimeService,
  type Sandbox,
  type SandboxStats,
} from '../runtime/runtime-service.ts';
import { Rates } from './rates.ts';

export interface ContainerReading {
  readonly stats: ContainerStats;
  readonly startedAtMs: number;
  readonly nanoCores: number | undefined;
  readonly logPath: string;
}

export interface PodReading {
  readonly sandbox: Sandbox;
  readonly containers: readonly ContainerReading[];
  /** Of the whole pod; undefined where the runtime does not count it. */
  readonly stats: SandboxStats | undefined;
  readonly nanoCores: number | undefined;
}

export interface Reading {
  readonly machine: MachineUse;
  readonly nanoCores: number | undefined;
  readonly pods: readonly PodReading[];
  /** The runtime did not tell. */
  readonly failed: boolean;
}

export interface CollectorComponents {
  readonly runtime: RuntimeService;
  readonly machine: () => Promise<MachineUse>;
  readonly clock: Clock;
  readonly log: Log;
}

const freshMs = 1000;
/** More containers than a node of 110 pods has; what is beyond is not asked for its start. */
const containersMax = 2000;

export class Collector {
  readonly #with: CollectorComponents;
  readonly #rates = new Rates();
  #latest: { readonly reading: Promise<Reading>; readonly atMs: number } | undefined;

  constructor(components: CollectorComponents) {
    this.#with = components;
  }

  read(): Promise<Reading> {
    const nowMs = this.#with.clock.monotonicMs();
    if (this.#latest !== undefined && nowMs - this.#latest.atMs < freshMs) return this.#latest.reading;
    const reading = this.#read();
    this.#latest = { reading, atMs: nowMs };
    reading.catch(() => {
      this.#latest = undefined;
    });
    return reading;
  }

  async #read(): Promise<Reading> {
    const machine = await this.#with.machine();
    const nanoCores = this.#rates.of('', machine.cpuNanoseconds, machine.atMs);
    try {
      const pods = await this.#pods();
      this.#rates.keepOnly(new Set(['', ...pods.flatMap(idsOf)]));
      return { machine, nanoCores, pods, failed: false };
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      this.#with.log.warn({ err: error }, 'the container runtime tells no stats');
      return { machine, nanoCores, pods: [], failed: true };
    }
  }

  async #pods(): Promise<readonly PodReading[]> {
    const { runtime } = this.#with;
    const [sandboxes, containers, stats, whole] = await Promise.all([
      runtime.listPodSandboxes(),
      runtime.listContainers(),
      runtime.listContainerStats(),
      runtime.listPodSandboxStats(),
    ]);
    const known = new Map(containers.slice(0, containersMax).map((it) => [it.id, it]));
    const wholeOf = new Map(whole.map((it) => [it.id, it]));
    const readings = await Promise.all(stats.map((it) => this.#container(it, known.get(it.id))));
    return sandboxes
      .filter((it) => it.state === 'ready')
      .map((sandbox) => {
        const own = wholeOf.get(sandbox.id);
        return {
          sandbox,
          containers: readings.filter((it) => known.get(it.stats.id)?.sandboxId === sandbox.id),
          stats: own,
          nanoCores: own && this.#rates.of(own.id, own.cpuNanoseconds, own.atMs),
        };
      });
  }

  async #container(stats: ContainerStats, container: Container | undefined): Promise<ContainerReading> {
    const nanoCores = this.#rates.of(stats.id, stats.cpuNanoseconds, stats.atMs);
    try {
      const { startedAtMs, logPath } = await this.#with.runtime.containerStatus(stats.id);
      return { stats, nanoCores, logPath, startedAtMs: startedAtMs ?? container?.createdAtMs ?? 0 };
    } catch (error) {
      if (!(error instanceof RuntimeError && error.code === 'not-found')) throw error;
      return { stats, nanoCores, logPath: '', startedAtMs: container?.createdAtMs ?? 0 };
    }
  }
}

function idsOf({ sandbox, containers }: PodReading): readonly string[] {
  return [sandbox.id, ...containers.map(({ stats }) => stats.id)];
}

/** How the machine is read, with where its pods and images lie. */
export function machineReader(
  runtime: Pick<RuntimeService, 'imageDirectory'>,
  rootDirectory: string,
  clock: Clock,
): () => Promise<MachineUse> {
  let imageDirectory: string | undefined;
  return async () => {
    // It stays where it is while the runtime runs as it is configured.
    imageDirectory ??= await runtime.imageDirectory().catch((error: unknown) => {
      if (error instanceof RuntimeError) return undefined;
      throw error;
    });
    return readMachineUse(clock.now(), { nodeDirectory: rootDirectory, imageDirectory });
  };
}
