/**
 * The API inside the process: what controllers and request handlers work with. Reads answer at once from memory;
 * writes resolve when they are durable, and reject with StatusError like the REST API does.
 */

import type { JsonObject, KubeObject } from './kube-object.ts';

export interface ResourceRef {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
}

export interface ObjectRef extends ResourceRef {
  /** Undefined for cluster-scoped resources. */
  readonly namespace: string | undefined;
  readonly name: string;
}

export interface ListOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
}

export interface WatchOptions extends ListOptions {
  /** Events after this revision; undefined: the present objects first, as ADDED. */
  readonly fromRevision?: number;
  readonly signal: AbortSignal;
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: KubeObject;
  readonly revision: number;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan' | undefined;
  readonly preconditions?:
    | { readonly uid?: string | undefined; readonly resourceVersion?: string | undefined }
    | undefined;
}

export interface Api {
  get(at: ObjectRef): KubeObject | undefined;
  list(
    resource: ResourceRef,
    options?: ListOptions,
  ): { readonly items: readonly KubeObject[]; readonly revision: number };
  watch(resource: ResourceRef, options: WatchOptions): AsyncIterable<WatchEvent>;
  create(resource: ResourceRef, object: KubeObject): Promise<KubeObject>;
  /** Checks `metadata.resourceVersion` when the object carries one. */
  update(resource: ResourceRef, object: KubeObject, subresource?: string): Promise<KubeObject>;
  /** JSON merge patch (RFC 7386). */
  patch(at: ObjectRef, patch: JsonObject, subresource?: string): Promise<KubeObject>;
  delete(at: ObjectRef, options?: DeleteOptions): Promise<void>;
}

/** The resources that the server's own controllers work with. */
export const resource = {
  namespaces: { group: '', version: 'v1', plural: 'namespaces' },
  nodes: { group: '', version: 'v1', plural: 'nodes' },
  pods: { group: '', version: 'v1', plural: 'pods' },
  configMaps: { group: '', version: 'v1', plural: 'configmaps' },
  secrets: { group: '', version: 'v1', plural: 'secrets' },
  serviceAccounts: { group: '', version: 'v1', plural: 'serviceaccounts' },
  events: { group: '', version: 'v1', plural: 'events' },
  leases: { group: 'coordination.k8s.io', version: 'v1', plural: 'leases' },
  deployments: { group: 'apps', version: 'v1', plural: 'deployments' },
  replicaSets: { group: 'apps', version: 'v1', plural: 'replicasets' },
  roles: { group: 'rbac.authorization.k8s.io', version: 'v1', plural: 'roles' },
  roleBindings: { group: 'rbac.authorization.k8s.io', version: 'v1', plural: 'rolebindings' },
  clusterRoles: { group: 'rbac.authorization.k8s.io', version: 'v1', plural: 'clusterroles' },
  clusterRoleBindings: { group: 'rbac.authorization.k8s.io', version: 'v1', plural: 'clusterrolebindings' },
  customResourceDefinitions: {
    group: 'apiextensions.k8s.io',
    version: 'v1',
    plural: 'customresourcedefinitions',
  },
} as const satisfies Record<string, ResourceRef>;
