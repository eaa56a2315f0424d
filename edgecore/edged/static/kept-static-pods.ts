/** The last good content of each file of static pods, for a start at which the file is bad. */

import { createHash } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { keepDurably, keptDurably } from '../durable-file.ts';
import { type Pod, podSchema } from '../pod/pod.ts';
import type { StaticPodOptions } from './static-pod-files.ts';

const keptSchema = z.object({ file: z.string(), isolated: z.boolean(), pod: podSchema });

/** What a pod may do is judged by these: under others what is kept counts for nothing. */
export type JudgedBy = Pick<StaticPodOptions, 'nodeName' | 'isolated'>;

export class KeptStaticPods {
  readonly #directory: string;
  readonly #judgedBy: JudgedBy;
  /** Uids of what is kept, by the name of the file. */
  readonly #uids = new Map<string, string>();

  constructor(directory: string, judgedBy: JudgedBy) {
    this.#directory = directory;
    this.#judgedBy = judgedBy;
  }

  /** By the name of the file. */
  recall(): ReadonlyMap<string, Pod> {
    const pods = new Map<string, Pod>();
    for (const name of this.#names()) {
      const kept = keptDurably(join(this.#directory, name), keptSchema);
      if (kept === undefined) continue;
      const { file, pod, isolated } = kept;
      this.#uids.set(file, pod.metadata.uid);
      const { nodeName, isolated: now } = this.#judgedBy;
      if (pod.spec.nodeName === nodeName && isolated === now) pods.set(file, pod);
    }
    return pods;
  }

  /** @throws what the file system says. */
  keep(pods: ReadonlyMap<string, Pod>): void {
    for (const file of [...this.#uids.keys()]) {
      if (pods.has(file)) continue;
      rmSync(this.#pathOf(file), { force: true });
      this.#uids.delete(file);
    }
    for (const [file, pod] of pods) {
      if (this.#uids.get(file) === pod.metadata.uid) continue;
      keepDurably(this.#pathOf(file), { file, isolated: this.#judgedBy.isolated, pod });
      this.#uids.set(file, pod.metadata.uid);
    }
  }

  #names(): readonly string[] {
    try {
      return readdirSync(this.#directory);
    } catch {
      // Nothing was kept yet.
      return [];
    }
  }

  #pathOf(file: string): string {
    return join(this.#directory, `${createHash('sha256').update(file).digest('hex')}.json`);
  }
}
