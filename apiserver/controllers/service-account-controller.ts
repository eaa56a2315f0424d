/** Gives each namespace its default service account and the certificate of the CA that the API server shows. */

import { type Api, type ResourceRef, resource } from '../api.ts';
import type { KubeObject } from '../kube-object.ts';
import { isAlreadyExists } from '../status-error.ts';
import { type Controller, type ControllerComponents, follow } from './controller.ts';

const accountName = 'default';
const rootCaName = 'kube-root-ca.crt';

export function createServiceAccountController(
  caCertificate: string,
  components: ControllerComponents,
): Controller {
  const { api } = components;
  const furnish = async (namespace: string) => {
    const found = api.get({ ...resource.namespaces, namespace: undefined, name: namespace });
    if (found === undefined || found.metadata.deletionTimestamp !== undefined) return;
    await ensure(api, resource.serviceAccounts, {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: accountName, namespace },
    });
    await ensure(api, resource.configMaps, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: rootCaName, namespace },
      data: { 'ca.crt': caCertificate },
    });
  };
  const restore = (of: ResourceRef, name: string, signal: AbortSignal) =>
    follow(components, of, { signal, fieldSelector: `metadata.name=${name}` }, async ({ type, object }) => {
      if (type === 'DELETED') await furnish(object.metadata.namespace ?? '');
    });
  return {
    name: 'service-account',
    async run(signal) {
      await Promise.all([
        follow(components, resource.namespaces, { signal }, ({ object }) => furnish(object.metadata.name)),
        restore(resource.serviceAccounts, accountName, signal),
        restore(resource.configMaps, rootCaName, signal),
      ]);
    },
  };
}

async function ensure(api: Api, of: ResourceRef, object: KubeObject): Promise<void> {
  const { namespace, name } = object.metadata;
  if (api.get({ ...of, namespace, name }) !== undefined) return;
  try {
    await api.create(of, object);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}
