/** Who a container runs as: what its spec says, what its image says, and what the pod forbids. Pure. */

import { type Pod, type PodContainer, podLabel } from '../pod/pod.ts';
import { ContainerConfigError } from './env.ts';

/** The user that an image names: by number, by name, or by neither, which is root. */
export interface ImageUser {
  readonly uid?: number | undefined;
  readonly name?: string | undefined;
}

export interface ContainerUser {
  readonly runAsUser: number | undefined;
  readonly runAsGroup: number | undefined;
}

/** Whether the answer depends on the image. */
export function asksImage(pod: Pod, container: PodContainer): boolean {
  const { runAsUser, runAsGroup, runAsNonRoot } = merged(pod, container);
  return runAsUser === undefined && (runAsNonRoot || runAsGroup !== undefined);
}

/** @throws ContainerConfigError in the kubelet's words, when it would be root and must not. */
export function containerUser(pod: Pod, container: PodContainer, image: ImageUser): ContainerUser {
  const { runAsUser, runAsGroup, runAsNonRoot } = merged(pod, container);
  const where = `(pod: "${podLabel(pod)}", container: ${container.name})`;
  if (runAsNonRoot) {
    if (runAsUser === 0)
      throw new ContainerConfigError(`container's runAsUser breaks non-root policy ${where}`);
    if (runAsUser === undefined && image.name)
      throw new ContainerConfigError(
        `container has runAsNonRoot and image has non-numeric user (${image.name}), cannot verify user is non-root ${where}`,
      );
    if (runAsUser === undefined && (image.uid ?? 0) === 0)
      throw new ContainerConfigError(`container has runAsNonRoot and image will run as root ${where}`);
  }
  if (runAsUser !== undefined || runAsGroup === undefined || image.name) return { runAsUser, runAsGroup };
  // Runtimes take a group with a user only.
  return { runAsUser: image.uid ?? 0, runAsGroup };
}

function merged({ spec }: Pod, { securityContext: own }: PodContainer) {
  const common = spec.securityContext;
  return {
    runAsUser: own?.runAsUser ?? common?.runAsUser ?? undefined,
    runAsGroup: own?.runAsGroup ?? common?.runAsGroup ?? undefined,
    runAsNonRoot: own?.runAsNonRoot ?? common?.runAsNonRoot ?? false,
  };
}
