/**
 * Follows owner references: what has lost all its owners goes; an owner deleted in the foreground waits for those
 * that block it; an owner deleted as an orphaner lets its dependents go first. Looks at everything after changes.
 */

import type { Api } from '../api.ts';
import type { KubeObject, OwnerReference } from '../kube-object.ts';
import type { Registry } from '../registry.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { foregroundFinalizer, orphanFinalizer } from '../service/deletion.ts';
import { isNotFound } from '../status-error.ts';
import type { LogStore } from '../store/log-store.ts';
import { attempt, type Controller, type ControllerComponents, pause } from './controller.ts';

/** Changes within this time are looked at together. */
const gatherMs = 100;

interface Item {
  readonly definition: ResourceDefinition;
  readonly object: KubeObject;
}

export type CollectionStep =
  | { readonly do: 'delete'; readonly item: Item }
  | { readonly do: 'disown'; readonly item: Item; readonly owner: string }
  | { readonly do: 'release'; readonly item: Item; readonly finalizer: string };

export interface GarbageCollectorComponents extends ControllerComponents {
  readonly store: LogStore;
  readonly registry: Registry;
}

export function createGarbageCollector(components: GarbageCollectorComponents): Controller {
  const { api, store, registry, clock, log } = components;
  return {
    name: 'garbage-collector',
    async run(signal) {
      let wake = () => {};
      const stop = store.onAnyChange(() => wake());
      signal.addEventListener('abort', () => wake(), { once: true });
      try {
        while (!signal.aborted) {
          const changed = new Promise<void>((resolve) => {
            wake = resolve;
          });
          for (const step of planCollection(everything(store, registry))) {
            await attempt(log, `collecting ${step.item.object.metadata.name}`, () => perform(api, step));
          }
          await changed;
          await pause(clock, gatherMs, signal);
        }
      } finally {
        stop();
      }
    },
  };
}

function everything(store: LogStore, registry: Registry): readonly Item[] {
  const definitions = new Map(registry.all().map((definition) => [definition.storage, definition]));
  return store.storages().flatMap((storage) => {
    const definition = definitions.get(storage);
    return definition === undefined
      ? []
      : store.entries(storage).map(({ object }) => ({ definition, object }));
  });
}

/** What is to be done now; what follows from it is found in the next round. */
export function planCollection(items: readonly Item[]): readonly CollectionStep[] {
  const byUid = new Map(items.map((item) => [item.object.metadata.uid ?? '', item]));
  const steps: CollectionStep[] = [];
  const blocked = new Set<string>();
  const owning = new Set<string>();
  for (const item of items) {
    const references = item.object.metadata.ownerReferences ?? [];
    if (references.length === 0) continue;
    const owners = references.map((reference) => ({ reference, owner: ownerOf(reference, item, byUid) }));
    const present = owners.filter(({ owner }) => owner !== undefined);
    const orphaner = present.find(({ owner }) => isGoing(owner, orphanFinalizer));
    if (orphaner !== undefined) {
      owning.add(orphaner.reference.uid);
      steps.push({ do: 'disown', item, owner: orphaner.reference.uid });
      continue;
    }
    for (const { reference } of present.filter((each) => isGoing(each.owner, foregroundFinalizer))) {
      if (reference.blockOwnerDeletion === true) blocked.add(reference.uid);
    }
    const staying = present.filter((each) => !isGoing(each.owner, foregroundFinalizer));
    const alreadyGoing = item.object.metadata.deletionTimestamp !== undefined;
    if (staying.length === 0 && !alreadyGoing) steps.push({ do: 'delete', item });
    else if (staying.length > 0) {
      const lost = owners.find(({ owner }) => owner === undefined);
      if (lost !== undefined) steps.push({ do: 'disown', item, owner: lost.reference.uid });
    }
  }
  for (const item of items) {
    const uid = item.object.metadata.uid ?? '';
    if (isGoing(item, foregroundFinalizer) && !blocked.has(uid)) {
      steps.push({ do: 'release', item, finalizer: foregroundFinalizer });
    }
    if (isGoing(item, orphanFinalizer) && !owning.has(uid)) {
      steps.push({ do: 'release', item, finalizer: orphanFinalizer });
    }
  }
  return steps;
}

/** An owner is of the same namespace, or of none. */
function ownerOf(reference: OwnerReference, of: Item, byUid: ReadonlyMap<string, Item>): Item | undefined {
  const owner = byUid.get(reference.uid);
  if (owner === undefined) return undefined;
  const { namespace, name } = owner.object.metadata;
  const near = namespace === undefined || namespace === of.object.metadata.namespace;
  return near && name === reference.name ? owner : undefined;
}

function isGoing(item: Item | undefined, finalizer: string): boolean {
  if (item === undefined) return false;
  const { deletionTimestamp, finalizers = [] } = item.object.metadata;
  return deletionTimestamp !== undefined && finalizers.includes(finalizer);
}

async function perform(api: Api, step: CollectionStep): Promise<void> {
  const { definition, object } = step.item;
  const { namespace, name, uid, resourceVersion = '' } = object.metadata;
  const at = { ...definition, namespace, name };
  try {
    switch (step.do) {
      case 'delete':
        return await api.delete(at, { propagationPolicy: 'Background', preconditions: { uid } });
      case 'disown': {
        const kept = (object.metadata.ownerReferences ?? []).filter((each) => each.uid !== step.owner);
        await api.patch(at, {
          metadata: { resourceVersion, ownerReferences: kept.length === 0 ? null : kept },
        });
        return;
      }
      case 'release': {
        const kept = (object.metadata.finalizers ?? []).filter((each) => each !== step.finalizer);
        await api.patch(at, { metadata: { resourceVersion, finalizers: kept.length === 0 ? null : kept } });
      }
    }
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
