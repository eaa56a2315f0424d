/** `kubectl --as`: who may act for others, and as whom the request then goes on. Never ignored silently. */

import type { IncomingHttpHeaders } from 'node:http';
import { badRequest } from '../status-error.ts';
import type { Authorizer } from './authorizer.ts';
import { allAuthenticated, type User } from './user.ts';

/** @throws StatusError 403 unless the user may impersonate the other and each group. */
export function impersonated(user: User, headers: IncomingHttpHeaders, authorizer: Authorizer): User {
  const asked = Object.keys(headers).filter((name) => name.startsWith('impersonate-'));
  if (asked.length === 0) return user;
  const name = text(headers['impersonate-user']);
  if (name === '') throw badRequest('Impersonate-User is missing: groups alone cannot be impersonated');
  const unknown = asked.find((header) => header !== 'impersonate-user' && header !== 'impersonate-group');
  if (unknown !== undefined) throw badRequest(`the header ${unknown} is not served; leave it out`);

  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
  const [, namespace, accountName] = account ?? [];
  authorizer.require(user, {
    verb: 'impersonate',
    group: '',
    plural: account === null ? 'users' : 'serviceaccounts',
    namespace,
    name: accountName ?? name,
  });
  const groups = text(headers['impersonate-group'])
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '');
  for (const group of groups) {
    authorizer.require(user, { verb: 'impersonate', group: '', plural: 'groups', name: group });
  }
  const ofAccount =
    namespace === undefined ? [] : ['system:serviceaccounts', `system:serviceaccounts:${namespace}`];
  return { name, groups: [...new Set([...groups, ...ofAccount, allAuthenticated])] };
}

function text(value: string | string[] | undefined): string {
  return [value ?? ''].flat().join(',').trim();
}
