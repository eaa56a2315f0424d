/** What becomes of a draft before it is stored: defaults, first state, checks. No storage here. */

import { applyDefaults } from '../crd/schema-prune.ts';
import { validateSchema } from '../crd/schema-validate.ts';
import {
  cloneJson,
  isJsonObject,
  type JsonObject,
  type KubeObject,
  objectIn,
  valueAt,
} from '../kube-object.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import { hasSubresource, type ResourceDefinition } from '../resource-definition.ts';
import { badRequest, conflict, invalid, type StatusCause } from '../status-error.ts';
import { nameProblem, validateMetadata } from '../strategies/metadata.ts';
import { strategyOf } from '../strategies/strategies.ts';
import { forbidden, type Requester, wrong } from '../strategies/strategy.ts';

export function prepareCreate(
  definition: ResourceDefinition,
  draft: KubeObject,
  requester: Requester,
  now: string,
): void {
  const strategy = strategyOf(definition);
  if (hasSubresource(definition, 'status') && strategy.keepsStatus !== true) delete draft.status;
  fillIn(definition, draft);
  strategy.created?.(draft, requester, now);
  if (strategy.generation === true) draft.metadata.generation = 1;
  else delete draft.metadata.generation;
  refuse(definition, draft, [
    ...validateMetadata(draft, strategy.names),
    ...(strategy.validate?.(draft) ?? []),
    ...checkSchema(definition, draft),
  ]);
}

/** `draft` is what the client wants the whole object to be; returns what may be stored instead of `current`. */
export function prepareUpdate(
  definition: ResourceDefinition,
  wanted: KubeObject,
  current: KubeObject,
  subresource: string | undefined,
): KubeObject {
  checkIdentity(definition, wanted, current);
  const strategy = strategyOf(definition);
  const draft = cloneJson(merge(definition, wanted, current, subresource));
  keepSystemFields(draft, current);
  if (subresource === undefined) {
    fillIn(definition, draft);
    strategy.updated?.(draft, current);
  }
  refuse(definition, draft, [
    ...validateMetadata(draft, strategy.names),
    ...checkFinalizers(draft, current),
    ...(subresource === undefined ? (strategy.validate?.(draft) ?? []) : []),
    ...(subresource === undefined ? (strategy.validateUpdate?.(draft, current) ?? []) : []),
    ...checkSchema(definition, draft),
  ]);
  if (strategy.generation === true) {
    const changed = !jsonEqual(intent(draft), intent(current));
    draft.metadata.generation = (current.metadata.generation ?? 1) + (changed ? 1 : 0);
  }
  return draft;
}

function fillIn(definition: ResourceDefinition, draft: KubeObject): void {
  if (definition.custom && definition.schema !== undefined) applyDefaults(definition.schema, draft);
  strategyOf(definition).defaults?.(draft);
}

function checkSchema(definition: ResourceDefinition, draft: KubeObject): StatusCause[] {
  return definition.custom && definition.schema !== undefined ? validateSchema(definition.schema, draft) : [];
}

function refuse(definition: ResourceDefinition, draft: KubeObject, causes: StatusCause[]): void {
  if (causes.length > 0) throw invalid(definition, draft.metadata.name, causes);
}

/** Everything that `metadata.generation` counts the changes of. */
function intent({ metadata: _metadata, status: _status, ...rest }: KubeObject): JsonObject {
  return rest;
}

