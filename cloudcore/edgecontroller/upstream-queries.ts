/** Rows of upstream.ts for what a node reads: the objects its pods name, and service account tokens. */

import { failureStatus, KubeError, type ResourceRef } from '#cloudcore/kube/kube-api.ts';
import { resourceOf } from '#cloudcore/kube/objects.ts';
import { source } from '#protocol/names.ts';
import { formatObjectPath } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { tokenRequestSchema } from '#protocol/resources/token-request.ts';
import { authorizeAttachment, authorizeVolume, type Verdict } from './authorize.ts';
import { readContent } from './patch-text.ts';
import { forbidden, type Request, type Row, type UpstreamComponents } from './request.ts';

const volumeAttachments: ResourceRef = { apiVersion: 'storage.k8s.io/v1', plural: 'volumeattachments' };

export const queryRows: Readonly<Record<string, Row>> = {
  'configmap/query': answered(resourceOf.configmap, 'ConfigMap'),
  'secret/query': answered(resourceOf.secret, 'Secret'),
  'persistentvolumeclaim/query': answered(resourceOf.persistentvolumeclaim, 'PersistentVolumeClaim'),
  'persistentvolume/query': answered(resourceOf.persistentvolume, 'PersistentVolume', authorizeVolume),
  'volumeattachment/query': {
    form: 'bare',
    async run(request, components) {
      // It has no namespace, whatever the wire puts there.
      const clusterWide = { ...request, path: { ...request.path, namespace: undefined } };
      return await read(clusterWide, components, {
        ref: volumeAttachments,
        kind: 'VolumeAttachment',
        mayRead: authorizeAttachment,
      });
    },
  },
  'serviceaccounttoken/query': {
    form: 'bare',
    async run({ path, content }, { api }) {
      const request = readContent(tokenRequestSchema, content, 'TokenRequest');
      return await api.createToken(
        { namespace: path.namespace ?? '', name: path.name },
        { ...request, apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' },
      );
    },
  },
  'ca.crt/query': {
    form: 'bare',
    source: source.cloudHub,
    async run(_request, { kubernetesCa }) {
      if (kubernetesCa !== undefined) return kubernetesCa;
      const reason = 'cloudcore knows no CA of the Kubernetes API: its kubeconfig names none';
      throw new KubeError('notFound', failureStatus(404, 'NotFound', reason));
    },
  },
};

type MayRead = (node: string, object: KubeObject, cache: UpstreamComponents['cache']) => Verdict;

/** An object whose changes are sent to the node from now on. */
function answered(ref: ResourceRef, kind: string, mayRead?: MayRead): Row {
  return {
    form: 'bare',
    async run(request, components) {
      const object = await read(request, components, { ref, kind, mayRead });
      const { uid, resourceVersion: version } = object.metadata;
      if (uid !== undefined && version !== undefined) {
        const path = formatObjectPath(request.path);
        await components.downstream.answers(request.node, path, { uid, version });
      }
      return object;
    },
  };
}

async function read(
  { node, path }: Request,
  { api, cache }: UpstreamComponents,
  { ref, kind, mayRead }: { ref: ResourceRef; kind: string; mayRead?: MayRead | undefined },
): Promise<KubeObject> {
  const object = await api.get({ ...ref, namespace: path.namespace, name: path.name });
  const verdict = mayRead?.(node, object, cache);
  if (verdict?.allowed === false) throw forbidden(verdict.reason);
  return { ...object, apiVersion: ref.apiVersion, kind };
}
