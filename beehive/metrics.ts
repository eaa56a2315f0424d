/** Metrics by prom-client, behind what we use of it. Names: `hawser_<module>_<what>_<unit>`. */

import { Counter, Gauge, Histogram, Registry } from 'prom-client';

type Labels<L extends string> = Partial<Record<L, string | number>>;

export interface Metrics {
  counter<L extends string = never>(
    name: string,
    help: string,
    labels?: readonly L[],
  ): { inc(labels?: Labels<L>, by?: number): void };
  /** `read` is called at each scrape. */
  gauge<L extends string = never>(
    name: string,
    help: string,
    labels?: readonly L[],
  ): { set(value: number, labels?: Labels<L>): void };
  histogram(
    name: string,
    help: string,
    bucketsSeconds: readonly number[],
  ): { observe(seconds: number): void };
  /** The text that a Prometheus scrape wants. */
  text(): Promise<string>;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  return {
    counter(name, help, labels = []) {
      const counter = new Counter({ name, help, labelNames: [...labels], registers });
      return { inc: (values = {}, by = 1) => counter.inc(values, by) };
    },
    gauge(name, help, labels = []) {
      const gauge = new Gauge({ name, help, labelNames: [...labels], registers });
      return { set: (value, values = {}) => gauge.set(values, value) };
    },
    histogram(name, help, bucketsSeconds) {
      const histogram = new Histogram({ name, help, buckets: [...bucketsSeconds], registers });
      return { observe: (seconds) => histogram.observe(seconds) };
    },
    text: () => registry.metrics(),
  };
}