function checkIdentity(definition: ResourceDefinition, wanted: KubeObject, current: KubeObject): void {
  const { name, uid, resourceVersion } = wanted.metadata;
  if (name !== current.metadata.name) {
    throw badRequest(
      `the name of the object (${name}) does not match the name on the URL (${current.metadata.name})`,
    );
  }
  if (uid !== undefined && uid !== '' && uid !== current.metadata.uid) {
    throw conflict(
      definition,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current.metadata.uid ?? ''}`,
    );
  }
  if ((resourceVersion ?? '') !== '' && resourceVersion !== current.metadata.resourceVersion) {
    throw conflict(
      definition,
      name,
      'the object has been modified; please apply your changes to the latest version and try again',
    );
  }
}

function merge(
  definition: ResourceDefinition,
  wanted: KubeObject,
  current: KubeObject,
  subresource: string | undefined,
): KubeObject {
  switch (subresource) {
    case undefined: {
      if (!hasSubresource(definition, 'status')) return wanted;
      const { status: _status, ...rest } = wanted;
      return withStatus(rest, current.status);
    }
    // What binding makes of a pod is made by the server, whole.
    case 'binding':
      return wanted;
    case 'approval': {
      const conditions = valueAt(wanted, 'status', 'conditions');
      const status = isJsonObject(current.status) ? current.status : {};
      return withStatus(current, conditions === undefined ? status : { ...status, conditions });
    }
    case 'finalize': {
      const finalizers = valueAt(wanted, 'spec', 'finalizers') ?? [];
      const spec = isJsonObject(current.spec) ? current.spec : {};
      return { ...current, spec: { ...spec, finalizers } };
    }
    default: {
      const { managedFields, labels, annotations } = wanted.metadata;
      const kept = { ...current.metadata, ...(managedFields === undefined ? {} : { managedFields }) };
      const metadata = definition.custom ? kept : replaced(kept, { labels, annotations });
      const { status: _status, ...rest } = current;
      return withStatus({ ...rest, metadata }, wanted.status);
    }
  }
}

function withStatus(
  object: Omit<KubeObject, 'status'> | KubeObject,
  status: KubeObject['status'],
): KubeObject {
  // An object less its status is still an object with kind and metadata.
  return (status === undefined ? object : { ...object, status }) as KubeObject;
}

/** Undefined removes the field. */
function replaced(
  metadata: KubeObject['metadata'],
  fields: Readonly<Record<string, Record<string, string> | undefined>>,
): KubeObject['metadata'] {
  const result = { ...metadata, ...fields };
  for (const [name, value] of Object.entries(fields)) if (value === undefined) delete result[name];
  return result;
}

const systemFields = [
  'uid',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'generation',
] as const;

function keepSystemFields(draft: KubeObject, current: KubeObject): void {
  const { metadata } = draft;
  for (const field of systemFields) {
    if (current.metadata[field] === undefined) delete metadata[field];
  }
  const { uid, creationTimestamp, deletionTimestamp, deletionGracePeriodSeconds, generation } =
    current.metadata;
  if (uid !== undefined) metadata.uid = uid;
  if (creationTimestamp !== undefined) metadata.creationTimestamp = creationTimestamp;
  if (deletionTimestamp !== undefined) metadata.deletionTimestamp = deletionTimestamp;
  if (deletionGracePeriodSeconds !== undefined)
    metadata.deletionGracePeriodSeconds = deletionGracePeriodSeconds;
  if (generation !== undefined) metadata.generation = generation;
  if (current.metadata.namespace !== undefined) metadata.namespace = current.metadata.namespace;
  if (current.metadata.resourceVersion !== undefined)
    metadata.resourceVersion = current.metadata.resourceVersion;
  if (typeof current.metadata.generateName === 'string')
    metadata.generateName = current.metadata.generateName;
  if (metadata.managedFields === undefined && current.metadata.managedFields !== undefined) {
    metadata.managedFields = cloneJson(current.metadata.managedFields);
  }
}

function checkFinalizers(draft: KubeObject, current: KubeObject): StatusCause[] {
  if (current.metadata.deletionTimestamp === undefined) return [];
  const known = new Set(current.metadata.finalizers ?? []);
  const added = (draft.metadata.finalizers ?? []).filter((each) => !known.has(each));
  if (added.length === 0) return [];
  return [
    forbidden(
      'metadata.finalizers',
      `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
    ),
  ];
}

/** Makes the metadata of a new object; the name is checked where it was given whole. */
export function stampNew(
  definition: ResourceDefinition,
  draft: KubeObject,
  values: { namespace: string; uid: string; now: string },
): void {
  const { metadata } = draft;
  for (const field of [...systemFields, 'resourceVersion'] as const) delete metadata[field];
  metadata.uid = values.uid;
  metadata.creationTimestamp = values.now;
  if (definition.namespaced) metadata.namespace = values.namespace;
  else delete metadata.namespace;
}

/** The prefix that a generated name begins with, checked. */
export function generatePrefix(definition: ResourceDefinition, draft: KubeObject): string | undefined {
  const { generateName } = draft.metadata;
  if (draft.metadata.name !== '' || typeof generateName !== 'string' || generateName === '') return undefined;
  const prefix = generateName.slice(0, 58);
  const problem = nameProblem(`${prefix}x`, strategyOf(definition).names);
  if (problem !== undefined)
    throw invalid(definition, '', [wrong('metadata.generateName', generateName, problem)]);
  return prefix;
}

/** Sets `deletionTimestamp` in a copy of an object that is to go later. */
export function markDeleted(current: KubeObject, at: string, graceSeconds: number): KubeObject {
  const draft = cloneJson(current);
  draft.metadata.deletionTimestamp = at;
  draft.metadata.deletionGracePeriodSeconds = graceSeconds;
  if (draft.metadata.generation !== undefined) draft.metadata.generation += 1;
  if (draft.kind === 'Namespace') objectIn(draft, 'status').phase = 'Terminating';
  return draft;
}
