/**
 * Shows static pods in the API, each as a mirror pod that only its node may make: created when it is missing, made
 * anew when it was deleted or shows an older file, deleted when the pod has ended. Level-triggered: any news asks for
 * another look at all of them. Static pods run without it.
 */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { operation } from '#protocol/names.ts';
import { kubeObjectSchema } from '#protocol/resources/object.ts';
import type { CloudAnswer, CloudRequests } from '../cloud-requests.ts';
import { type Pod, podKey, podNamespace } from '../pod/pod.ts';
import type { PodStatusValue } from '../pod/pod-status.ts';
import type { StatusReporter, StatusSender } from '../pod/status-sender.ts';
import { configAnnotation } from './static-pod-files.ts';

export interface MirrorPodsParts {
  readonly nodeName: string;
  readonly nodeUid: () => string | undefined;
  readonly cloud: CloudRequests;
  readonly sender: StatusSender;
  readonly clock: Clock;
  readonly log: Log;
}

/** A mirror as the API has it. */
interface Mirror {
  readonly uid: string;
  readonly hash: string;
  readonly deleted: boolean;
}

const retryFirstMs = 2000;
const retryMaxMs = 300_000;

export class MirrorPods {
  readonly #parts: MirrorPodsParts;
  readonly #static = new Map<string, Pod>();
  readonly #mirrors = new Map<string, Mirror>();
  readonly #statuses = new Map<string, PodStatusValue>();
  readonly #said = new Map<string, string>();
  #poked = false;
  #wake: () => void = () => {};
  #pauseMs = retryFirstMs;

  constructor(parts: MirrorPodsParts) {
    this.#parts = parts;
  }

  static isMirror(pod: Pod): boolean {
    return Object.hasOwn(pod.metadata.annotations ?? {}, configAnnotation.mirror);
  }

  /** What the node runs from a file under that name; undefined when it has ended. */
  set(key: string, pod: Pod | undefined): void {
    if (pod === undefined) {
      this.#static.delete(key);
      this.#statuses.delete(key);
    } else this.#static.set(key, pod);
    this.poke();
  }

  /** A mirror pod as the store or the cloud has it. */
  seen(pod: Pod): void {
    const { uid, annotations, deletionTimestamp } = pod.metadata;
    const hash = annotations?.[configAnnotation.mirror] ?? '';
    const key = podKey(pod);
    const before = this.#mirrors.get(key);
    if (before?.deleted && before.uid === uid) return;
    this.#mirrors.set(key, { uid, hash, deleted: Boolean(deletionTimestamp) });
    if (before?.uid !== uid && before !== undefined) this.#parts.sender.forget(before.uid);
    this.#tell(key);
    this.poke();
  }

  /** A pod is gone from the API; it may have been one of ours. */
  gone(uid: string): void {
    for (const [key, mirror] of this.#mirrors) {
      if (mirror.uid !== uid) continue;
      this.#mirrors.delete(key);
      this.#parts.sender.forget(uid);
      this.poke();
    }
  }

  /** Look again now: the link is back, or our Node has become known. */
  poke(): void {
    this.#pauseMs = retryFirstMs;
    this.#poked = true;
    this.#wake();
  }

