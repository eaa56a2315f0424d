/**
 * The OpenAPI 3 documents, one per group version, with an index. They carry what kubectl reads: schemas for
 * `explain` and strategic merges, and per kind a patch operation that says which patches and parameters it takes.
 */

import { createHash } from 'node:crypto';
import type { JsonObject } from '../kube-object.ts';
import type { Registry } from '../registry.ts';
import { apiVersionOf, type ResourceDefinition, type Verb } from '../resource-definition.ts';
import { kindComponent, openApi3, schemasOf } from './schemas.ts';

export interface OpenApiV3 {
  /** `GET /openapi/v3` */
  index(): JsonObject;
  /** `GET /openapi/v3/<path>` where path is `api/v1` or `apis/<group>/<version>`: JSON text; undefined: not served. */
  document(path: string): string | undefined;
}

interface Document {
  readonly text: string;
  readonly hash: string;
}

/** Documents are made when first asked for and kept until the table of resources changes. */
export function createOpenApiV3(registry: Registry): OpenApiV3 {
  let generation = -1;
  let documents = new Map<string, Document>();
  const current = (): ReadonlyMap<string, Document> => {
    if (generation !== registry.generation) {
      documents = new Map();
      generation = registry.generation;
      for (const { group, versions } of registry.groups()) {
        for (const version of versions) {
          const path = group === '' ? `api/${version}` : `apis/${group}/${version}`;
          documents.set(path, render(registry.inVersion(group, version)));
        }
      }
    }
    return documents;
  };
  return {
    index: () => {
      const paths = [...current()].map(([path, { hash }]) => {
        return [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }] as const;
      });
      return { paths: Object.fromEntries(paths) };
    },
    document: (path) => current().get(path)?.text,
  };
}

function render(definitions: readonly ResourceDefinition[]): Document {
  const text = JSON.stringify({
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'unversioned' },
    paths: Object.fromEntries(definitions.flatMap(pathsOf)),
    components: { schemas: schemasOf(definitions, openApi3) },
  });
  return { text, hash: createHash('sha256').update(text).digest('hex').toUpperCase() };
}

/** The methods of a collection and of one object, each with the verb of the API that it is. */
const collectionMethods: readonly (readonly [method: string, action: string, verb: Verb])[] = [
  ['get', 'list', 'list'],
  ['post', 'post', 'create'],
  ['delete', 'deletecollection', 'deletecollection'],
];
const objectMethods: readonly (readonly [method: string, action: string, verb: Verb])[] = [
  ['get', 'get', 'get'],
  ['put', 'put', 'update'],
  ['patch', 'patch', 'patch'],
  ['delete', 'delete', 'delete'],
];

function pathsOf(definition: ResourceDefinition): readonly (readonly [string, JsonObject])[] {
  const { group, version, namespaced, plural } = definition;
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const collection = namespaced ? `${root}/namespaces/{namespace}/${plural}` : `${root}/${plural}`;
  const inPath = (name: string): JsonObject => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  });
  const common = namespaced ? [inPath('namespace')] : [];
  return [
    [collection, { ...operations(definition, collectionMethods), parameters: common }],
    [
      `${collection}/{name}`,
      { ...operations(definition, objectMethods), parameters: [...common, inPath('name')] },
    ],
  ];
}

function operations(definition: ResourceDefinition, methods: typeof objectMethods): JsonObject {
  const served = methods.filter(([, , verb]) => definition.verbs.includes(verb));
  return Object.fromEntries(
    served.map(([method, action]) => [method, operation(definition, method, action)]),
  );
}

const readParameters = [
  'pretty',
  'labelSelector',
  'fieldSelector',
  'limit',
  'continue',
  'resourceVersion',
  'watch',
];
const writeParameters = ['pretty', 'dryRun', 'fieldManager', 'fieldValidation'];

function operation(definition: ResourceDefinition, method: string, action: string): JsonObject {
  const { group, version, kind } = definition;
  const names = method === 'get' || method === 'delete' ? readParameters : [...writeParameters];
  if (method === 'patch') names.push('force');
  const schema = { $ref: `${openApi3.refPrefix}${kindComponent(definition)}` };
  const takes = method === 'patch' ? patchTypes(definition) : ['application/json'];
  const body = names.includes('fieldValidation')
    ? {
        requestBody: { required: true, content: Object.fromEntries(takes.map((type) => [type, { schema }])) },
      }
    : {};
  return {
    operationId: `${action} ${kind} ${apiVersionOf(definition)}`.replaceAll(/\W+(.)/g, (_, next: string) =>
      next.toUpperCase(),
    ),
    parameters: names.map((name) => ({ name, in: 'query', schema: { type: 'string' } })),
    ...body,
    responses: { 200: { description: 'OK', content: { 'application/json': { schema } } } },
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': { group, version, kind },
  };
}

function patchTypes(definition: ResourceDefinition): readonly string[] {
  return [
    'application/apply-patch+yaml',
    'application/json-patch+json',
    'application/merge-patch+json',
    ...(definition.custom ? [] : ['application/strategic-merge-patch+json']),
  ];
}
