/**
 * What is special about a kind when its objects are written. A strategy works on drafts (the server's own copy
 * of what was sent) and knows nothing of storage, versions or users.
 */

import type { KubeObject } from '../kube-object.ts';
import type { StatusCause } from '../status-error.ts';

export interface Requester {
  readonly name: string;
  readonly uid?: string | undefined;
  readonly groups: readonly string[];
}

export interface Strategy {
  /** Fills in what was left out, on creates and updates alike. */
  defaults?(draft: KubeObject): void;
  /** Puts a new object into its first state; `now` as API objects write times. */
  created?(draft: KubeObject, requester: Requester, now: string): void;
  /** Takes back what an update of the main resource must not change silently. */
  updated?(draft: KubeObject, current: KubeObject): void;
  validate?(draft: KubeObject): StatusCause[];
  validateUpdate?(draft: KubeObject, current: KubeObject): StatusCause[];
  /** A PUT of an object that is not there creates it. */
  readonly createOnUpdate?: boolean;
  /** `metadata.generation` counts changes of everything but metadata and status. */
  readonly generation?: boolean;
  /** A new object keeps the status it was sent with. */
  readonly keepsStatus?: boolean;
  /** What names may look like; RFC 1123 subdomain if not said. */
  readonly names?: 'label' | 'path';
}

export function required(field: string, what = 'Required value'): StatusCause {
  return { reason: 'FieldValueRequired', message: what, field };
}

export function wrong(field: string, value: unknown, why: string): StatusCause {
  const shown =
    typeof value === 'object' ? JSON.stringify(value) : typeof value === 'string' ? `"${value}"` : value;
  return {
    reason: 'FieldValueInvalid',
    message: `Invalid value: ${String(shown).slice(0, 200)}: ${why}`,
    field,
  };
}

export function unsupported(field: string, value: unknown, supported: readonly string[]): StatusCause {
  const listed = supported.map((each) => `"${each}"`).join(', ');
  return {
    reason: 'FieldValueNotSupported',
    message: `Unsupported value: "${String(value)}": supported values: ${listed}`,
    field,
  };
}

export function forbidden(field: string, why: string): StatusCause {
  return { reason: 'FieldValueForbidden', message: `Forbidden: ${why}`, field };
}
