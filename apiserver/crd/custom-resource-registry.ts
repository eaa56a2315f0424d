/** Keeps the registry in step with the stored CustomResourceDefinitions, from before their writes are answered. */

import { builtInResources } from '../builtin-resources.ts';
import type { KubeObject } from '../kube-object.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import type { Registry } from '../registry.ts';
import type { LogStore } from '../store/log-store.ts';
import { definitionsOf } from './custom-resources.ts';

export const definitionStorage = 'apiextensions.k8s.io/customresourcedefinitions';

/** Returns how to stop. */
export function followDefinitions(store: LogStore, registry: Registry): () => void {
  const served = new Map<string, KubeObject>();
  const builtIn = new Set(builtInResources.map(({ storage }) => storage));
  const refresh = () => {
    const present = new Map(store.entries(definitionStorage).map(({ name, object }) => [name, object]));
    for (const name of served.keys()) {
      if (present.has(name)) continue;
      served.delete(name);
      registry.removeCustom(name);
    }
    for (const [name, object] of present) {
      const known = served.get(name);
      served.set(name, object);
      if (known !== undefined && jsonEqual(known.spec, object.spec)) continue;
      registry.setCustom(
        name,
        definitionsOf(object).filter(({ storage }) => !builtIn.has(storage)),
      );
    }
  };
  refresh();
  return store.onChange(definitionStorage, refresh);
}
