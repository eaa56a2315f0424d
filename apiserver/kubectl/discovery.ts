/** The documents by which clients learn what is served: legacy per group version, and aggregated in one. */

import type { JsonObject } from '../kube-object.ts';
import type { Registry, ServedGroup } from '../registry.ts';
import type { ResourceDefinition, Subresource } from '../resource-definition.ts';
import { acceptedForms, isJson } from './accept.ts';

export interface DiscoveryDocument {
  readonly contentType: string;
  readonly body: JsonObject;
}

/** Undefined when the path is no discovery path, or names a group or version that is not served. */
export function discoveryDocument(
  registry: Registry,
  path: string,
  accept: string | undefined,
): DiscoveryDocument | undefined {
  if (path === '/api' || path === '/apis') {
    return aggregated(registry, path, accept) ?? plain(path === '/api' ? apiVersions() : groupList(registry));
  }
  const [root, first, second, ...rest] = path.split('/').slice(1);
  if (rest.length > 0 || first === undefined || first === '') return undefined;
  if (root === 'api' && second === undefined) return resourceList(registry, '', first);
  if (root !== 'apis') return undefined;
  if (second !== undefined) return resourceList(registry, first, second);
  const group = registry.groups().find((served) => served.group === first);
  return group === undefined
    ? undefined
    : plain({ kind: 'APIGroup', apiVersion: 'v1', ...groupEntry(group) });
}

function plain(body: JsonObject): DiscoveryDocument {
  return { contentType: 'application/json', body };
}

function apiVersions(): JsonObject {
  return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
}

function groupList(registry: Registry): JsonObject {
  const groups = registry.groups().filter(({ group }) => group !== '');
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(groupEntry) };
}

function groupEntry({ group, versions }: ServedGroup): JsonObject {
  const entries = versions.map((version) => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions: entries, preferredVersion: entries[0] };
}

function resourceList(registry: Registry, group: string, version: string): DiscoveryDocument | undefined {
  const definitions = registry.inVersion(group, version);
  if (definitions.length === 0) return undefined;
  return plain({
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: group === '' ? version : `${group}/${version}`,
    resources: definitions.flatMap((definition) => [
      resourceEntry(definition),
      ...definition.subresources.map((subresource) => subresourceEntry(definition, subresource)),
    ]),
  });
}

function resourceEntry(definition: ResourceDefinition): JsonObject {
  const { plural, singular, namespaced, kind, verbs, shortNames, categories } = definition;
  return {
    name: plural,
    singularName: singular,
    namespaced,
    kind,
    verbs: [...verbs],
    ...(shortNames.length === 0 ? {} : { shortNames: [...shortNames] }),
    ...(categories.length === 0 ? {} : { categories: [...categories] }),
  };
}

function subresourceEntry(definition: ResourceDefinition, subresource: Subresource): JsonObject {
  const { group, version } = subresource;
  return {
    name: `${definition.plural}/${subresource.name}`,
    singularName: '',
    namespaced: definition.namespaced,
    ...(group === undefined ? {} : { group }),
    ...(version === undefined ? {} : { version }),
    kind: subresource.kind,
    verbs: [...subresource.verbs],
  };
}

function aggregated(
  registry: Registry,
  path: '/api' | '/apis',
  accept: string | undefined,
): DiscoveryDocument | undefined {
  let version: string | undefined;
  for (const form of acceptedForms(accept)) {
    if (!isJson(form.mediaType)) continue;
    if (form.as === undefined) return undefined;
    const served = form.version === 'v2' || form.version === 'v2beta1';
    if (form.as !== 'APIGroupDiscoveryList' || form.group !== 'apidiscovery.k8s.io' || !served) continue;
    version = form.version;
    break;
  }
  if (version === undefined) return undefined;
  const groups = registry.groups().filter(({ group }) => (group === '') === (path === '/api'));
  return {
    // Clients tell the aggregated form from the plain one by these parameters.
    contentType: `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
    body: {
      kind: 'APIGroupDiscoveryList',
      apiVersion: `apidiscovery.k8s.io/${version}`,
      metadata: {},
      items: groups.map((group) => aggregatedGroup(registry, group)),
    },
  };
}

function aggregatedGroup(registry: Registry, { group, versions }: ServedGroup): JsonObject {
  return {
    metadata: group === '' ? {} : { name: group },
    versions: versions.map((version) => ({
      version,
      resources: registry.inVersion(group, version).map(aggregatedResource),
      freshness: 'Current',
    })),
  };
}

function aggregatedResource(definition: ResourceDefinition): JsonObject {
  const { group, version, kind, plural, singular, namespaced, verbs, shortNames, categories } = definition;
  return {
    resource: plural,
    responseKind: { group, version, kind },
    scope: namespaced ? 'Namespaced' : 'Cluster',
    singularResource: singular,
    verbs: [...verbs],
    ...(shortNames.length === 0 ? {} : { shortNames: [...shortNames] }),
    ...(categories.length === 0 ? {} : { categories: [...categories] }),
    subresources: definition.subresources.map((subresource) => ({
      subresource: subresource.name,
      responseKind: {
        group: subresource.group ?? group,
        version: subresource.version ?? version,
        kind: subresource.kind,
      },
      verbs: [...subresource.verbs],
    })),
  };
}
