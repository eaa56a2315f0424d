/** A refusal as Kubernetes clients read it: thrown anywhere below a request, answered as a metav1.Status. */

import { HawserError } from '#protocol/errors.ts';
import type { JsonObject } from './kube-object.ts';
import { qualifiedName, type ResourceDefinition } from './resource-definition.ts';

export interface StatusCause extends JsonObject {
  /** FieldValueRequired, FieldValueInvalid, FieldValueNotSupported, FieldManagerConflict, UnexpectedServerResponse … */
  reason: string;
  message: string;
  field?: string;
}

export interface StatusDetails extends JsonObject {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}

/** metav1.Status */
export interface Status extends JsonObject {
  kind: 'Status';
  apiVersion: 'v1';
  metadata: JsonObject;
  status: 'Success' | 'Failure';
  message?: string;
  reason?: string;
  details?: StatusDetails;
  code: number;
}

export type StatusReason =
  | 'Unauthorized'
  | 'Forbidden'
  | 'NotFound'
  | 'AlreadyExists'
  | 'Conflict'
  | 'Gone'
  | 'Expired'
  | 'Invalid'
  | 'Timeout'
  | 'TooManyRequests'
  | 'BadRequest'
  | 'MethodNotAllowed'
  | 'NotAcceptable'
  | 'RequestEntityTooLarge'
  | 'UnsupportedMediaType'
  | 'InternalError'
  | 'ServiceUnavailable'
  | 'NotImplemented';

const statusCodes: Record<StatusReason, number> = {
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  AlreadyExists: 409,
  Conflict: 409,
  Gone: 410,
  Expired: 410,
  Invalid: 422,
  Timeout: 504,
  TooManyRequests: 429,
  BadRequest: 400,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  RequestEntityTooLarge: 413,
  UnsupportedMediaType: 415,
  InternalError: 500,
  ServiceUnavailable: 503,
  NotImplemented: 501,
};

export class StatusError extends HawserError<{
  code: 'status';
  reason: StatusReason;
  details?: StatusDetails;
}> {
  constructor(reason: StatusReason, message: string, details?: StatusDetails, cause?: unknown) {
    super(message, { code: 'status', reason, ...(details === undefined ? {} : { details }) }, { cause });
  }

  get reason(): StatusReason {
    return this.detail.reason;
  }

  get httpStatus(): number {
    return statusCodes[this.detail.reason];
  }

  toStatus(): Status {
    const { reason, details } = this.detail;
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      reason,
      ...(details === undefined ? {} : { details }),
      code: this.httpStatus,
    };
  }
}

type Named = Pick<ResourceDefinition, 'group' | 'plural'>;

function detailsOf(resource: Named, name: string, kind?: string): StatusDetails {
  return {
    ...(name === '' ? {} : { name }),
    ...(resource.group === '' ? {} : { group: resource.group }),
    kind: kind ?? resource.plural,
  };
}

export function notFound(resource: Named, name: string): StatusError {
  return new StatusError(
    'NotFound',
    `${qualifiedName(resource)} "${name}" not found`,
    detailsOf(resource, name),
  );
}

export function alreadyExists(resource: Named, name: string): StatusError {
  const message = `${qualifiedName(resource)} "${name}" already exists`;
  return new StatusError('AlreadyExists', message, detailsOf(resource, name));
}

export function conflict(resource: Named, name: string, why: string, causes?: StatusCause[]): StatusError {
  const message = `Operation cannot be fulfilled on ${qualifiedName(resource)} "${name}": ${why}`;
  return new StatusError('Conflict', message, {
    ...detailsOf(resource, name),
    ...(causes === undefined ? {} : { causes }),
  });
}

export function badRequest(message: string, cause?: unknown): StatusError {
  return new StatusError('BadRequest', message, undefined, cause);
}

/** Named in one answer; how many there are beyond is said. */
const causesMax = 100;

/** 422 with one cause per wrong field. */
export function invalid(
  definition: Pick<ResourceDefinition, 'group' | 'kind'>,
  name: string,
  found: readonly StatusCause[],
): StatusError {
  const causes = found.slice(0, causesMax);
  const kind = definition.group === '' ? definition.kind : `${definition.kind}.${definition.group}`;
  const listed = causes.map(({ field, message }) => (field === undefined ? message : `${field}: ${message}`));
  if (found.length > causesMax) listed.push(`and ${found.length - causesMax} more`);
  const text = listed.length === 1 ? listed[0] : `[${listed.join(', ')}]`;
  return new StatusError('Invalid', `${kind} "${name}" is invalid: ${text}`, {
    ...(name === '' ? {} : { name }),
    ...(definition.group === '' ? {} : { group: definition.group }),
    kind: definition.kind,
    causes,
  });
}

export function isNotFound(error: unknown): boolean {
  return error instanceof StatusError && error.reason === 'NotFound';
}

export function isConflict(error: unknown): boolean {
  return error instanceof StatusError && error.reason === 'Conflict';
}

export function isAlreadyExists(error: unknown): boolean {
  return error instanceof StatusError && error.reason === 'AlreadyExists';
}
