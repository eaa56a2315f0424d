/** What edged counts, made once however often it is started again: a name can be registered only once. */

import type { Metrics } from '#beehive/metrics.ts';

export interface EdgedMetrics {
  pods(count: number): void;
  /** By what was short; `own-limit`: what the pod allows itself. */
  evicted(what: string): void;
  imageRemoved(bytes: number): void;
  logRotated(): void;
}

export function createEdgedMetrics(metrics: Metrics): EdgedMetrics {
  const pods = metrics.gauge('hawser_edged_pods_count', 'Pods that have a worker');
  const evicted = metrics.counter('hawser_edged_evictions_total', 'Pods evicted, by what was short', [
    'what',
  ]);
  const images = metrics.counter('hawser_edged_images_removed_total', 'Images removed to free disk');
  const bytes = metrics.counter('hawser_edged_images_removed_bytes', 'Bytes of the images removed');
  const logs = metrics.counter('hawser_edged_logs_rotated_total', 'Logs of containers renamed when full');
  return {
    pods: (count) => pods.set(count),
    evicted: (what) => evicted.inc({ what }),
    imageRemoved(size) {
      images.inc();
      bytes.inc({}, size);
    },
    logRotated: () => logs.inc(),
  };
}
