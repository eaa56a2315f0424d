/** What our containers and pods use, as the runtime counts it. */

import type { z } from 'zod';
import {
  type ContainerStats,
  label,
  type MemoryUse,
  type NetworkUse,
  RuntimeError,
  type SandboxStats,
} from '../runtime-service.ts';
import type { CriCalls } from './cri-calls.ts';
import * as messages from './cri-messages.ts';

type Labels = Readonly<Record<string, string>>;

export async function containerStats(calls: CriCalls, labels: Labels): Promise<readonly ContainerStats[]> {
  const request = { filter: { label_selector: labels } };
  const method = 'RuntimeService/ListContainerStats';
  const { stats } = await calls.read(method, request, messages.statsAnswer);
  return stats.flatMap(({ attributes, cpu, memory, writable_layer: layer }) => {
    if (cpu?.timestamp === undefined) return [];
    return [
      {
        id: attributes.id,
        podUid: attributes.labels[label.podUid] ?? '',
        name: attributes.metadata.name,
        atMs: cpu.timestamp,
        cpuNanoseconds: cpu.usage_core_nano_seconds?.value ?? 0,
        memory: memoryOf(memory),
        writableLayer: layer
          ? { usedBytes: layer.used_bytes?.value ?? 0, inodesUsed: layer.inodes_used?.value ?? 0 }
          : undefined,
      },
    ];
  });
}

/** Empty where the runtime has no such call. */
export async function sandboxStats(calls: CriCalls, labels: Labels): Promise<readonly SandboxStats[]> {
  const request = { filter: { label_selector: labels } };
  const method = 'RuntimeService/ListPodSandboxStats';
  try {
    const { stats } = await calls.read(method, request, messages.sandboxStatsAnswer);
    return stats.flatMap(({ attributes, linux }) => {
      if (linux?.cpu?.timestamp === undefined) return [];
      return [
        {
          id: attributes.id,
          podUid: attributes.labels[label.podUid] ?? '',
          atMs: linux.cpu.timestamp,
          cpuNanoseconds: linux.cpu.usage_core_nano_seconds?.value ?? 0,
          memory: memoryOf(linux.memory),
          network: networkOf(linux.network?.default_interface),
          processes: linux.process?.process_count?.value,
        },
      ];
    });
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'unsupported') return [];
    throw error;
  }
}

function memoryOf(memory: z.infer<typeof messages.memoryUsage>): MemoryUse {
  return {
    workingSetBytes: memory?.working_set_bytes?.value ?? 0,
    usageBytes: memory?.usage_bytes?.value,
    rssBytes: memory?.rss_bytes?.value,
  };
}

function networkOf(it: z.infer<typeof messages.interfaceUsage>): NetworkUse | undefined {
  if (!it) return undefined;
  return {
    name: it.name,
    rxBytes: it.rx_bytes?.value ?? 0,
    rxErrors: it.rx_errors?.value ?? 0,
    txBytes: it.tx_bytes?.value ?? 0,
    txErrors: it.tx_errors?.value ?? 0,
  };
}
