/** What a pod is called on its network: its hostname, and with a subdomain its full name in the cluster. Pure. */

import { RuntimeError } from '../runtime/runtime-service.ts';
import { type Pod, podNamespace } from './pod.ts';

/** What the kernel takes, and what one label of a name may have. */
const hostnameMax = 64;
const labelMax = 63;

export function shortHostname(pod: Pod): string {
  return (pod.spec.hostname || pod.metadata.name).slice(0, labelMax).replace(/(?<![.-])[.-]+$/, '');
}

/** Undefined for a pod without subdomain: it has no name that others could find it by. */
export function fullHostname(pod: Pod, clusterDomain: string): string | undefined {
  const { subdomain } = pod.spec;
  if (!subdomain) return undefined;
  const domain = clusterDomain === '' ? [] : [clusterDomain];
  return [shortHostname(pod), subdomain, podNamespace(pod), 'svc', ...domain].join('.');
}

/** What the pod's kernel calls it. @throws RuntimeError when that does not fit. */
export function podHostname(pod: Pod, clusterDomain: string): string {
  const full = pod.spec.setHostnameAsFQDN ? fullHostname(pod, clusterDomain) : undefined;
  if (full === undefined) return shortHostname(pod);
  if (full.length <= hostnameMax) return full;
  throw new RuntimeError(
    `Failed to construct FQDN from pod hostname and cluster domain, FQDN ${full} is too long (${hostnameMax} characters is the max, ${full.length} characters requested)`,
    { code: 'cannot-run-sandbox', name: pod.metadata.name },
  );
}
