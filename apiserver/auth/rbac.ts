/** Role-based access: what the stored roles and bindings allow. Pure over what it is given to read. */

import { type KubeObject, listAt, objectsAt, textAt, valueAt } from '../kube-object.ts';
import { fromSelectorObject } from '../selectors/label-selector.ts';
import { masters, serviceAccountName, type User } from './user.ts';

export interface ResourceAttributes {
  readonly verb: string;
  readonly group: string;
  readonly plural: string;
  readonly subresource?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

export interface PathAttributes {
  readonly verb: string;
  readonly path: string;
}

export type Attributes = ResourceAttributes | PathAttributes;

export interface Rule {
  readonly verbs: readonly string[];
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames: readonly string[];
  readonly nonResourceURLs: readonly string[];
}

export interface AccessObjects {
  clusterRoles(): readonly KubeObject[];
  clusterRoleBindings(): readonly KubeObject[];
  role(namespace: string, name: string): KubeObject | undefined;
  clusterRole(name: string): KubeObject | undefined;
  roleBindings(namespace: string): readonly KubeObject[];
}

export function allowed(user: User, attributes: Attributes, objects: AccessObjects): boolean {
  if (user.groups.includes(masters)) return true;
  const namespace = 'path' in attributes ? undefined : attributes.namespace;
  return rulesOf(user, namespace, objects).some((rule) => covers(rule, attributes));
}

/** All rules that hold for a user, cluster-wide and (if named) in a namespace. */
export function rulesOf(user: User, namespace: string | undefined, objects: AccessObjects): readonly Rule[] {
  const found: Rule[] = [];
  for (const binding of objects.clusterRoleBindings()) {
    if (names(binding, user)) found.push(...rulesOfRole(binding, undefined, objects));
  }
  if (namespace === undefined) return found;
  for (const binding of objects.roleBindings(namespace)) {
    if (names(binding, user)) found.push(...rulesOfRole(binding, namespace, objects));
  }
  return found;
}

function names(binding: KubeObject, user: User): boolean {
  return objectsAt(binding, 'subjects').some((subject) => {
    const name = textAt(subject, 'name') ?? '';
    switch (textAt(subject, 'kind')) {
      case 'User':
        return name === user.name;
      case 'Group':
        return user.groups.includes(name);
      case 'ServiceAccount': {
        const namespace = textAt(subject, 'namespace') ?? binding.metadata.namespace ?? '';
        return user.name === serviceAccountName(namespace, name);
      }
      default:
        return false;
    }
  });
}

export function rulesOfRole(
  binding: KubeObject,
  namespace: string | undefined,
  objects: AccessObjects,
): readonly Rule[] {
  const name = textAt(binding, 'roleRef', 'name') ?? '';
  if (textAt(binding, 'roleRef', 'kind') === 'Role') {
    return namespace === undefined ? [] : readRules(objects.role(namespace, name));
  }
  const role = objects.clusterRole(name);
  const selectors = listAt(role, 'aggregationRule', 'clusterRoleSelectors').map(fromSelectorObject);
  if (selectors.length === 0) return readRules(role);
  return objects
    .clusterRoles()
    .filter((each) => selectors.some((selects) => selects(each.metadata.labels)))
    .flatMap(readRules);
}

export function readRules(role: KubeObject | undefined): readonly Rule[] {
  return listAt(role, 'rules').map((rule) => ({
    verbs: texts(rule, 'verbs'),
    apiGroups: texts(rule, 'apiGroups'),
    resources: texts(rule, 'resources'),
    resourceNames: texts(rule, 'resourceNames'),
    nonResourceURLs: texts(rule, 'nonResourceURLs'),
  }));
}

function texts(rule: unknown, field: string): readonly string[] {
  const value = valueAt(rule, field);
  return Array.isArray(value) ? value.map(String) : [];
}

export function covers(rule: Rule, attributes: Attributes): boolean {
  if (!has(rule.verbs, attributes.verb)) return false;
  if ('path' in attributes) {
    const { path } = attributes;
    return rule.nonResourceURLs.some((url) =>
      url.endsWith('*') ? path.startsWith(url.slice(0, -1)) : path === url,
    );
  }
  const { group, plural, subresource, name } = attributes;
  const wanted =
    subresource === undefined ? [plural, '*'] : [`${plural}/${subresource}`, `*/${subresource}`, '*'];
  return (
    has(rule.apiGroups, group) &&
    wanted.some((resource) => rule.resources.includes(resource)) &&
    (rule.resourceNames.length === 0 || (name !== undefined && rule.resourceNames.includes(name)))
  );
}

function has(list: readonly string[], value: string): boolean {
  return list.includes(value) || list.includes('*');
}
