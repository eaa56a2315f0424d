/**
 * Where CloudHub gets the body of an object at the moment it sends it: its queues hold paths and versions only.
 * objects.ts implements it from the shared cache, and fetches configMaps and secrets from the API.
 */

import type { ObjectPath } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';

export interface ObjectReader {
  /**
   * The object now, with apiVersion and kind; undefined when it is gone, or when its type is none that is read
   * here. @throws KubeError when the API cannot be asked (try again later).
   */
  read(path: ObjectPath): Promise<KubeObject | undefined>;
}
