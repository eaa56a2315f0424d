/** What becomes of pods at the API, as it becomes known: no polling that would cost the machine what is measured. */

import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { pods } from './edge.ts';

const waitMs = 300_000;

export class PodWatch {
  /** When a pod was first seen Running, in milliseconds of `performance.now()`. */
  readonly runningAtMs = new Map<string, number>();
  readonly #there = new Set<string>();
  readonly #stop = new AbortController();
  readonly #looks = new Set<() => void>();

  static async open(api: KubeApi): Promise<PodWatch> {
    const watch = new PodWatch();
    const { items, resourceVersion } = await api.list(pods);
    for (const { metadata } of items) watch.#there.add(metadata.name);
    void watch.#follow(api, resourceVersion);
    return watch;
  }

  running(names: readonly string[]): Promise<void> {
    return this.#until(`${names.length} pods Running`, () => names.every((it) => this.runningAtMs.has(it)));
  }

  gone(names: readonly string[]): Promise<void> {
    return this.#until(`${names.length} pods gone`, () => names.every((it) => !this.#there.has(it)));
  }

  close(): void {
    this.#stop.abort();
  }

  #until(what: string, holds: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${what}: not within ${waitMs} ms`)), waitMs);
      const look = () => {
        if (!holds()) return;
        clearTimeout(late);
        this.#looks.delete(look);
        resolve();
      };
      this.#looks.add(look);
      look();
    });
  }

  async #follow(api: KubeApi, resourceVersion: string): Promise<void> {
    const { signal } = this.#stop;
    try {
      for await (const { type, object } of api.watch(pods, { resourceVersion, signal })) {
        if (type === 'BOOKMARK') continue;
        const { name } = object.metadata;
        if (type === 'DELETED') this.#there.delete(name);
        else this.#there.add(name);
        const isRunning = podSchema.parse(object).status?.phase === 'Running';
        if (isRunning && !this.runningAtMs.has(name)) this.runningAtMs.set(name, performance.now());
        for (const look of [...this.#looks]) look();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}
