/**
 * `/metrics/resource` under the kubelet's names, which metrics-server and dashboards ask for. Written here because
 * each sample carries the time at which the runtime counted it.
 */

import type { Reading } from './collector.ts';
import { totals } from './summary.ts';

interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
  readonly atMs?: number;
}

export function resourceMetrics({ machine, pods, failed }: Reading): string {
  const containers = pods.flatMap(({ sandbox, containers: all }) =>
    all.map((it) => ({
      ...it,
      labels: { container: it.stats.name, namespace: sandbox.podNamespace, pod: sandbox.podName },
    })),
  );
  const whole = pods
    .filter((it) => it.stats !== undefined || it.containers.length > 0)
    .map((it) => ({
      ...totals(it),
      labels: { namespace: it.sandbox.podNamespace, pod: it.sandbox.podName },
    }));
  const error = [{ value: failed ? 1 : 0 }];
  return [
    family(
      'container_cpu_usage_seconds_total',
      'counter',
      'Processor time that the container has used, in core-seconds',
      containers.map(({ labels, stats }) => ({
        labels,
        value: seconds(stats.cpuNanoseconds),
        atMs: stats.atMs,
      })),
    ),
    family(
      'container_memory_working_set_bytes',
      'gauge',
      'Working set of the container in bytes',
      containers.map(({ labels, stats }) => ({
        labels,
        value: stats.memory.workingSetBytes,
        atMs: stats.atMs,
      })),
    ),
    family(
      'container_start_time_seconds',
      'gauge',
      'When the container started, in seconds since the epoch',
      containers.map(({ labels, startedAtMs }) => ({ labels, value: startedAtMs / 1000 })),
    ),
    family('node_cpu_usage_seconds_total', 'counter', 'Processor time used on the node, in core-seconds', [
      { value: seconds(machine.cpuNanoseconds), atMs: machine.atMs },
    ]),
    family('node_memory_working_set_bytes', 'gauge', 'Working set of the node in bytes', [
      { value: machine.memory.workingSetBytes, atMs: machine.atMs },
    ]),
    family(
      'pod_cpu_usage_seconds_total',
      'counter',
      'Processor time that the pod has used, in core-seconds',
      whole.map(({ labels, cpuNanoseconds, atMs }) => ({ labels, value: seconds(cpuNanoseconds), atMs })),
    ),
    family(
      'pod_memory_working_set_bytes',
      'gauge',
      'Working set of the pod in bytes',
      whole.map(({ labels, memory, atMs }) => ({ labels, value: memory.workingSetBytes, atMs })),
    ),
    family('resource_scrape_error', 'gauge', '1 when the container runtime told no stats', error),
    family('scrape_error', 'gauge', '1 when the container runtime told no stats', error),
  ].join('');
}

function family(name: string, type: 'counter' | 'gauge', help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(({ labels = {}, value, atMs }) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
    const head = pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`;
    return atMs === undefined ? `${head} ${value}\n` : `${head} ${value} ${Math.round(atMs)}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function seconds(nanoseconds: number): number {
  return nanoseconds / 1e9;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}
