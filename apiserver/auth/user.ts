/** Who a request comes from. */

import type { Requester } from '../strategies/strategy.ts';

export interface User extends Requester {
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export const allAuthenticated = 'system:authenticated';
export const masters = 'system:masters';

/** Who asks without saying who it is; may see health and version, nothing else. */
export const anonymous: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] };

const accountPrefix = 'system:serviceaccount:';

export function serviceAccountName(namespace: string, name: string): string {
  return `${accountPrefix}${namespace}:${name}`;
}
