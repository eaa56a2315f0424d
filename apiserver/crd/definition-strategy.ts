/** CustomResourceDefinitions as objects: defaults, checks, and the conditions clients wait for. */

import {
  fieldOf,
  isJsonObject,
  type JsonObject,
  type KubeObject,
  listAt,
  objectIn,
  objectsAt,
  setDefault,
  textAt,
  valueAt,
} from '../kube-object.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import type { StatusCause } from '../status-error.ts';
import { isLabelName, isSubdomain } from '../strategies/metadata.ts';
import { required, type Strategy, unsupported, wrong } from '../strategies/strategy.ts';

/** Held until the objects of the kind are gone. */
export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io';

export const customResourceDefinitionStrategy: Strategy = {
  generation: true,

  defaults(draft) {
    const spec = objectIn(draft, 'spec');
    const names = objectIn(spec, 'names');
    const kind = textAt(names, 'kind') ?? '';
    setDefault(names, 'singular', kind.toLowerCase());
    setDefault(names, 'listKind', `${kind}List`);
    setDefault(spec, 'conversion', { strategy: 'None' });
  },

  created(draft, _requester, now) {
    draft.metadata.finalizers = [...new Set([...(draft.metadata.finalizers ?? []), cleanupFinalizer])];
    const condition = (type: string, reason: string, message: string): JsonObject => ({
      type,
      status: 'True',
      lastTransitionTime: now,
      reason,
      message,
    });
    draft.status = {
      acceptedNames: valueAt(draft, 'spec', 'names') ?? {},
      storedVersions: storageVersions(draft),
      conditions: [
        condition('NamesAccepted', 'NoConflicts', 'no conflicts found'),
        condition('Established', 'InitialNamesAccepted', 'the initial names have been accepted'),
      ],
    };
  },

  updated(draft) {
    const status = objectIn(draft, 'status');
    draft.status = {
      ...status,
      acceptedNames: valueAt(draft, 'spec', 'names') ?? {},
      storedVersions: [...new Set([...listAt(status, 'storedVersions'), ...storageVersions(draft)])],
    };
  },

  validate: (draft) => [...validateNames(draft), ...validateVersions(draft)],

  validateUpdate(draft, current) {
    return ['group', 'scope', 'names.plural', 'names.kind'].flatMap((field) => {
      const path = ['spec', ...field.split('.')];
      const value = valueAt(draft, ...path);
      const same = jsonEqual(value, valueAt(current, ...path));
      return same ? [] : [wrong(`spec.${field}`, value ?? '', 'field is immutable')];
    });
  },
};

function storageVersions(draft: KubeObject): string[] {
  return objectsAt(draft, 'spec', 'versions').flatMap((version) =>
    version.storage === true && typeof version.name === 'string' ? [version.name] : [],
  );
}

const scopes = ['Cluster', 'Namespaced'];

function validateNames(draft: KubeObject): StatusCause[] {
  const causes: StatusCause[] = [];
  const group = textAt(draft, 'spec', 'group') ?? '';
  const plural = textAt(draft, 'spec', 'names', 'plural') ?? '';
  const scope = textAt(draft, 'spec', 'scope') ?? '';
  if (group === '') causes.push(required('spec.group'));
  else if (!isSubdomain(group) || !group.includes('.')) {
    causes.push(wrong('spec.group', group, 'should be a domain with at least one dot'));
  }
  if (!isLabelName(plural))
    causes.push(wrong('spec.names.plural', plural, 'a lowercase RFC 1123 label is expected'));
  if (!/^[A-Za-z][A-Za-z0-9]{0,62}$/.test(textAt(draft, 'spec', 'names', 'kind') ?? '')) {
    causes.push(required('spec.names.kind'));
  }
  if (!scopes.includes(scope)) causes.push(unsupported('spec.scope', scope, scopes));
  if (draft.metadata.name !== `${plural}.${group}`) {
    causes.push(wrong('metadata.name', draft.metadata.name, 'must be spec.names.plural+"."+spec.group'));
  }
  const strategy = textAt(draft, 'spec', 'conversion', 'strategy');
  if (strategy !== 'None') causes.push(unsupported('spec.conversion.strategy', strategy, ['None']));
  return causes;
}

function validateVersions(draft: KubeObject): StatusCause[] {
  const versions = objectsAt(draft, 'spec', 'versions');
  const causes = versions.flatMap((version, i) => {
    const at = `spec.versions[${i}]`;
    const problems: StatusCause[] = [];
    if (!isLabelName(textAt(version, 'name') ?? '')) problems.push(required(`${at}.name`));
    const schema = fieldOf(fieldOf(version, 'schema'), 'openAPIV3Schema');
    if (!isJsonObject(schema))
      problems.push(required(`${at}.schema.openAPIV3Schema`, 'Required value: schemas are required'));
    else if (schema.type !== 'object') {
      problems.push(
        wrong(`${at}.schema.openAPIV3Schema.type`, schema.type ?? '', 'must be object at the root'),
      );
    }
    return problems;
  });
  const names = versions.map((version) => textAt(version, 'name'));
  if (new Set(names).size !== names.length)
    causes.push(wrong('spec.versions', names, 'must contain unique version names'));
  if (storageVersions(draft).length !== 1) {
    causes.push(wrong('spec.versions', names, 'must have exactly one version marked as storage version'));
  }
  return causes;
}
