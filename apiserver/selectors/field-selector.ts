/** Field selectors: which fields of which resource may be selected by, as in Kubernetes. */

import { type KubeObject, valueAt } from '../kube-object.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { badRequest } from '../status-error.ts';

export type FieldMatcher = (object: KubeObject) => boolean;

export interface FieldSelector {
  readonly matches: FieldMatcher;
  /** The object that `metadata.name=` names, if the selector has that: then only one needs to be looked at. */
  readonly name: string | undefined;
}

const everywhere = ['metadata.name', 'metadata.namespace'];

const involved = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'];

const ofStorage: Readonly<Record<string, readonly string[]>> = {
  '/pods': [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  '/events': [
    ...involved.map((field) => `involvedObject.${field}`),
    ...involved.map((field) => `regarding.${field}`),
    'reason',
    'reportingComponent',
    'reportingController',
    'source',
    'type',
  ],
  '/secrets': ['type'],
  '/nodes': ['spec.unschedulable'],
  '/namespaces': ['status.phase'],
  '/services': ['spec.clusterIP', 'spec.type'],
  '/replicationcontrollers': ['status.replicas'],
  'apps/replicasets': ['status.replicas'],
  'batch/jobs': ['status.successful'],
  'certificates.k8s.io/certificatesigningrequests': ['spec.signerName'],
};

/** Booleans that are false when they are not there. */
const flags = new Set(['spec.unschedulable', 'spec.hostNetwork']);

/** Undefined: everything matches. @throws StatusError 400 for a field that cannot be selected by. */
export function parseFieldSelector(
  text: string | undefined,
  definition: ResourceDefinition,
): FieldSelector | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  const terms = text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => parseTerm(part.trim(), definition));
  return {
    matches: (object) => terms.every((term) => (read(object, term.field) === term.value) === term.equal),
    name: terms.find((term) => term.equal && term.field === 'metadata.name')?.value,
  };
}

function parseTerm(text: string, definition: ResourceDefinition) {
  const match = /^([^=!]+)(==|=|!=)(.*)$/.exec(text);
  if (!match?.[1]) throw badRequest(`invalid field selector: "${text.slice(0, 200)}"`);
  const field = match[1].trim();
  const supported = Object.hasOwn(ofStorage, definition.storage) ? ofStorage[definition.storage] : undefined;
  if (!everywhere.includes(field) && !supported?.includes(field)) {
    throw badRequest(`field label not supported: ${field}`);
  }
  return { field, equal: match[2] !== '!=', value: unescaped(match[3]?.trimStart() ?? '') };
}

function unescaped(text: string): string {
  return text.replace(/\\([\\,=])/g, '$1');
}

function read(object: KubeObject, field: string): string {
  if (field === 'source') return String(valueAt(object, 'source', 'component') ?? '');
  const path = field
    .replace(/^regarding\./, 'involvedObject.')
    .replace(/^reportingController$/, 'reportingComponent');
  const found = valueAt(object, ...path.split('.'));
  if (found === undefined || found === null) return flags.has(field) ? 'false' : '';
  return String(found);
}
