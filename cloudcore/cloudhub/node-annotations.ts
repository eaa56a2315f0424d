/** What CloudHub writes on a Node: which cloudcore has its session (wire 3.4), and which machine it is. */

import type { Backoff } from '#beehive/backoff.ts';
import type { Clock } from '#beehive/clock.ts';
import { CancelledError } from '#protocol/errors.ts';
import { isNotFound, type KubeApi, KubeError, type ObjectRef } from '../kube/kube-api.ts';
import type { ObjectReader } from '../kube/object-reader.ts';

export const cloudcoreAnnotation = 'cloudcore';
/** Hash of machine id and data directory: by it the same machine may join again under its name. */
export const machineAnnotation = 'hawser.dev/machine';

const triesMax = 9;

export function nodeRef(name: string): ObjectRef {
  return { apiVersion: 'v1', plural: 'nodes', name };
}

/** A machine's own name for itself, as it stands in the header `Hawser-Machine`. */
export function isMachine(text: string): boolean {
  return /^[\w-]{1,128}$/.test(text);
}

/** Which machine the node is, if there is such a node and its machine named itself. @throws KubeError */
export async function machineOf(
  api: KubeApi,
  node: string,
): Promise<{ exists: boolean; machine: string | undefined }> {
  try {
    const { metadata } = await api.get(nodeRef(node));
    return { exists: true, machine: metadata.annotations?.[machineAnnotation] };
  } catch (error) {
    if (isNotFound(error)) return { exists: false, machine: undefined };
    throw error;
  }
}

/**
 * Tries a few times, since a new edge registers its Node only after it has connected; until the Node is seen, the API is
 * not asked. False: not written. The next connect tries again.
 */
export async function annotateNode(
  node: string,
  annotations: Readonly<Record<string, string>>,
  components: {
    readonly api: KubeApi;
    readonly reader: ObjectReader;
    readonly clock: Clock;
    readonly backoff: Backoff;
  },
  signal: AbortSignal,
): Promise<boolean> {
  const { api, reader, clock, backoff } = components;
  for (let tries = 0; tries < triesMax; tries += 1) {
    try {
      if ((await reader.read({ namespace: undefined, type: 'node', name: node })) !== undefined) {
        await api.patch(nodeRef(node), 'merge', { metadata: { annotations } }, { signal });
        return true;
      }
    } catch (error) {
      if (error instanceof CancelledError) return false;
      if (!(error instanceof KubeError)) throw error;
    }
    try {
      await clock.sleep(backoff.nextMs(), signal);
    } catch (error) {
      if (error instanceof CancelledError) return false;
      throw error;
    }
  }
  return false;
}
