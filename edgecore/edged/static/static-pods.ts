/**
 * Runs the pods of a folder on this machine, with or without a cloud. The folder is watched, and read anew now and
 * then for what a watch may miss. A file that has become unreadable keeps the pod of its last good content, over a
 * restart too; only a file that is gone, or says something else, ends a pod. The next one of its name starts when it
 * has ended.
 */

import { watch } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { describeError } from '#protocol/errors.ts';
import { type Pod, podKey } from '../pod/pod.ts';
import type { Pods } from '../pod/pods.ts';
import { KeptStaticPods } from './kept-static-pods.ts';
import type { MirrorPods } from './mirror-pods.ts';
import { readStaticPods, type StaticPodOptions } from './static-pod-files.ts';

export interface StaticPodsOptions extends StaticPodOptions {
  /** Where the last good content of each file is kept. */
  readonly keptDirectory: string;
  readonly rereadMs: number;
}

export interface StaticPodsParts {
  readonly pods: Pods;
  readonly mirrors: MirrorPods;
  readonly clock: Clock;
  readonly log: Log;
}

interface Running {
  readonly uid: string;
  removed: boolean;
}

/** Editors write a file in several steps. */
const settleMs = 200;

export class StaticPods {
  readonly #options: StaticPodsOptions;
  readonly #parts: StaticPodsParts;
  readonly #kept: KeptStaticPods;
  readonly #byFile: Map<string, Pod>;
  readonly #running = new Map<string, Running>();
  readonly #said = new Map<string, string>();

  constructor(options: StaticPodsOptions, parts: StaticPodsParts) {
    this.#options = options;
    this.#parts = parts;
    this.#kept = new KeptStaticPods(options.keptDirectory, options);
    this.#byFile = new Map(this.#kept.recall());
  }

  /** Reads the folder and starts, changes and ends what follows from it. */
  async load(): Promise<void> {
    const { log } = this.#parts;
    const { directory } = this.#options;
    try {
      const { pods, faults } = await readStaticPods(this.#options);
      for (const [file, why] of faults) this.#say(file, why);
      for (const file of [...this.#said.keys()]) if (!faults.has(file)) this.#said.delete(file);
      for (const file of [...this.#byFile.keys()])
        if (!pods.has(file) && !faults.has(file)) this.#byFile.delete(file);
      for (const [file, pod] of pods) this.#byFile.set(file, pod);
      this.#keep();
    } catch (error) {
      // A folder that cannot be read now says nothing about its pods.
      log.warn({ directory, why: describeError(error) }, 'cannot read the folder of static pods');
    }
    const wanted = this.#wanted();
    for (const key of new Set([...wanted.keys(), ...this.#running.keys()]))
      this.#settle(key, wanted.get(key));
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    const { directory, rereadMs } = this.#options;
    while (!signal.aborted) {
      // Watched before it is read, so that no change falls between.
      const round = new AbortController();
      const either = AbortSignal.any([signal, round.signal]);
      const changed = new Promise<void>((resolve) => {
        for (const path of [directory, dirname(directory)]) void watchOnce(path, either, resolve);
      });
      await this.load();
      await Promise.race([changed, clock.sleep(rereadMs, either).catch(() => {})]);
      round.abort();
      await clock.sleep(settleMs, signal).catch(() => {});
    }
  }

  #keep(): void {
    try {
      this.#kept.keep(this.#byFile);
    } catch (error) {
      const why = describeError(error);
      this.#parts.log.warn({ why }, 'static pods cannot be kept for a start at which their file is bad');
    }
  }

  #wanted(): Map<string, Pod> {
    const wanted = new Map<string, Pod>();
    for (const pod of this.#byFile.values()) wanted.set(podKey(pod), pod);
    return wanted;
  }

  #settle(key: string, wanted: Pod | undefined): void {
    const { pods, mirrors, log } = this.#parts;
    const running = this.#running.get(key);
    if (running !== undefined) {
      if (running.removed || running.uid === wanted?.metadata.uid) return;
      running.removed = true;
      pods.of(running.uid)?.remove();
      return;
    }
    if (wanted === undefined) return;
    const { uid } = wanted.metadata;
    log.info({ pod: key, uid }, 'static pod');
    this.#running.set(key, { uid, removed: false });
    mirrors.set(key, wanted);
    void pods.runStatic(wanted, mirrors.reporter()).then((ended) => {
      if (!ended) return;
      this.#running.delete(key);
      mirrors.set(key, undefined);
      this.#settle(key, this.#wanted().get(key));
    });
  }

  #say(file: string, why: string): void {
    if (this.#said.get(file) === why) return;
    this.#said.set(file, why);
    const kept = this.#byFile.get(file);
    this.#parts.log.warn(
      { file, why, ...(kept === undefined ? {} : { stays: podKey(kept) }) },
      kept === undefined
        ? 'this file is no static pod'
        : 'this file is no static pod any more; its last one stays',
    );
  }
}

/** Tells the first change. What cannot be watched, or is not there, is looked at by the clock. */
async function watchOnce(directory: string, signal: AbortSignal, changed: () => void): Promise<void> {
  try {
    for await (const _ of watch(directory, { signal })) return changed();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
  }
}