  /** Where the worker of a static pod reports: the status goes up as that of the mirror. */
  reporter(): StatusReporter {
    return {
      report: (pod, status) => {
        const key = podKey(pod);
        this.#statuses.set(key, status);
        this.#tell(key);
      },
      settled: async () => {},
      forget: () => {},
    };
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts;
    while (!signal.aborted) {
      this.#poked = false;
      let done = true;
      for (const key of new Set([...this.#static.keys(), ...this.#mirrors.keys()])) {
        try {
          done = (await this.#settle(key, signal)) && done;
        } catch (error) {
          if (signal.aborted) return;
          log.error({ err: error, pod: key }, 'cannot show a static pod');
          done = false;
        }
      }
      await this.#pause(done ? Number.POSITIVE_INFINITY : this.#pauseMs, clock, signal);
      this.#pauseMs = Math.min(retryMaxMs, this.#pauseMs * 2);
    }
  }

  /** True when nothing is left to do for this one. */
  async #settle(key: string, signal: AbortSignal): Promise<boolean> {
    const pod = this.#static.get(key);
    const mirror = this.#mirrors.get(key);
    if (mirror !== undefined) {
      const shows = pod !== undefined && mirror.hash === pod.metadata.annotations?.[configAnnotation.hash];
      if (shows && !mirror.deleted) return true;
      if (!(await this.#delete(key, mirror, signal))) return false;
    }
    return pod === undefined || (await this.#create(key, pod, signal));
  }

  async #delete(key: string, { uid }: Mirror, signal: AbortSignal): Promise<boolean> {
    const [namespace, name] = key.split('/');
    const options = { gracePeriodSeconds: 0, preconditions: { uid } };
    const resource = `${namespace}/pod/${name}`;
    const answer = await this.#parts.cloud.ask(operation.delete, resource, options, signal);
    if (answer.kind !== 'object') return this.#failed(key, 'cannot delete the mirror pod', answer);
    if (this.#mirrors.get(key)?.uid === uid) this.#mirrors.delete(key);
    this.#parts.sender.forget(uid);
    return true;
  }

  async #create(key: string, pod: Pod, signal: AbortSignal): Promise<boolean> {
    const { cloud, nodeUid } = this.#parts;
    const uid = nodeUid();
    if (uid === undefined) return false;
    const resource = `${podNamespace(pod)}/pod/${pod.metadata.name}`;
    const answer = await cloud.ask(operation.insert, resource, this.#mirrorOf(pod, uid), signal);
    if (answer.kind !== 'object') return this.#failed(key, 'cannot show the static pod in the API', answer);
    this.#said.delete(key);
    const made = kubeObjectSchema.safeParse(answer.object).data?.metadata.uid;
    if (made === undefined) return false;
    // It comes down as well; what came first is the newer.
    if (!this.#mirrors.has(key)) {
      const hash = pod.metadata.annotations?.[configAnnotation.hash] ?? '';
      this.#mirrors.set(key, { uid: made, hash, deleted: false });
    }
    this.#tell(key);
    return true;
  }

  #mirrorOf(pod: Pod, nodeUid: string): unknown {
    const { name, labels } = pod.metadata;
    const annotations = pod.metadata.annotations ?? {};
    const owner = {
      apiVersion: 'v1',
      kind: 'Node',
      name: this.#parts.nodeName,
      uid: nodeUid,
      controller: true,
    };
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: podNamespace(pod),
        labels: labels ?? {},
        annotations: { ...annotations, [configAnnotation.mirror]: annotations[configAnnotation.hash] },
        ownerReferences: [owner],
      },
      spec: pod.spec,
    };
  }

  #tell(key: string): void {
    const pod = this.#static.get(key);
    const mirror = this.#mirrors.get(key);
    const status = this.#statuses.get(key);
    if (pod === undefined || mirror === undefined || mirror.deleted || status === undefined) return;
    if (mirror.hash !== pod.metadata.annotations?.[configAnnotation.hash]) return;
    this.#parts.sender.report({ ...pod, metadata: { ...pod.metadata, uid: mirror.uid } }, status);
  }

  /** Refusals are told once each; to have no cloud is no news. */
  #failed(key: string, what: string, answer: Exclude<CloudAnswer, { kind: 'object' }>): false {
    const { log } = this.#parts;
    if (answer.kind === 'unanswered') {
      log.debug({ pod: key, why: answer.why }, what);
      return false;
    }
    const why = `${answer.reason}: ${answer.message}`;
    if (this.#said.get(key) !== why) log.warn({ pod: key, why }, what);
    this.#said.set(key, why);
    return false;
  }

  async #pause(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    if (this.#poked || signal.aborted) return;
    const done = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const either = AbortSignal.any([signal, done.signal]);
    const late = Number.isFinite(ms) ? ms : retryMaxMs;
    await Promise.race([woken, clock.sleep(late, either).catch(() => {})]);
    done.abort();
    this.#wake = () => {};
  }
}
