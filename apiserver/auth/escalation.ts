/** Nobody gives away rights they do not have: checked when roles and bindings are written, unless `escalate` or `bind` is allowed. */

import { type KubeObject, textAt } from '../kube-object.ts';
import type { ResourceDefinition } from '../resource-definition.ts';
import { StatusError } from '../status-error.ts';
import type { Authorizer } from './authorizer.ts';
import { type Rule, readRules } from './rbac.ts';
import { masters, type User } from './user.ts';

const group = 'rbac.authorization.k8s.io';

/** @throws StatusError 403 */
export function refuseEscalation(
  user: User,
  definition: ResourceDefinition,
  object: KubeObject,
  authorizer: Authorizer,
): void {
  if (definition.group !== group || user.groups.includes(masters)) return;
  const { namespace, name } = object.metadata;
  const isBinding = definition.kind.endsWith('Binding');
  const role = textAt(object, 'roleRef', 'name') ?? '';
  const ofRole = textAt(object, 'roleRef', 'kind') === 'Role' ? 'roles' : 'clusterroles';
  const leave = isBinding
    ? { verb: 'bind', group, plural: ofRole, namespace, name: role }
    : { verb: 'escalate', group, plural: definition.plural, namespace, name };
  if (authorizer.allows(user, leave)) return;
  const given = isBinding ? authorizer.rulesOfBinding(object) : readRules(object);
  const held = authorizer.rules(user, namespace);
  const missing = object.aggregationRule !== undefined || !given.every((rule) => isCovered(rule, held));
  if (!missing) return;
  throw new StatusError(
    'Forbidden',
    `${definition.plural}.${group} "${name}" is forbidden: user "${user.name}" is attempting to grant RBAC permissions not currently held`,
    { name, group, kind: definition.plural },
  );
}

/** Whether everything a rule allows is allowed by some held rule. */
export function isCovered(wanted: Rule, held: readonly Rule[]): boolean {
  return wanted.verbs.every((verb) => {
    const ofVerb = held.filter(({ verbs }) => verbs.includes(verb) || verbs.includes('*'));
    const paths = wanted.nonResourceURLs.every((url) =>
      ofVerb.some(({ nonResourceURLs }) => nonResourceURLs.some((each) => coversPath(each, url))),
    );
    const resources = wanted.apiGroups.every((apiGroup) =>
      wanted.resources.every((resource) =>
        ofVerb.some((rule) => coversResource(rule, apiGroup, resource, wanted)),
      ),
    );
    return paths && resources;
  });
}

function coversPath(held: string, wanted: string): boolean {
  return held === wanted || (held.endsWith('*') && wanted.startsWith(held.slice(0, -1)));
}

function coversResource(rule: Rule, apiGroup: string, resource: string, wanted: Rule): boolean {
  const names = rule.resourceNames;
  const namesFit =
    names.length === 0 ||
    (wanted.resourceNames.length > 0 && wanted.resourceNames.every((name) => names.includes(name)));
  const [, subresource] = resource.split('/');
  const resourceFits = [resource, '*', ...(subresource === undefined ? [] : [`*/${subresource}`])];
  return (
    namesFit &&
    (rule.apiGroups.includes(apiGroup) || rule.apiGroups.includes('*')) &&
    resourceFits.some((each) => rule.resources.includes(each))
  );
}
