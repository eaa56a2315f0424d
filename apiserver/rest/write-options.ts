/** What the query of a write says: who writes, how strictly fields are checked, whether it is only tried. */

import { fieldOf, type JsonValue, textAt, valueAt } from '../kube-object.ts';
import type { FieldValidation } from '../service/decode-object.ts';
import type { DeleteRequest } from '../service/deletion.ts';
import type { WriteContext } from '../service/write-context.ts';
import { badRequest } from '../status-error.ts';
import type { Exchange } from './exchange.ts';
import type { ResourceRequest } from './request-info.ts';

const longestManager = 128;

export function writeContext(exchange: Exchange<ResourceRequest>): WriteContext {
  const { query, info, user, request } = exchange;
  const agent = (request.headers['user-agent'] ?? '').split('/')[0] ?? '';
  const manager = (query.get('fieldManager') || agent || 'unknown').slice(0, longestManager);
  return {
    requester: user,
    manager,
    dryRun: isDryRun(query.getAll('dryRun')),
    ...(info.subresource === undefined ? {} : { subresource: info.subresource }),
  };
}

export function fieldValidationOf(query: URLSearchParams): FieldValidation {
  const value = query.get('fieldValidation') ?? '';
  switch (value) {
    case '':
      return 'Warn';
    case 'Strict':
    case 'Warn':
    case 'Ignore':
      return value;
    default:
      throw badRequest(
        `fieldValidation: Unsupported value: "${value.slice(0, 40)}": supported values: "Ignore", "Strict", "Warn"`,
      );
  }
}

export function isDryRun(values: readonly string[]): boolean {
  if (values.length === 0) return false;
  if (values.every((value) => value === 'All')) return true;
  throw badRequest('dryRun: Unsupported value: supported values: "All"');
}

const policies = ['Background', 'Foreground', 'Orphan'] as const;

/** DeleteOptions from the body, or from the query when there is no body. */
export function deleteRequest(
  query: URLSearchParams,
  body: JsonValue | undefined,
): { readonly request: DeleteRequest; readonly dryRun: boolean } {
  const text = (name: string) => textAt(body, name) ?? query.get(name) ?? undefined;
  const grace = fieldOf(body, 'gracePeriodSeconds') ?? numberOf(query.get('gracePeriodSeconds'));
  const policy = text('propagationPolicy');
  if (policy !== undefined && !(policies as readonly string[]).includes(policy)) {
    throw badRequest(`propagationPolicy: Unsupported value: "${policy.slice(0, 40)}"`);
  }
  const orphans = fieldOf(body, 'orphanDependents') === true;
  const dryRun = valueAt(body, 'dryRun');
  const tries = Array.isArray(dryRun) ? dryRun.map(String) : query.getAll('dryRun');
  return {
    dryRun: isDryRun(tries),
    request: {
      gracePeriodSeconds: typeof grace === 'number' ? grace : undefined,
      propagationPolicy: policies.find((each) => each === policy) ?? (orphans ? 'Orphan' : undefined),
      preconditions: {
        uid: textAt(body, 'preconditions', 'uid'),
        resourceVersion: textAt(body, 'preconditions', 'resourceVersion'),
      },
    },
  };
}

export function numberOf(text: string | null): number | undefined {
  if (text === null || text === '') return undefined;
  const number = Number(text);
  if (!Number.isSafeInteger(number)) throw badRequest(`"${text.slice(0, 40)}" is not a whole number`);
  return number;
}
