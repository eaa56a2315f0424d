/** Namespaces, nodes, configMaps, secrets, services, access rules and the other small kinds. */

import {
  fieldOf,
  isJsonObject,
  type JsonObject,
  type KubeObject,
  objectIn,
  objectsAt,
  setDefault,
  textAt,
  valueAt,
} from '../kube-object.ts';
import { jsonEqual } from '../patch/json-equal.ts';
import type { StatusCause } from '../status-error.ts';
import { forbidden, required, type Strategy, wrong } from './strategy.ts';

export const namespaceStrategy: Strategy = {
  names: 'label',
  defaults(draft) {
    draft.metadata.labels = { ...draft.metadata.labels, 'kubernetes.io/metadata.name': draft.metadata.name };
  },
  created(draft) {
    objectIn(draft, 'spec').finalizers = ['kubernetes'];
    draft.status = { phase: 'Active' };
  },
  updated(draft, current) {
    const finalizers = valueAt(current, 'spec', 'finalizers');
    if (finalizers !== undefined) objectIn(draft, 'spec').finalizers = finalizers;
  },
};

/** A node registers with its status in one request. */
export const nodeStrategy: Strategy = {
  keepsStatus: true,
  defaults(draft) {
    objectIn(draft, 'spec');
  },
};

const dataKey = /^[-._a-zA-Z0-9]{1,253}$/;

function validateDataKeys(draft: KubeObject, field: string): StatusCause[] {
  const data = fieldOf(draft, field);
  if (!isJsonObject(data)) return [];
  return Object.keys(data)
    .filter((key) => !dataKey.test(key) || key === '.' || key === '..')
    .map((key) =>
      wrong(
        `${field}[${key}]`,
        key,
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
      ),
    );
}

function validateImmutable(draft: KubeObject, current: KubeObject, fields: readonly string[]): StatusCause[] {
  if (current.immutable !== true) return [];
  return [...fields, 'immutable']
    .filter((field) => !jsonEqual(fieldOf(draft, field), fieldOf(current, field)))
    .map((field) => forbidden(field, 'field is immutable when `immutable` is set'));
}

export const configMapStrategy: Strategy = {
  validate: (draft) => [...validateDataKeys(draft, 'data'), ...validateDataKeys(draft, 'binaryData')],
  validateUpdate: (draft, current) => validateImmutable(draft, current, ['data', 'binaryData']),
};

const base64 = /^[A-Za-z0-9+/\s]*(={1,2}\s*)?$/;

export const secretStrategy: Strategy = {
  defaults(draft) {
    setDefault(draft, 'type', 'Opaque');
    const plain = fieldOf(draft, 'stringData');
    if (isJsonObject(plain)) {
      const data = objectIn(draft, 'data');
      for (const [key, value] of Object.entries(plain))
        data[key] = Buffer.from(String(value)).toString('base64');
    }
    delete draft.stringData;
  },
  validate(draft) {
    const data = fieldOf(draft, 'data');
    const values = isJsonObject(data) ? Object.entries(data) : [];
    return [
      ...validateDataKeys(draft, 'data'),
      ...values
        .filter(([, value]) => value !== null && (typeof value !== 'string' || !base64.test(value)))
        .map(([key]) => wrong(`data[${key}]`, '<sanitized>', 'must be base64')),
    ];
  },
  validateUpdate: (draft, current) => [
    ...validateImmutable(draft, current, ['data']),
    ...(draft.type === current.type ? [] : [wrong('type', draft.type, 'field is immutable')]),
  ],
};

export const serviceStrategy: Strategy = {
  names: 'label',
  defaults(draft) {
    const spec = objectIn(draft, 'spec');
    setDefault(spec, 'type', 'ClusterIP');
    setDefault(spec, 'sessionAffinity', 'None');
    if (spec.type !== 'ExternalName') setDefault(spec, 'internalTrafficPolicy', 'Cluster');
    for (const port of objectsAt(spec, 'ports')) {
      setDefault(port, 'protocol', 'TCP');
      if (port.port !== undefined) setDefault(port, 'targetPort', port.port);
    }
  },
  created(draft) {
    draft.status = { loadBalancer: {} };
  },
  validate(draft) {
    const spec = valueAt(draft, 'spec');
    const ports = objectsAt(spec, 'ports');
    const portless = textAt(spec, 'type') === 'ExternalName' || textAt(spec, 'clusterIP') === 'None';
    if (ports.length === 0 && !portless) return [required('spec.ports')];
    return ports.flatMap((port, i) => {
      const number = Number(port.port);
      const valid = Number.isInteger(number) && number > 0 && number < 65_536;
      return valid ? [] : [wrong(`spec.ports[${i}].port`, number, 'must be between 1 and 65535, inclusive')];
    });
  },
};

const rbacGroup = 'rbac.authorization.k8s.io';

export const roleStrategy: Strategy = { names: 'path', createOnUpdate: true };

export const roleBindingStrategy: Strategy = {
  names: 'path',
  createOnUpdate: true,
  defaults(draft) {
    setDefault(objectIn(draft, 'roleRef'), 'apiGroup', rbacGroup);
    for (const subject of objectsAt(draft, 'subjects')) defaultSubject(subject);
  },
  validate: (draft) => (textAt(draft, 'roleRef', 'name') ? [] : [required('roleRef.name')]),
  validateUpdate: (draft, current) =>
    jsonEqual(draft.roleRef, current.roleRef)
      ? []
      : [wrong('roleRef', draft.roleRef, 'cannot change roleRef')],
};

function defaultSubject(subject: JsonObject): void {
  if (subject.kind === 'User' || subject.kind === 'Group') setDefault(subject, 'apiGroup', rbacGroup);
}

export const eventStrategy: Strategy = {
  createOnUpdate: true,
  validate(draft) {
    const about = textAt(draft, 'involvedObject', 'namespace');
    const namespace = draft.metadata.namespace;
    const fits = about === namespace || ((about ?? '') === '' && namespace === 'default');
    return fits ? [] : [wrong('involvedObject.namespace', about ?? '', 'does not match event.namespace')];
  },
};

export const claimStrategy: Strategy = {
  created(draft) {
    draft.status = { phase: 'Pending' };
  },
};

export const signingRequestStrategy: Strategy = {
  created(draft, requester) {
    const spec = objectIn(draft, 'spec');
    spec.username = requester.name;
    spec.groups = [...requester.groups];
    if (requester.uid !== undefined) spec.uid = requester.uid;
    draft.status = {};
  },
  updated(draft, current) {
    if (current.spec !== undefined) draft.spec = current.spec;
  },
  validate(draft) {
    const spec = valueAt(draft, 'spec');
    const causes: StatusCause[] = [];
    if (!textAt(spec, 'request')) causes.push(required('spec.request'));
    if (!textAt(spec, 'signerName')) causes.push(required('spec.signerName'));
    return causes;
  },
};

export const storedStrategy: Strategy = {};
export const putCreatesStrategy: Strategy = { createOnUpdate: true };
