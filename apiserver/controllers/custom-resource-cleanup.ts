/** Removes the objects of a CustomResourceDefinition that is being deleted, then lets it go. */

import { type Api, resource } from '../api.ts';
import { definitionsOf } from '../crd/custom-resources.ts';
import { cleanupFinalizer } from '../crd/definition-strategy.ts';
import type { KubeObject } from '../kube-object.ts';
import { attempt, type Controller, type ControllerComponents, every, follow } from './controller.ts';
import { remove } from './namespace-controller.ts';

/** Objects that finalizers hold are looked at again this often. */
const roundMs = 1_000;

export function createCustomResourceCleanup(components: ControllerComponents): Controller {
  const { api, log } = components;
  const going = ({ metadata }: KubeObject) =>
    metadata.deletionTimestamp !== undefined && (metadata.finalizers ?? []).includes(cleanupFinalizer);
  return {
    name: 'custom-resource-cleanup',
    async run(signal) {
      const events = follow(
        components,
        resource.customResourceDefinitions,
        { signal },
        async ({ type, object }) => {
          if (type !== 'DELETED' && going(object)) await cleanUp(api, object);
        },
      );
      const rounds = every(components, roundMs, signal, async () => {
        for (const object of api.list(resource.customResourceDefinitions).items.filter(going)) {
          await attempt(log, `definition ${object.metadata.name}`, () => cleanUp(api, object));
        }
      });
      await Promise.all([events, rounds]);
    },
  };
}

async function cleanUp(api: Api, customResourceDefinition: KubeObject): Promise<void> {
  const [definition] = definitionsOf(customResourceDefinition);
  if (definition !== undefined) {
    const objects = api.list(definition).items;
    const present = objects.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    await Promise.all(present.map((object) => remove(api, definition, object)));
    if (api.list(definition).items.length > 0) return;
  }
  const { name, finalizers = [], uid } = customResourceDefinition.metadata;
  const left = finalizers.filter((each) => each !== cleanupFinalizer);
  const at = { ...resource.customResourceDefinitions, namespace: undefined, name };
  if (api.get(at)?.metadata.uid !== uid) return;
  await api.patch(at, { metadata: { finalizers: left } });
}
