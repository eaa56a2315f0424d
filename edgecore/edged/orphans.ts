/**
 * What carries our mark in the runtime, or lies below our directories, and is no pod of this node: removed at the
 * start, when one appears, and every minute. After a loss of the store nothing is removed before it is filled again.
 */

import { rm } from 'node:fs/promises';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { sandboxLogDirectory } from './container/container-config.ts';
import type { RuntimeService, Sandbox } from './runtime/runtime-service.ts';
import type { Volumes } from './volumes/volumes.ts';

export interface OrphansComponents {
  readonly runtime: RuntimeService;
  readonly volumes: Volumes;
  readonly isKnown: (podUid: string) => boolean;
  readonly podLogs: string;
  /** Whether the list of stored pods is all of them. */
  readonly memory: { isWhole(): boolean; becameWhole(): Promise<void> };
  readonly clock: Clock;
  readonly log: Log;
}

const everyMs = 60_000;
/** Between two looks, however many appear. */
const apartMs = 2000;

export class Orphans {
  readonly #with: OrphansComponents;
  #seen = new AbortController();
  #saidThatTheyStay = false;

  constructor(components: OrphansComponents) {
    this.#with = components;
  }

  /** Something has appeared that belongs to no pod. */
  appeared(): void {
    this.#seen.abort();
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#with;
    while (!signal.aborted) {
      this.#seen = new AbortController();
      try {
        await this.#remove();
      } catch (error) {
        log.warn({ err: error }, 'cannot remove orphans');
      }
      const seen = this.#seen.signal;
      await clock.sleep(everyMs, AbortSignal.any([signal, seen])).catch(() => {});
      if (seen.aborted) await clock.sleep(apartMs, signal).catch(() => {});
    }
  }

  /** What is left of one pod in the runtime. */
  async removeSandboxes(chosen: (sandbox: Sandbox) => boolean, reason: string): Promise<void> {
    const { runtime, log, podLogs } = this.#with;
    for (const sandbox of (await runtime.listPodSandboxes()).filter(chosen)) {
      const pod = `${sandbox.podNamespace}/${sandbox.podName}`;
      log.info({ pod, uid: sandbox.podUid, reason }, 'removing an orphan');
      try {
        // Another kubelet may keep its logs beside ours: the sandbox is what says that these are ours, so it goes last.
        await runtime.stopPodSandbox(sandbox.id);
        await rm(sandboxLogDirectory(sandbox, podLogs), { recursive: true, force: true });
        await runtime.removePodSandbox(sandbox.id);
      } catch (error) {
        // One that cannot go now keeps no other.
        log.warn({ err: error, pod }, 'cannot remove an orphan');
      }
    }
  }

  async #remove(): Promise<void> {
    const { volumes, isKnown } = this.#with;
    if (!(await this.#mayRemove())) return;
    await this.removeSandboxes(({ podUid }) => !isKnown(podUid), 'no stored pod is it');
    for (const uid of await volumes.present()) if (!isKnown(uid)) await volumes.remove(uid);
  }

  /** What runs is kept until the cloud has filled a lost store, or nothing is left that it lacks. */
  async #mayRemove(): Promise<boolean> {
    const { memory, runtime, isKnown, log } = this.#with;
    if (memory.isWhole()) return true;
    const unknown = (await runtime.listPodSandboxes()).filter(({ podUid }) => !isKnown(podUid));
    if (unknown.length === 0) {
      await memory.becameWhole();
      return true;
    }
    if (!this.#saidThatTheyStay) {
      const pods = unknown.map(({ podNamespace, podName }) => `${podNamespace}/${podName}`);
      log.warn(
        { pods },
        'the store was lost: what runs and is not stored stays until the cloud has told all',
      );
    }
    this.#saidThatTheyStay = true;
    return false;
  }
}
