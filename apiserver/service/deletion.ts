/** Decides what a delete request does to an object: gone at once, gone later, or nothing new. Pure. */

import { fieldOf, type KubeObject, listAt, textAt, valueAt } from '../kube-object.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { conflict } from '../status-error.ts';
import { markDeleted } from './draft.ts';
import { timeText } from './write-context.ts';

export interface DeleteRequest {
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan' | undefined;
  readonly preconditions?:
    | { readonly uid?: string | undefined; readonly resourceVersion?: string | undefined }
    | undefined;
}

export type DeletionPlan =
  | { readonly action: 'remove' }
  | { readonly action: 'put'; readonly object: KubeObject }
  | { readonly action: 'keep'; readonly object: KubeObject };

export const foregroundFinalizer = 'foregroundDeletion';
export const orphanFinalizer = 'orphan';

export function planDeletion(
  definition: ResourceDefinition,
  current: KubeObject,
  request: DeleteRequest,
  nowMs: number,
): DeletionPlan {
  checkPreconditions(definition, current, request);
  const finalizers = finalizersAfter(current, request);
  const grace = definition.storage === '/pods' ? podGrace(current, request) : 0;
  const held = finalizers.length > 0 || isHeldNamespace(definition, current);
  if (grace === 0 && !held) return { action: 'remove' };

  const { deletionTimestamp, deletionGracePeriodSeconds } = current.metadata;
  const sooner = deletionTimestamp === undefined || grace < (deletionGracePeriodSeconds ?? 0);
  const sameFinalizers = finalizers.join() === (current.metadata.finalizers ?? []).join();
  if (!sooner && sameFinalizers) return { action: 'keep', object: current };
  const marked = sooner ? markDeleted(current, timeText(nowMs + grace * 1000), grace) : current;
  const { finalizers: _, ...metadata } = marked.metadata;
  return {
    action: 'put',
    object: { ...marked, metadata: finalizers.length === 0 ? metadata : { ...metadata, finalizers } },
  };
}

function checkPreconditions(
  definition: ResourceDefinition,
  current: KubeObject,
  { preconditions }: DeleteRequest,
): void {
  const { name, uid, resourceVersion } = current.metadata;
  if (preconditions?.uid !== undefined && preconditions.uid !== uid) {
    const why = `Precondition failed: UID in precondition: ${preconditions.uid}, UID in object meta: ${uid ?? ''}`;
    throw conflict(definition, name, why);
  }
  if (preconditions?.resourceVersion !== undefined && preconditions.resourceVersion !== resourceVersion) {
    const why = `Precondition failed: ResourceVersion in precondition: ${preconditions.resourceVersion}, ResourceVersion in object meta: ${resourceVersion ?? ''}`;
    throw conflict(definition, name, why);
  }
}

/** Seconds the pod keeps for stopping; what runs nowhere or has ended needs none. */
function podGrace(pod: KubeObject, request: DeleteRequest): number {
  const phase = textAt(pod, 'status', 'phase');
  const ended = phase === 'Succeeded' || phase === 'Failed';
  if (!textAt(pod, 'spec', 'nodeName') || ended) return 0;
  const own = valueAt(pod, 'spec', 'terminationGracePeriodSeconds');
  const asked = request.gracePeriodSeconds ?? (typeof own === 'number' ? own : 30);
  return asked < 0 ? 1 : Math.floor(asked);
}

function isHeldNamespace(definition: ResourceDefinition, current: KubeObject): boolean {
  return definition.storage === '/namespaces' && listAt(fieldOf(current, 'spec'), 'finalizers').length > 0;
}

function finalizersAfter(current: KubeObject, { propagationPolicy }: DeleteRequest): string[] {
  const present = current.metadata.finalizers ?? [];
  if (propagationPolicy === undefined) return present;
  const others = present.filter((each) => each !== foregroundFinalizer && each !== orphanFinalizer);
  if (propagationPolicy === 'Foreground') return [...others, foregroundFinalizer];
  return propagationPolicy === 'Orphan' ? [...others, orphanFinalizer] : others;
}
