/** From CRI's answers to the contract's; pure. */

import { type Container, type ContainerStatus, type Image, label, type Sandbox } from '../runtime-service.ts';
import type { CriContainer, CriContainerStatus, CriImage, CriSandbox } from './cri-messages.ts';
import { hidden } from './cri-requests.ts';

const states = {
  CONTAINER_CREATED: 'created',
  CONTAINER_RUNNING: 'running',
  CONTAINER_EXITED: 'exited',
  CONTAINER_UNKNOWN: 'unknown',
} as const;

export function sandboxOf(it: CriSandbox): Sandbox {
  return {
    id: it.id,
    podUid: it.metadata.uid,
    podName: it.metadata.name,
    podNamespace: it.metadata.namespace,
    attempt: it.metadata.attempt,
    state: it.state === 'SANDBOX_READY' ? 'ready' : 'notready',
    createdAtMs: it.created_at ?? 0,
    labels: it.labels,
  };
}

export function containerOf(it: CriContainer): Container {
  return common(it, it.pod_sandbox_id);
}

export function statusOf(it: CriContainerStatus, sandboxId: string): ContainerStatus {
  const ended = it.state === 'CONTAINER_EXITED' || it.state === 'CONTAINER_UNKNOWN';
  return {
    ...common(it, sandboxId),
    startedAtMs: it.started_at,
    finishedAtMs: ended ? it.finished_at : undefined,
    exitCode: ended ? it.exit_code : undefined,
    reason: it.reason,
    message: it.message,
    imageRef: it.image_ref,
    logPath: it.log_path,
  };
}

function common(
  it: Pick<CriContainer, 'id' | 'metadata' | 'image' | 'state' | 'created_at' | 'labels' | 'annotations'>,
  sandboxId: string,
): Container {
  const { [hidden.image]: image, [hidden.sandboxId]: _, ...annotations } = it.annotations;
  return {
    id: it.id,
    sandboxId,
    podUid: it.labels[label.podUid] ?? '',
    name: it.metadata.name,
    attempt: it.metadata.attempt,
    image: image ?? it.image?.image ?? '',
    state: states[it.state],
    createdAtMs: it.created_at ?? 0,
    labels: it.labels,
    annotations,
  };
}

export function imageOf(it: CriImage): Image {
  const user = { uid: it.uid?.value, name: it.username };
  const { id, repo_tags: tags, repo_digests: digests, size: sizeBytes, pinned } = it;
  return { id, tags, digests, sizeBytes, pinned, user };
}
