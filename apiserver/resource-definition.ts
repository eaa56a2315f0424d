/**
 * What the server knows about one served resource in one version: its names, scope, verbs, subresources, and for
 * custom resources the schema and printer columns of their CustomResourceDefinition. Data only.
 */

import type { JsonObject } from './kube-object.ts';

export type Verb = 'create' | 'delete' | 'deletecollection' | 'get' | 'list' | 'patch' | 'update' | 'watch';

export const allVerbs: readonly Verb[] = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
];

export type SubresourceName = 'status' | 'scale' | 'binding' | 'eviction' | 'token' | 'approval' | 'finalize';

/** A subresource as discovery announces it; `group` and `version` only where the kind is not of the resource's own. */
export interface Subresource {
  readonly name: SubresourceName;
  readonly kind: string;
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly Verb[];
}

/** As in a CustomResourceDefinition's `additionalPrinterColumns`. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly format?: string;
  readonly description?: string;
  readonly priority?: number;
}

export interface ResourceDefinition {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly listKind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  readonly verbs: readonly Verb[];
  readonly subresources: readonly Subresource[];
  /** Structural OpenAPI v3 schema of the object, where one is known (`spec.versions[].schema.openAPIV3Schema`). */
  readonly schema?: JsonObject;
  readonly printerColumns?: readonly PrinterColumn[];
  /** Said to who uses the resource, when its version is deprecated. */
  readonly deprecation?: string;
  /** Where the objects are kept: `<group>/<plural>`, shared by all versions (events of two groups are one storage). Empty: reviews, which are not kept. */
  readonly storage: string;
  /** Made by a CustomResourceDefinition. */
  readonly custom: boolean;
  /** Paths of a custom resource's scale subresource. */
  readonly scalePaths?: { readonly spec: string; readonly status: string; readonly selector?: string };
}

/** `v1` or `apps/v1`. */
export function apiVersionOf(definition: Pick<ResourceDefinition, 'group' | 'version'>): string {
  return definition.group === '' ? definition.version : `${definition.group}/${definition.version}`;
}

/** `pods` or `deployments.apps`, as kubectl and error messages name a resource. */
export function qualifiedName(definition: Pick<ResourceDefinition, 'group' | 'plural'>): string {
  return definition.group === '' ? definition.plural : `${definition.plural}.${definition.group}`;
}

export function hasSubresource(definition: ResourceDefinition, name: string): boolean {
  return definition.subresources.some((subresource) => subresource.name === name);
}
