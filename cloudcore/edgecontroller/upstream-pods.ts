/** Rows of upstream.ts for the pods that are bound to a node. */

import { z } from 'zod';
import {
  failureStatus,
  isConflict,
  isNotFound,
  KubeError,
  type ObjectRef,
} from '#cloudcore/kube/kube-api.ts';
import { source } from '#protocol/names.ts';
import { formatObjectPath, type ObjectPath } from '#protocol/resource-path.ts';
import { deleteOptionsSchema } from '#protocol/resources/delete-options.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { authorize } from './authorize.ts';
import { readContent, readPatch } from './patch-text.ts';
import { forbidden, type Request, type Row, type UpstreamComponents } from './request.ts';

const pods = { apiVersion: 'v1', plural: 'pods' };

const legacyStatus = z.looseObject({ UID: z.string(), Name: z.string(), Status: z.looseObject({}) });
const legacyStatuses = z.union([z.array(legacyStatus), legacyStatus]);

export const podRows: Readonly<Record<string, Row>> = {
  'podpatch/patch': {
    form: 'objectResp',
    reports: 'pod',
    async run(request, components) {
      const { api, cache } = components;
      const patch = readPatch(request.content);
      const pod = cache.get('pod', request.path.namespace, request.path.name);
      const { uid } = patch.metadata ?? {};
      // The API says 422 to this, and an edge takes only 409 as news about another pod of the name.
      if (pod !== undefined && uid !== undefined && pod.metadata.uid !== uid) throw anotherPod(request, uid);
      try {
        return await api.patch(podRef(request.path), 'strategic', patch, { subresource: 'status' });
      } catch (error) {
        if (isNotFound(error) && uid !== undefined) await removeUnnoted(request, uid, components);
        throw error;
      }
    },
  },
  'pod/delete': {
    form: 'ok',
    async run({ path, content }, { api }) {
      try {
        await api.delete(podRef(path), deleteOptionsOf(content));
      } catch (error) {
        // Gone already, or another pod has the name: what the edge asked for has happened.
        if (!isNotFound(error) && !isConflict(error)) throw error;
      }
      return undefined;
    },
  },
  'pod/insert': {
    form: 'objectResp',
    async run({ path, content }, { api }) {
      const pod = readContent(podSchema, content, 'Pod');
      const metadata = { ...pod.metadata, name: path.name, namespace: path.namespace };
      const { name: _, ...collection } = podRef(path);
      return await api.create(collection, { ...pod, apiVersion: 'v1', kind: 'Pod', metadata });
    },
  },
  'podstatus/update': {
    form: 'ok',
    async run(request, components) {
      const read = readContent(legacyStatuses, request.content, 'pod status');
      for (const one of Array.isArray(read) ? read : [read])
        await writeLegacyStatus(request, one, components);
      return undefined;
    },
  },
};

/**
 * A KubeEdge edge has a pod that the API has not: it was deleted while no cloudcore ran, and nobody had noted that the
 * edge has it. An edge of ours says what it holds.
 */
async function removeUnnoted(
  { node, path }: Request,
  uid: string,
  { sender, downstream }: UpstreamComponents,
): Promise<void> {
  if (downstream.isOurs(node)) return;
  const step = { do: 'remove', path: formatObjectPath({ ...path, type: 'pod' }), uid } as const;
  await sender.sendStep({ source: source.edgeController, node, upsert: 'update' }, step);
}

/** Old edges report whole statuses; a pod that is gone is answered by its removal (wire 4.5). */
async function writeLegacyStatus(
  { node, path: { namespace } }: Request,
  { Name: name, UID: uid, Status: status }: z.infer<typeof legacyStatus>,
  { api, cache, sender }: UpstreamComponents,
): Promise<void> {
  const path = { namespace, type: 'pod', name };
  const verdict = authorize(node, 'podstatus/update', path, undefined, cache);
  if (!verdict.allowed) throw forbidden(verdict.reason);
  try {
    await api.patch(podRef(path), 'strategic', { metadata: { uid }, status }, { subresource: 'status' });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const step = { do: 'remove', path: formatObjectPath(path), uid } as const;
    await sender.sendStep({ source: source.edgeController, node, upsert: 'update' }, step);
  }
}

function podRef({ namespace, name = '' }: ObjectPath): ObjectRef {
  return { ...pods, namespace, name };
}

function deleteOptionsOf(content: unknown) {
  // Edges before v1.17 send the bare uid.
  if (typeof content === 'string') return content === '' ? {} : { preconditions: { uid: content } };
  const options = readContent(deleteOptionsSchema, content, 'DeleteOptions');
  const { gracePeriodSeconds, preconditions } = options;
  return {
    ...(typeof gracePeriodSeconds === 'number' ? { gracePeriodSeconds } : {}),
    ...(preconditions?.uid ? { preconditions: { uid: preconditions.uid } } : {}),
  };
}

function anotherPod({ path }: Request, uid: string): KubeError {
  const text = `pods "${path.name}" has another uid than ${uid}: the pod was replaced`;
  return new KubeError('conflict', failureStatus(409, 'Conflict', text, { name: path.name, kind: 'pods' }));
}
