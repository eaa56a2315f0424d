/** What the runtime says of one pod, with what its containers wrote about their end. Decides nothing. */

import { logTail } from '../container/container-log-tail.ts';
import {
  annotation,
  type ContainerStatus,
  RuntimeError,
  type RuntimeService,
} from '../runtime/runtime-service.ts';
import type { ObservedContainer, ObservedSandbox } from './plan.ts';
import type { Pod } from './pod.ts';
import type { PodFiles } from './pod-files.ts';

export interface PodObserverParts {
  readonly runtime: RuntimeService;
  readonly files: PodFiles | undefined;
}

export class PodObserver {
  readonly #parts: PodObserverParts;
  /** Address by sandbox: one does not change while the sandbox lives. */
  readonly #addresses = new Map<string, string>();

  constructor(parts: PodObserverParts) {
    this.#parts = parts;
  }

  async sandboxes(pod: Pod): Promise<readonly ObservedSandbox[]> {
    const { runtime } = this.#parts;
    const seen: ObservedSandbox[] = [];
    for (const { id, attempt, state } of await runtime.listPodSandboxes({ podUid: pod.metadata.uid })) {
      const ready = state === 'ready';
      seen.push({ id, attempt, ready, ip: ready ? await this.#addressOf(pod, id) : undefined });
    }
    return seen;
  }

  async containers(pod: Pod): Promise<readonly ObservedContainer[]> {
    const { runtime } = this.#parts;
    const containers: ObservedContainer[] = [];
    for (const { id } of await runtime.listContainers({ podUid: pod.metadata.uid })) {
      try {
        const it = await runtime.containerStatus(id);
        const message = it.message || (await this.#lastWords(pod, it));
        const backoffMs = Number(it.annotations[annotation.backoffMs] ?? 0) || 0;
        containers.push({ ...it, message, backoffMs });
      } catch (error) {
        if (!(error instanceof RuntimeError && error.code === 'not-found')) throw error;
      }
    }
    return containers;
  }

  async #addressOf(pod: Pod, sandboxId: string): Promise<string | undefined> {
    if (pod.spec.hostNetwork) return undefined;
    const known = this.#addresses.get(sandboxId);
    if (known !== undefined) return known;
    const { ip } = await this.#parts.runtime.podSandboxStatus(sandboxId);
    if (ip !== undefined) this.#addresses.set(sandboxId, ip);
    return ip;
  }

  async #lastWords(pod: Pod, { state, name, attempt, exitCode, logPath }: ContainerStatus): Promise<string> {
    if (state !== 'exited') return '';
    const written = await this.#parts.files?.terminationMessage(pod.metadata.uid, name, attempt);
    const { initContainers, containers } = pod.spec;
    const policy = [...initContainers, ...containers].find(
      (it) => it.name === name,
    )?.terminationMessagePolicy;
    if (written || policy !== 'FallbackToLogsOnError' || exitCode === 0) return written ?? '';
    return logTail(logPath);
  }
}
