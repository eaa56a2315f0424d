/**
 * Objects that the edge fetches when it first needs them (configMaps, secrets, volumes): from the store, and
 * when it has none, from the cloud once, however many ask. What the cloud gives is stored before it is handed
 * on and acknowledged after; an answer that is no such object is never stored.
 */

import { z } from 'zod';
import { acknowledge, type Envelope } from '#protocol/message.ts';
import { formatObjectPath, type ObjectPath } from '#protocol/resource-path.ts';
import { type KubeObject, kubeObjectSchema } from '#protocol/resources/object.ts';
import { statusSchema } from '#protocol/resources/object-resp.ts';
import type { MetaStore } from '../store/meta-store.ts';
import type { CloudCalls } from './cloud-calls.ts';
import type { SeenVersions } from './versions.ts';

export type Found = { readonly object: KubeObject } | { readonly failure: string };

export interface RemoteQueryComponents {
  readonly meta: MetaStore;
  readonly seen: SeenVersions;
  readonly cloud: CloudCalls;
  readonly toCloud: (envelope: Envelope) => void;
}

const failedAnswerSchema = z.looseObject({ ErrStatus: statusSchema });

export class RemoteQuery {
  readonly #components: RemoteQueryComponents;
  readonly #open = new Map<string, Promise<Found>>();

  constructor(components: RemoteQueryComponents) {
    this.#components = components;
  }

  async find(path: ObjectPath, request: Envelope): Promise<Found> {
    const key = formatObjectPath(path);
    const stored = this.#components.meta.read((rows) => rows.get(key));
    const object = kubeObjectSchema.safeParse(stored?.value);
    if (object.success) return { object: object.data };
    const open = this.#open.get(key);
    if (open !== undefined) return open;
    const asked = this.#fetch(key, path, request).finally(() => this.#open.delete(key));
    this.#open.set(key, asked);
    return asked;
  }

  async #fetch(key: string, path: ObjectPath, request: Envelope): Promise<Found> {
    const { meta, seen, cloud, toCloud } = this.#components;
    const said = await cloud.ask(request);
    const found = 'failure' in said ? said : objectOf(said.answer.content, path);
    if ('failure' in found) {
      return { failure: `${key} is not stored at this edge and the cloud did not give it: ${found.failure}` };
    }
    const { uid, resourceVersion } = found.object.metadata;
    const kept = await meta.write((rows) => {
      if (seen.isStale(key, uid, resourceVersion)) return rows.get(key)?.value;
      rows.put({ key, type: path.type, value: found.object, uid, resourceVersion });
      seen.note(key, uid, resourceVersion);
      return found.object;
    });
    if ('answer' in said) toCloud(acknowledge(said.answer));
    const newest = kubeObjectSchema.safeParse(kept);
    return { object: newest.success ? newest.data : found.object };
  }
}

/** Only the object that was asked for passes: KubeEdge answers failures with `{"ErrStatus"}` or `{}` (wire 4.3). */
function objectOf(content: unknown, path: ObjectPath): Found {
  const object = kubeObjectSchema.safeParse(content);
  if (object.success && object.data.metadata.name === path.name) return { object: object.data };
  const failed = failedAnswerSchema.safeParse(content);
  if (failed.success) return { failure: failed.data.ErrStatus.message ?? 'it refused without a reason' };
  return { failure: 'its answer was not that object' };
}
