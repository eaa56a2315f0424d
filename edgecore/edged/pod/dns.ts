/** The resolver of a pod: its policy, the cluster's DNS where there is one, and the machine's own. */

import { readFile } from 'node:fs/promises';
import type { DnsConfig } from '../runtime/runtime-service.ts';
import { type Pod, podNamespace } from './pod.ts';

export interface ClusterDns {
  readonly servers: readonly string[];
  readonly domain: string;
}

const serversMax = 3;
const searchesMax = 32;

/** Reads the machine's resolver each time: a network that changes changes it. */
export function createPodDns(options: {
  readonly clusterDNS: readonly string[];
  readonly clusterDomain: string;
  readonly resolvConf: string;
}): (pod: Pod) => Promise<DnsConfig | undefined> {
  const cluster = { servers: options.clusterDNS, domain: options.clusterDomain };
  return async (pod) => {
    const machine = parseResolvConf(await readFile(options.resolvConf, 'utf8').catch(() => ''));
    return podDns(pod, cluster, machine);
  };
}

/** Undefined: what the runtime gives by itself, the machine's. */
export function podDns(pod: Pod, cluster: ClusterDns, machine: DnsConfig): DnsConfig | undefined {
  const { dnsPolicy, dnsConfig, hostNetwork } = pod.spec;
  const policy = dnsPolicy ?? 'ClusterFirst';
  const wantsCluster = policy === 'ClusterFirstWithHostNet' || (policy === 'ClusterFirst' && !hostNetwork);
  const byCluster = wantsCluster && cluster.servers.length > 0;
  if (!dnsConfig && !byCluster && policy !== 'None') return undefined;
  const none = { servers: [], searches: [], options: [] };
  const base =
    policy === 'None' ? none : byCluster ? ofCluster(podNamespace(pod), cluster, machine) : machine;
  const options = (dnsConfig?.options ?? []).map(({ name, value }) => (value ? `${name}:${value}` : name));
  const named = new Set(options.map(optionName));
  return {
    servers: unique([...base.servers, ...(dnsConfig?.nameservers ?? [])]).slice(0, serversMax),
    searches: unique([...base.searches, ...(dnsConfig?.searches ?? [])]).slice(0, searchesMax),
    options: [...base.options.filter((it) => !named.has(optionName(it))), ...options],
  };
}

function ofCluster(namespace: string, { servers, domain }: ClusterDns, machine: DnsConfig): DnsConfig {
  const searches = domain === '' ? [] : [`${namespace}.svc.${domain}`, `svc.${domain}`, domain];
  return { servers, searches: [...searches, ...machine.searches], options: ['ndots:5'] };
}

/** The lines of a resolv.conf that mean something to a pod. */
export function parseResolvConf(text: string): DnsConfig {
  const servers: string[] = [];
  let searches: readonly string[] = [];
  let options: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [word, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (word === 'nameserver' && values[0]) servers.push(values[0]);
    else if (word === 'search' || word === 'domain') searches = values;
    else if (word === 'options') options = values;
  }
  return { servers, searches: searches.filter((it) => it !== '.'), options };
}

function optionName(option: string): string {
  return option.split(':')[0] ?? '';
}

function unique(items: readonly string[]): readonly string[] {
  return [...new Set(items)];
}
