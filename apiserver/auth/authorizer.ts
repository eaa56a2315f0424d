/** Says yes or no to a request, from the roles and bindings that are stored. */

import { type Api, resource } from '../api.ts';
import type { KubeObject } from '../kube-object.ts';
import { StatusError } from '../status-error.ts';
import { type AccessObjects, type Attributes, allowed, type Rule, rulesOf, rulesOfRole } from './rbac.ts';
import type { User } from './user.ts';

export class Authorizer {
  readonly #objects: AccessObjects;

  constructor(api: Api) {
    this.#objects = {
      clusterRoles: () => api.list(resource.clusterRoles).items,
      clusterRoleBindings: () => api.list(resource.clusterRoleBindings).items,
      role: (namespace, name) => api.get({ ...resource.roles, namespace, name }),
      clusterRole: (name) => api.get({ ...resource.clusterRoles, namespace: undefined, name }),
      roleBindings: (namespace) => api.list(resource.roleBindings, { namespace }).items,
    };
  }

  allows(user: User, attributes: Attributes): boolean {
    return allowed(user, attributes, this.#objects);
  }

  rules(user: User, namespace: string | undefined): readonly Rule[] {
    return rulesOf(user, namespace, this.#objects);
  }

  /** What a binding would give its subjects. */
  rulesOfBinding(binding: KubeObject): readonly Rule[] {
    return rulesOfRole(binding, binding.metadata.namespace, this.#objects);
  }

  /** @throws StatusError 403 as kubectl shows it. */
  require(user: User, attributes: Attributes): void {
    if (this.allows(user, attributes)) return;
    if ('path' in attributes) {
      const { verb, path } = attributes;
      throw new StatusError('Forbidden', `forbidden: User "${user.name}" cannot ${verb} path "${path}"`, {});
    }
    const { verb, group, plural, subresource, namespace, name } = attributes;
    const what = subresource === undefined ? plural : `${plural}/${subresource}`;
    const where = namespace === undefined ? 'at the cluster scope' : `in the namespace "${namespace}"`;
    const qualified = group === '' ? plural : `${plural}.${group}`;
    throw new StatusError(
      'Forbidden',
      `${qualified}${name === undefined ? '' : ` "${name}"`} is forbidden: User "${user.name}" cannot ${verb} resource "${what}" in API group "${group}" ${where}`,
      { ...(name === undefined ? {} : { name }), ...(group === '' ? {} : { group }), kind: plural },
    );
  }
}
