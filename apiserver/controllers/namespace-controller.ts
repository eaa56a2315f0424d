/** Empties namespaces that are being deleted, then lets them go. */

import { type Api, resource } from '../api.ts';
import { cloneJson, type KubeObject, listAt, objectIn } from '../kube-object.ts';
import type { Registry } from '../registry.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { isNotFound } from '../status-error.ts';
import { attempt, type Controller, type ControllerComponents, every, follow } from './controller.ts';

/** What stops gracefully or is held by finalizers is looked at again this often. */
const roundMs = 1_000;

export function createNamespaceController(registry: Registry, components: ControllerComponents): Controller {
  const { api, log } = components;
  const going = (object: KubeObject) =>
    object.metadata.deletionTimestamp !== undefined && listAt(object, 'spec', 'finalizers').length > 0;
  return {
    name: 'namespace',
    async run(signal) {
      const events = follow(components, resource.namespaces, { signal }, async ({ type, object }) => {
        if (type !== 'DELETED' && going(object)) await empty(api, registry, object);
      });
      const rounds = every(components, roundMs, signal, async () => {
        for (const object of api.list(resource.namespaces).items.filter(going)) {
          await attempt(log, `namespace ${object.metadata.name}`, () => empty(api, registry, object));
        }
      });
      await Promise.all([events, rounds]);
    },
  };
}

async function empty(api: Api, registry: Registry, namespace: KubeObject): Promise<void> {
  const { name } = namespace.metadata;
  const contents = [...oncePerStorage(registry.all())].flatMap((definition) =>
    api.list(definition, { namespace: name }).items.map((object) => ({ definition, object })),
  );
  await Promise.all(
    contents
      .filter(({ object }) => object.metadata.deletionTimestamp === undefined)
      .map(({ definition, object }) => remove(api, definition, object)),
  );
  const left = [...oncePerStorage(registry.all())].some(
    (definition) => api.list(definition, { namespace: name }).items.length > 0,
  );
  const current = api.get({ ...resource.namespaces, namespace: undefined, name });
  if (left || current?.metadata.uid !== namespace.metadata.uid) return;
  const emptied = cloneJson(current);
  if (emptied === undefined) return;
  objectIn(emptied, 'spec').finalizers = [];
  await api.update(resource.namespaces, emptied, 'finalize');
}

export async function remove(
  api: Api,
  definition: ResourceDefinition,
  { metadata }: KubeObject,
): Promise<void> {
  const { namespace, name, uid } = metadata;
  try {
    await api.delete(
      { ...definition, namespace, name },
      { propagationPolicy: 'Background', preconditions: { uid } },
    );
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function* oncePerStorage(definitions: readonly ResourceDefinition[]): Generator<ResourceDefinition> {
  const seen = new Set<string>();
  for (const definition of definitions) {
    if (!definition.namespaced || definition.storage === '' || seen.has(definition.storage)) continue;
    seen.add(definition.storage);
    yield definition;
  }
}
