/**
 * What an object from the cloud means for the store and for the module that lives by it. Decides only;
 * metamanager.ts carries out.
 */

import { ProtocolError } from '#protocol/errors.ts';
import type { Envelope } from '#protocol/message.ts';
import { operation, source } from '#protocol/names.ts';
import { formatObjectPath, parseObjectPath } from '#protocol/resource-path.ts';
import { type KubeObject, kubeObjectSchema } from '#protocol/resources/object.ts';
import type { MetaRow } from '../store/meta-store.ts';

export interface Incoming {
  readonly key: string;
  readonly type: string;
  readonly deletes: boolean;
  readonly object: KubeObject;
}

export interface Plan {
  readonly rows: 'put' | 'delete' | 'keep';
  readonly forward: boolean;
  /** Why the message changes nothing, for the log. */
  readonly ignored?: string;
}

const objectOperations: readonly string[] = [operation.insert, operation.update, operation.delete];

/** Undefined for what is no object of the API. @throws ProtocolError `malformed-content`, `malformed-path`. */
export function openIncoming(envelope: Envelope): Incoming | undefined {
  const { operation: verb, resource } = envelope.route;
  if (!objectOperations.includes(verb)) return undefined;
  const path = parseObjectPath(resource);
  // The list form would be stored as if it were an object (wire 4.5).
  if (path.name === undefined) return undefined;
  const parsed = kubeObjectSchema.safeParse(envelope.content);
  if (!parsed.success) {
    throw malformed(
      resource,
      parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`),
    );
  }
  const { name, namespace } = parsed.data.metadata;
  if (name !== path.name || (namespace !== undefined && namespace !== '' && namespace !== path.namespace)) {
    throw malformed(resource, [`the object is ${namespace ?? 'null'}/${name}`]);
  }
  return {
    key: formatObjectPath(path),
    type: path.type,
    deletes: verb === operation.delete,
    object: parsed.data,
  };
}

export function planDownstream(incoming: Incoming, stored: MetaRow | undefined, stale: boolean): Plan {
  const { uid, resourceVersion } = incoming.object.metadata;
  if (incoming.deletes) {
    if (uid === undefined && incoming.type === 'pod') {
      return { rows: 'keep', forward: false, ignored: 'a pod is deleted by its uid only' };
    }
    if (uid !== undefined && stored?.uid !== undefined && stored.uid !== uid) {
      return { rows: 'keep', forward: false, ignored: 'it was for an earlier object of this name' };
    }
    return { rows: 'delete', forward: true };
  }
  if (stale) return { rows: 'keep', forward: false, ignored: 'a newer version is here' };
  const same = stored !== undefined && resourceVersion !== undefined && stored.uid === uid;
  return { rows: same && stored.resourceVersion === resourceVersion ? 'keep' : 'put', forward: true };
}

const twinTypes: readonly string[] = ['device', 'devicemodel'];
const edgedTypes: readonly string[] = ['pod', 'configmap', 'secret', 'node'];

/** The module that gets the object once it is stored, by type: a resend may come under another source. */
export function consumerOf(type: string): 'edged' | 'twin' | undefined {
  if (twinTypes.includes(type)) return source.twin;
  return edgedTypes.includes(type) ? source.edged : undefined;
}

export function rowOf(incoming: Pick<Incoming, 'key' | 'type' | 'object'>): MetaRow {
  const { uid, resourceVersion } = incoming.object.metadata;
  return { key: incoming.key, type: incoming.type, value: incoming.object, uid, resourceVersion };
}

function malformed(resource: string, issues: readonly string[]): ProtocolError {
  return new ProtocolError(`the content of ${resource} is not that object: ${issues.join('; ')}`, {
    code: 'malformed-content',
    kind: resource,
    issues,
  });
}
