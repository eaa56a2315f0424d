/** Which configMaps and secrets a pod uses, as `<namespace>/<type>/<name>`. */

import { type Pod, podNamespace } from './pod.ts';

export function references(pod: Pod): ReadonlySet<string> {
  const namespace = podNamespace(pod);
  const found = new Set<string>();
  const add = (type: 'configmap' | 'secret', name: string | undefined) => {
    if (name) found.add(`${namespace}/${type}/${name}`);
  };
  for (const { configMap, secret, projected } of pod.spec.volumes) {
    add('configmap', configMap?.name);
    add('secret', secret?.secretName);
    for (const part of projected?.sources ?? []) {
      add('configmap', part.configMap?.name);
      add('secret', part.secret?.name);
    }
  }
  for (const { env, envFrom } of [...pod.spec.initContainers, ...pod.spec.containers]) {
    for (const from of envFrom) {
      add('configmap', from.configMapRef?.name);
      add('secret', from.secretRef?.name);
    }
    for (const { valueFrom } of env) {
      add('configmap', valueFrom?.configMapKeyRef?.name);
      add('secret', valueFrom?.secretKeyRef?.name);
    }
  }
  return found;
}
