/** From a CustomResourceDefinition to the resources it serves: one definition per served version. */

import {
  fieldOf,
  isJsonObject,
  type JsonObject,
  type KubeObject,
  listAt,
  objectsAt,
  textAt,
  valueAt,
} from '../kube-object.ts';
import {
  allVerbs,
  type PrinterColumn,
  type ResourceDefinition,
  type Subresource,
  type Verb,
} from '../resource-definition.ts';

const readWrite: readonly Verb[] = ['get', 'patch', 'update'];

export function definitionsOf(customResourceDefinition: KubeObject): readonly ResourceDefinition[] {
  const spec = valueAt(customResourceDefinition, 'spec');
  return objectsAt(spec, 'versions')
    .filter((version) => version.served === true)
    .map((version) => definitionOf(spec, version));
}

/** Where the objects of the kind are kept. */
export function storageOf(customResourceDefinition: KubeObject): string {
  const group = textAt(customResourceDefinition, 'spec', 'group') ?? '';
  return `${group}/${textAt(customResourceDefinition, 'spec', 'names', 'plural') ?? ''}`;
}

function definitionOf(spec: unknown, version: JsonObject): ResourceDefinition {
  const group = textAt(spec, 'group') ?? '';
  const names = valueAt(spec, 'names');
  const kind = textAt(names, 'kind') ?? '';
  const plural = textAt(names, 'plural') ?? '';
  const schema = valueAt(version, 'schema', 'openAPIV3Schema');
  const columns = objectsAt(version, 'additionalPrinterColumns').map(toColumn);
  const scale = fieldOf(fieldOf(version, 'subresources'), 'scale');
  return {
    group,
    version: textAt(version, 'name') ?? '',
    kind,
    listKind: textAt(names, 'listKind') ?? `${kind}List`,
    plural,
    singular: textAt(names, 'singular') ?? kind.toLowerCase(),
    shortNames: texts(names, 'shortNames'),
    categories: texts(names, 'categories'),
    namespaced: textAt(spec, 'scope') === 'Namespaced',
    verbs: allVerbs,
    subresources: subresourcesOf(kind, fieldOf(version, 'subresources')),
    ...(isJsonObject(schema) ? { schema } : {}),
    ...(columns.length === 0 ? {} : { printerColumns: columns }),
    ...(version.deprecated === true ? { deprecation: deprecationOf(group, kind, version) } : {}),
    storage: `${group}/${plural}`,
    custom: true,
    ...(isJsonObject(scale) ? { scalePaths: scalePathsOf(scale) } : {}),
  };
}

function deprecationOf(group: string, kind: string, version: JsonObject): string {
  const said = textAt(version, 'deprecationWarning');
  return said ?? `${group}/${textAt(version, 'name')} ${kind} is deprecated`;
}

function texts(value: unknown, name: string): readonly string[] {
  return listAt(value, name).filter((each) => typeof each === 'string');
}

function subresourcesOf(kind: string, subresources: unknown): readonly Subresource[] {
  const found: Subresource[] = [];
  if (fieldOf(subresources, 'status') !== undefined) found.push({ name: 'status', kind, verbs: readWrite });
  if (isJsonObject(fieldOf(subresources, 'scale'))) {
    found.push({ name: 'scale', kind: 'Scale', group: 'autoscaling', version: 'v1', verbs: readWrite });
  }
  return found;
}

function scalePathsOf(scale: JsonObject) {
  const selector = textAt(scale, 'labelSelectorPath');
  return {
    spec: textAt(scale, 'specReplicasPath') ?? '',
    status: textAt(scale, 'statusReplicasPath') ?? '',
    ...(selector === undefined ? {} : { selector }),
  };
}

function toColumn(column: JsonObject): PrinterColumn {
  const format = textAt(column, 'format');
  const description = textAt(column, 'description');
  return {
    name: textAt(column, 'name') ?? '',
    type: textAt(column, 'type') ?? 'string',
    jsonPath: textAt(column, 'jsonPath') ?? '',
    ...(format === undefined ? {} : { format }),
    ...(description === undefined ? {} : { description }),
    ...(typeof column.priority === 'number' ? { priority: column.priority } : {}),
  };
}
