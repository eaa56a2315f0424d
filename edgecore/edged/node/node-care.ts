/**
 * What keeps the node in order beside its pods: pressure and eviction, images and ended containers that nobody needs,
 * logs within their size. Each goes on by itself; none holds up a pod.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { parseQuantity } from '#protocol/quantity.ts';
import type { EdgedConfig } from '../config.ts';
import { parseDurationMs } from '../duration.ts';
import type { EdgedMetrics } from '../edged-metrics.ts';
import type { EventRecorder, NodeEvents } from '../events.ts';
import { fullImageName, parseImageName } from '../images/image-name.ts';
import type { Pod } from '../pod/pod.ts';
import type { RuntimeService, RuntimeStatus } from '../runtime/runtime-service.ts';
import { Collector } from '../stats/collector.ts';
import { ContainerGc } from './container-gc.ts';
import { DiskUses } from './disk-use.ts';
import { type EvictablePod, Eviction } from './eviction.ts';
import { ImageGc } from './image-gc.ts';
import { LogRotation } from './log-rotation.ts';
import type { MachineUse } from './machine-use.ts';
import { podUses, storageFaults } from './pod-uses.ts';
import { Pressure } from './pressure.ts';
import { type PressureCondition, type Signal, signals, thresholdsOf } from './thresholds.ts';

export interface NodeCareParts {
  readonly runtime: RuntimeService;
  readonly machine: () => Promise<MachineUse>;
  readonly pods: () => readonly EvictablePod[];
  readonly events: EventRecorder & NodeEvents;
  readonly counted: Pick<EdgedMetrics, 'evicted' | 'imageRemoved' | 'logRotated'>;
  /** The node's conditions have changed. */
  readonly changed: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

export class NodeCare {
  readonly #pressure: Pressure;
  readonly #parts: readonly { run(signal: AbortSignal): Promise<void> }[];

  constructor(
    config: EdgedConfig,
    { usesImages, rotatesLogs }: Pick<RuntimeStatus, 'usesImages' | 'rotatesLogs'>,
    parts: NodeCareParts,
  ) {
    const { tailoredKubeletConfig: kubelet } = config;
    const { clock, log, runtime } = parts;
    this.#pressure = new Pressure(
      thresholdsOf({
        hard: kubelet.evictionHard,
        soft: kubelet.evictionSoft,
        softMs: softMsOf(kubelet.evictionSoftGracePeriod),
        minReclaim: kubelet.evictionMinimumReclaim,
      }),
      ms(kubelet.evictionPressureTransitionPeriod),
    );
    const images = usesImages ? imageGc(config, parts) : undefined;
    const containers = new ContainerGc(
      { max: config.maxContainerCount, ageMinMs: ms(config.minimumGCAge) },
      { runtime, clock, log },
    );
    const reclaimDisk = async () => {
      await containers.freeAll();
      await images?.freeAll();
    };
    const bytesMax = parseQuantity(kubelet.containerLogMaxSize);
    const logs = { bytesMax, filesMax: kubelet.containerLogMaxFiles };
    this.#parts = [
      eviction(config, this.#pressure, reclaimDisk, parts),
      containers,
      ...(images === undefined ? [] : [images]),
      ...(rotatesLogs || !(bytesMax > 0) ? [] : [new LogRotation(logs, parts)]),
    ];
  }

  get conditions(): readonly PressureCondition[] {
    return this.#pressure.conditions;
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#parts.map((it) => it.run(signal)));
  }
}

function eviction(
  { rootDirectory, hostnameOverride: nodeName, tailoredKubeletConfig: kubelet }: EdgedConfig,
  pressure: Pressure,
  reclaimDisk: () => Promise<void>,
  parts: NodeCareParts,
): Eviction {
  const { runtime, machine, clock, log, pods } = parts;
  const collector = new Collector({ runtime, machine, clock, log });
  const disks = new DiskUses(clock);
  const imageDirectory = () => runtime.imageDirectory();
  const all = () => pods().map((it) => it.pod);
  return new Eviction(
    { nodeName, graceMaxMs: kubelet.evictionMaxPodGracePeriod * 1000 },
    {
      ...parts,
      pressure,
      reclaimDisk,
      uses: (signal) => podUses(signal, all(), { collector, disks, rootDirectory, imageDirectory }),
      storageFaults: () => storageFaults(all(), { collector, disks, rootDirectory }),
      runs: async ({ metadata: { uid } }) =>
        (await runtime.listContainers({ podUid: uid })).some((it) => it.state === 'running'),
    },
  );
}

function imageGc({ tailoredKubeletConfig: kubelet }: EdgedConfig, parts: NodeCareParts): ImageGc {
  return new ImageGc(
    {
      highPercent: kubelet.imageGCHighThresholdPercent,
      lowPercent: kubelet.imageGCLowThresholdPercent,
      ageMinMs: ms(kubelet.imageMinimumGCAge),
    },
    {
      ...parts,
      filesystem: async () => (await parts.machine()).imagefs,
      wanted: () => imageNames(parts.pods().map((it) => it.pod)),
    },
  );
}

/** As runtimes list them: by tag, and by digest alone. */
export function imageNames(pods: readonly Pod[]): ReadonlySet<string> {
  const names = pods.flatMap(({ spec }) =>
    [...spec.containers, ...spec.initContainers].flatMap(({ image }) => {
      const name = parseImageName(image);
      if (name === undefined) return [];
      return [fullImageName(name), ...(name.digest ? [fullImageName({ ...name, tag: undefined })] : [])];
    }),
  );
  return new Set(names);
}

function softMsOf(
  periods: Readonly<Partial<Record<Signal, string>>>,
): Readonly<Partial<Record<Signal, number>>> {
  return Object.fromEntries(
    signals.flatMap((signal) => {
      const period = periods[signal];
      return period === undefined ? [] : [[signal, ms(period)]];
    }),
  );
}

/** The config has been read: it is a duration. */
function ms(text: string): number {
  return parseDurationMs(text) ?? 0;
}
