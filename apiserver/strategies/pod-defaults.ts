/** The defaults of a pod's spec, also where it stands in the template of a workload. Works on drafts. */

import {
  fieldOf,
  isJsonObject,
  type JsonObject,
  objectIn,
  objectsAt,
  setDefault,
  textAt,
} from '../kube-object.ts';

const fileMode = 0o644;

export function defaultPodSpec(spec: JsonObject): void {
  setDefault(spec, 'restartPolicy', 'Always');
  setDefault(spec, 'terminationGracePeriodSeconds', 30);
  setDefault(spec, 'dnsPolicy', 'ClusterFirst');
  setDefault(spec, 'schedulerName', 'default-scheduler');
  setDefault(spec, 'securityContext', {});
  const account = textAt(spec, 'serviceAccountName') ?? textAt(spec, 'serviceAccount');
  if (account !== undefined) {
    spec.serviceAccountName = account;
    spec.serviceAccount = account;
  }
  for (const list of ['initContainers', 'containers']) {
    for (const container of objectsAt(spec, list)) defaultContainer(container, spec.hostNetwork === true);
  }
  for (const volume of objectsAt(spec, 'volumes')) defaultVolume(volume);
}

function defaultContainer(container: JsonObject, hostNetwork: boolean): void {
  setDefault(container, 'terminationMessagePath', '/dev/termination-log');
  setDefault(container, 'terminationMessagePolicy', 'File');
  setDefault(container, 'imagePullPolicy', pullPolicy(textAt(container, 'image') ?? ''));
  const resources = objectIn(container, 'resources');
  const bounds = fieldOf(resources, 'limits');
  if (isJsonObject(bounds)) {
    const requests = objectIn(resources, 'requests');
    for (const [name, value] of Object.entries(bounds))
      if (value !== undefined) setDefault(requests, name, value);
  }
  for (const port of objectsAt(container, 'ports')) {
    setDefault(port, 'protocol', 'TCP');
    if (hostNetwork && typeof port.containerPort === 'number')
      setDefault(port, 'hostPort', port.containerPort);
  }
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = fieldOf(container, name);
    if (isJsonObject(probe)) defaultProbe(probe);
  }
  for (const variable of objectsAt(container, 'env')) {
    const reference = fieldOf(fieldOf(variable, 'valueFrom'), 'fieldRef');
    if (isJsonObject(reference)) setDefault(reference, 'apiVersion', 'v1');
  }
}

/** `Always` for images without a tag or tagged latest, as they may change under their name. */
function pullPolicy(image: string): string {
  if (image.includes('@')) return 'IfNotPresent';
  const last = image.split('/').at(-1) ?? '';
  const tag = last.includes(':') ? last.split(':').at(-1) : undefined;
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function defaultProbe(probe: JsonObject): void {
  setDefault(probe, 'timeoutSeconds', 1);
  setDefault(probe, 'periodSeconds', 10);
  setDefault(probe, 'successThreshold', 1);
  setDefault(probe, 'failureThreshold', 3);
  const http = fieldOf(probe, 'httpGet');
  if (isJsonObject(http)) {
    setDefault(http, 'scheme', 'HTTP');
    setDefault(http, 'path', '/');
  }
}

function defaultVolume(volume: JsonObject): void {
  if (Object.keys(volume).every((key) => key === 'name')) volume.emptyDir = {};
  for (const name of ['configMap', 'secret', 'downwardAPI', 'projected']) {
    const source = fieldOf(volume, name);
    if (!isJsonObject(source)) continue;
    setDefault(source, 'defaultMode', fileMode);
    for (const part of objectsAt(source, 'sources')) {
      const token = fieldOf(part, 'serviceAccountToken');
      if (isJsonObject(token)) setDefault(token, 'expirationSeconds', 3600);
      defaultDownward(part.downwardAPI);
    }
    if (name === 'downwardAPI') defaultDownward(source);
  }
  const hostPath = fieldOf(volume, 'hostPath');
  if (isJsonObject(hostPath)) setDefault(hostPath, 'type', '');
}

function defaultDownward(source: unknown): void {
  for (const item of objectsAt(source, 'items')) {
    const reference = fieldOf(item, 'fieldRef');
    if (isJsonObject(reference)) setDefault(reference, 'apiVersion', 'v1');
  }
}
