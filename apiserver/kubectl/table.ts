/** Renders objects as meta.k8s.io Tables (`kubectl get`) and as their metadata alone. */

import type { JsonObject, JsonValue, KubeObject } from '../kube-object.ts';
import type { PrinterColumn, ResourceDefinition } from '../resource-definition.ts';
import { accessColumns } from './access-columns.ts';
import { age, type Column, column, nameColumn } from './column.ts';
import { coreColumns } from './core-columns.ts';
import { ageOf } from './human-duration.ts';
import { findAll, parseJsonPath } from './json-path.ts';
import { workloadColumns } from './workload-columns.ts';

export type IncludeObject = 'None' | 'Metadata' | 'Object';

export interface TableOptions {
  /** The query parameter `includeObject`; Metadata when it is absent. */
  readonly includeObject?: IncludeObject | undefined;
  readonly version?: 'v1' | 'v1beta1';
  /** The list's resourceVersion, continue token and remaining count. */
  readonly listMetadata?: JsonObject;
  readonly nowMs: number;
}

const builtInColumns: ReadonlyMap<string, readonly Column[]> = new Map([
  ...workloadColumns,
  ...coreColumns,
  ...accessColumns,
]);

export function renderTable(
  definition: ResourceDefinition,
  objects: readonly KubeObject[],
  { includeObject = 'Metadata', version = 'v1', listMetadata = {}, nowMs }: TableOptions,
): JsonObject {
  const columns = columnsOf(definition);
  return {
    kind: 'Table',
    apiVersion: `meta.k8s.io/${version}`,
    metadata: listMetadata,
    columnDefinitions: columns.map(({ name, type, format, description, priority }) => ({
      name,
      type,
      format,
      description,
      priority,
    })),
    rows: objects.map((object) => ({
      cells: columns.map((each) => each.cell(object, nowMs)),
      object:
        includeObject === 'None'
          ? null
          : includeObject === 'Object'
            ? object
            : partialMetadata(object, version),
    })),
  };
}

export function readIncludeObject(value: string | null): IncludeObject | undefined {
  return value === 'None' || value === 'Metadata' || value === 'Object' ? value : undefined;
}

export function partialMetadata(object: KubeObject, version: 'v1' | 'v1beta1' = 'v1'): JsonObject {
  return { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${version}`, metadata: object.metadata };
}

export function partialMetadataList(
  objects: readonly KubeObject[],
  listMetadata: JsonObject,
  version: 'v1' | 'v1beta1' = 'v1',
): JsonObject {
  return {
    kind: 'PartialObjectMetadataList',
    apiVersion: `meta.k8s.io/${version}`,
    metadata: listMetadata,
    items: objects.map((object) => partialMetadata(object, version)),
  };
}

function columnsOf(definition: ResourceDefinition): readonly Column[] {
  const builtIn = definition.custom
    ? undefined
    : builtInColumns.get(`${definition.group}/${definition.kind}`);
  if (builtIn !== undefined) return builtIn;
  const own = definition.printerColumns ?? [];
  return own.length === 0 ? [nameColumn, age] : [nameColumn, ...own.map(printerColumn)];
}

function printerColumn({ name, type, jsonPath, format, description, priority }: PrinterColumn): Column {
  const path = parseJsonPath(jsonPath);
  return {
    ...column(name, (object, nowMs) => {
      const found = path === undefined ? [] : findAll(object, path);
      return printed(found, type, nowMs);
    }),
    type: type === 'integer' || type === 'number' || type === 'boolean' || type === 'date' ? type : 'string',
    format: format ?? '',
    description: description ?? '',
    priority: priority ?? 0,
  };
}

/** Null where the path finds nothing, as clients expect of a custom column. */
function printed(found: readonly JsonValue[], type: string, nowMs: number): JsonValue {
  const [first] = found;
  if (first === undefined || first === null) return null;
  switch (type) {
    case 'date':
      return ageOf(first, nowMs);
    case 'integer':
    case 'number':
      return typeof first === 'number' ? first : null;
    case 'boolean':
      return typeof first === 'boolean' ? first : null;
    default:
      return found.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))).join(' ');
  }
}
