/** Rows of upstream.ts for what a node reads: the objects its pods name, and service account tokens. */

import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { formatObjectPath } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import { tokenRequestSchema } from '#protocol/resources/token-request.ts';
import { authorizeVolume } from './authorize.ts';
import { readContent } from './patch-text.ts';
import { forbidden, type Request, type Row } from './request.ts';

export const queryRows: Readonly<Record<string, Row>> = {
  'configmap/query': remembered('configmaps', 'ConfigMap'),
  'secret/query': remembered('secrets', 'Secret'),
  'persistentvolumeclaim/query': {
    form: 'bare',
    run: (request, { api }) => read(api, request, 'persistentvolumeclaims', 'PersistentVolumeClaim'),
  },
  'persistentvolume/query': {
    form: 'bare',
    async run(request, { api, cache }) {
      const volume = await read(api, request, 'persistentvolumes', 'PersistentVolume');
      const verdict = authorizeVolume(request.node, volume, cache);
      if (!verdict.allowed) throw forbidden(verdict.reason);
      return volume;
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
};

/** An object whose changes are pushed to the node from now on. */
function remembered(plural: string, kind: string): Row {
  return {
    form: 'bare',
    async run(request, { api, downstream }) {
      const object = await read(api, request, plural, kind);
      const { uid, resourceVersion } = object.metadata;
      if (uid !== undefined && resourceVersion !== undefined) {
        downstream.answered(request.node, formatObjectPath(request.path), { uid, version: resourceVersion });
      }
      return object;
    },
  };
}

async function read(api: KubeApi, { path }: Request, plural: string, kind: string): Promise<KubeObject> {
  const object = await api.get({ apiVersion: 'v1', plural, namespace: path.namespace, name: path.name });
  return { ...object, apiVersion: 'v1', kind };
}
