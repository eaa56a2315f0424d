/**
 * The pods of this node, one worker each, by uid. What the store and the cloud say of them comes in here; a deletion
 * names a uid, and a uid that has ended never comes back.
 */

import { z } from 'zod';
import type { Log } from '#beehive/log.ts';
import { MirrorPods } from '../static/mirror-pods.ts';
import { isStatic } from '../static/static-pod-files.ts';
import type { PodVerdict } from './plan.ts';
import { type Pod, podKey, readPod } from './pod.ts';
import { PodWorker, type PodWorkerComponents } from './pod-worker.ts';
import { references } from './references.ts';
import type { StatusReporter } from './status-sender.ts';

export interface PodsOptions {
  readonly nodeName: string;
  /** Aborted when edged stops: workers let go, and what runs runs on. */
  readonly signal: AbortSignal;
  /** How many there are, after each change. */
  readonly counted: (pods: number) => void;
  /** Why the node does not take a pod that has not started yet. */
  readonly refusalOf: (pod: Pod) => PodVerdict | undefined;
}

interface Running {
  readonly worker: PodWorker;
  readonly done: Promise<void>;
}

const endedMax = 1024;
const uidSchema = z.looseObject({ metadata: z.looseObject({ uid: z.string() }) });

export class Pods {
  readonly #options: PodsOptions;
  readonly #components: PodWorkerComponents;
  readonly #log: Log;
  readonly #running = new Map<string, Running>();
  readonly #ended = new Set<string>();
  readonly #mirrors: MirrorPods;

  constructor(options: PodsOptions, components: PodWorkerComponents, mirrors: MirrorPods) {
    this.#options = options;
    this.#mirrors = mirrors;
    this.#components = components;
    this.#log = components.log;
  }

  get count(): number {
    return this.#running.size;
  }

  has(uid: string): boolean {
    return this.#running.has(uid);
  }

  get workers(): readonly PodWorker[] {
    return [...this.#running.values()].map(({ worker }) => worker);
  }

  of(uid: string): PodWorker | undefined {
    return this.#running.get(uid)?.worker;
  }

  /** A pod as the store or the cloud has it. */
  apply(content: unknown): void {
    const read = readPod(content);
    if ('faults' in read) {
      this.#log.warn({ issues: read.faults }, 'a pod that cannot be read is left alone');
      return;
    }
    const { pod } = read;
    if (pod.spec.nodeName && pod.spec.nodeName !== this.#options.nodeName) return;
    const { uid } = pod.metadata;
    if (this.#ended.has(uid)) return;
    const known = this.of(uid);
    if (known !== undefined) {
      known.update(pod);
      return;
    }
    if (MirrorPods.isMirror(pod)) {
      this.#mirrors.seen(pod);
      return;
    }
    for (const worker of this.workers)
      if (podKey(worker.pod) === podKey(pod) && !isStatic(worker.pod)) worker.remove();
    void this.#start(pod, this.#components);
    this.#refuse(pod);
  }

  #refuse(pod: Pod): void {
    const refusal = this.#options.refusalOf(pod);
    if (refusal === undefined) return;
    this.of(pod.metadata.uid)?.fail(refusal);
    this.#components.events.pod(pod, 'Warning', refusal.reason, refusal.message);
  }

  /** Runs a pod that no API knows. Resolves when it has ended: false when only we let go of it. */
  async runStatic(pod: Pod, sender: StatusReporter): Promise<boolean> {
    await this.#start(pod, { ...this.#components, sender });
    return !this.#options.signal.aborted;
  }

  /** The uid of a pod that is gone; undefined when the content names none. A worker of it ends. */
  remove(content: unknown): string | undefined {
    const uid = uidSchema.safeParse(content).data?.metadata.uid;
    if (uid === undefined) this.#log.warn({}, 'the deletion of a pod without uid is left alone');
    else {
      this.of(uid)?.remove();
      this.#mirrors.gone(uid);
    }
    return uid;
  }

  /** The cloud's answer to a status shows a deletion that has not come down yet. */
  seen(object: unknown): void {
    const read = readPod(object);
    if ('faults' in read || !read.pod.metadata.deletionTimestamp) return;
    const { pod } = read;
    if (MirrorPods.isMirror(pod)) {
      this.#mirrors.seen(pod);
      return;
    }
    const known = this.of(pod.metadata.uid);
    if (known !== undefined && !known.pod.metadata.deletionTimestamp) known.update(pod);
  }

  connected(): void {
    for (const worker of this.workers) worker.poke('cloud');
  }

  /** A configMap or secret has changed, by `<namespace>/<type>/<name>`. */
  changed(reference: string): void {
    for (const worker of this.workers) if (references(worker.pod).has(reference)) worker.poke('volumes');
  }

  /** Resolves when every worker has let go. */
  async drained(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  #start(pod: Pod, components: PodWorkerComponents): Promise<void> {
    const { signal, counted } = this.#options;
    const { uid } = pod.metadata;
    const worker = new PodWorker(pod, components);
    const done = worker.run(signal).finally(() => {
      if (signal.aborted) return;
      this.#running.delete(uid);
      if (!isStatic(pod)) this.#noteEnded(uid);
      counted(this.count);
    });
    this.#running.set(uid, { worker, done });
    counted(this.count);
    return done;
  }

  /** A late update of a pod that has ended must not bring it back. */
  #noteEnded(uid: string): void {
    this.#ended.add(uid);
    for (const oldest of this.#ended) {
      if (this.#ended.size <= endedMax) break;
      this.#ended.delete(oldest);
    }
  }
}
