/**
 * The Kubernetes API as Hawser uses it: generic verbs over any resource, and one error with a code to act on.
 * client.ts speaks it over HTTP, memory-kube-api.ts is for tests; both pass test/suites/kube-api.suite.ts.
 */

import { z } from 'zod';
import { HawserError } from '#protocol/errors.ts';
import type { KubeObject } from '#protocol/resources/object.ts';

/** A collection: all objects of a resource, in one namespace or (without one) cluster-wide. */
export interface ResourceRef {
  /** `v1`, `devices.kubeedge.io/v1beta1` */
  readonly apiVersion: string;
  /** `pods`, `devices` */
  readonly plural: string;
  readonly namespace?: string | undefined;
}

export interface ObjectRef extends ResourceRef {
  readonly name: string;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface SelectorOptions extends CallOptions {
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Ask for PartialObjectMetadata only: no bodies cross the network or stay in memory. */
  readonly metadataOnly?: boolean | undefined;
}

export interface ListOptions extends SelectorOptions {
  /** Page size; `continueToken` of the answer asks for the next. */
  readonly limit?: number | undefined;
  readonly continueToken?: string | undefined;
  /** `'0'`: any version that the server has at hand. */
  readonly resourceVersion?: string | undefined;
}

export interface WatchOptions extends SelectorOptions {
  /** Events after this version; `gone` when the server has forgotten it. */
  readonly resourceVersion?: string | undefined;
  /** The server ends the watch after about this time, without an error. */
  readonly timeoutSeconds?: number | undefined;
}

export interface WriteOptions extends CallOptions {
  /** `status`, `binding`, `eviction` … */
  readonly subresource?: string | undefined;
  readonly fieldManager?: string | undefined;
}

export interface PatchOptions extends WriteOptions {
  /** For `apply`: take over fields of other managers. */
  readonly force?: boolean | undefined;
}

export type PatchType = 'merge' | 'strategic' | 'json' | 'apply';

export interface DeleteOptions extends CallOptions {
  readonly gracePeriodSeconds?: number | undefined;
  /** `conflict` unless the stored object has this uid / version. */
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string } | undefined;
  readonly propagationPolicy?: 'Foreground' | 'Background' | 'Orphan' | undefined;
}

export interface ObjectList {
  readonly items: readonly KubeObject[];
  /** Version of the whole list: where a watch goes on. */
  readonly resourceVersion: string;
  readonly continueToken?: string | undefined;
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: KubeObject;
}

/** Every call rejects with KubeError, or CancelledError when its signal was aborted. */
export interface KubeApi {
  get(ref: ObjectRef, options?: CallOptions): Promise<KubeObject>;
  list(ref: ResourceRef, options?: ListOptions): Promise<ObjectList>;
  /** Ends without an error when the server ends it; throws KubeError `gone` when the version is too old. */
  watch(ref: ResourceRef, options?: WatchOptions): AsyncIterable<WatchEvent>;
  /** With a subresource (`binding`) the object's own name says which. */
  create(ref: ResourceRef, object: unknown, options?: WriteOptions): Promise<KubeObject>;
  replace(ref: ObjectRef, object: unknown, options?: WriteOptions): Promise<KubeObject>;
  /** `patch` is the document itself, or its JSON text as it came from an edge. */
  patch(ref: ObjectRef, type: PatchType, patch: unknown, options?: PatchOptions): Promise<KubeObject>;
  delete(ref: ObjectRef, options?: DeleteOptions): Promise<void>;
  /** TokenRequest for a service account; the answer carries `status.token`. */
  createToken(
    account: { readonly namespace: string; readonly name: string },
    request: unknown,
    options?: CallOptions,
  ): Promise<KubeObject>;
  /** `gitVersion` of the server. */
  serverVersion(options?: CallOptions): Promise<string>;
}

/** metav1.Status, as far as it is read; it is passed on to the edge as it came. */
export const statusSchema = z.looseObject({
  kind: z.string().optional(),
  apiVersion: z.string().optional(),
  metadata: z.looseObject({}).default({}),
  status: z.string().default('Failure'),
  message: z.string().default(''),
  reason: z.string().default(''),
  details: z.looseObject({}).optional(),
  code: z.number().default(500),
});

export type Status = z.infer<typeof statusSchema>;

export type KubeErrorCode =
  | 'notFound'
  | 'alreadyExists'
  | 'conflict'
  | 'gone'
  | 'forbidden'
  | 'unauthorized'
  | 'invalid'
  | 'unsupported'
  | 'throttled'
  | 'internal'
  | 'unreachable';

const retryable: ReadonlySet<KubeErrorCode> = new Set(['throttled', 'internal', 'unreachable']);

/** A refused or failed call. `status` is what the server said; for `unreachable` it is one made up here. */
export class KubeError extends HawserError<{
  readonly code: KubeErrorCode;
  readonly status: Status;
  /** What the server asked to wait, if it did. */
  readonly retryAfterMs?: number | undefined;
}> {
  constructor(
    code: KubeErrorCode,
    status: Status,
    options: { cause?: unknown; retryAfterMs?: number | undefined } = {},
  ) {
    super(
      status.message || `Kubernetes API: ${status.reason || code}`,
      { code, status, retryAfterMs: options.retryAfterMs },
      { retry: retryable.has(code) ? 'backoff' : 'never', cause: options.cause },
    );
  }

  get status(): Status {
    return this.detail.status;
  }
}

/** The code of a Status: by reason first, since one HTTP code covers several. */
export function codeOfStatus(status: Status): KubeErrorCode {
  switch (status.reason) {
    case 'NotFound':
      return 'notFound';
    case 'AlreadyExists':
      return 'alreadyExists';
    case 'Conflict':
      return 'conflict';
    case 'Gone':
    case 'Expired':
      return 'gone';
    case 'Forbidden':
      return 'forbidden';
    case 'Unauthorized':
      return 'unauthorized';
    case 'Invalid':
    case 'BadRequest':
      return 'invalid';
    case 'TooManyRequests':
      return 'throttled';
    case 'ServerTimeout':
    case 'ServiceUnavailable':
    case 'Timeout':
      return 'unreachable';
  }
  return codeOfHttp(status.code);
}

function codeOfHttp(code: number): KubeErrorCode {
  switch (code) {
    case 400:
    case 422:
      return 'invalid';
    case 401:
      return 'unauthorized';
    case 403:
      return 'forbidden';
    case 404:
      return 'notFound';
    case 409:
      return 'conflict';
    case 410:
      return 'gone';
    case 405:
    case 406:
    case 415:
      return 'unsupported';
    case 429:
      return 'throttled';
    case 502:
    case 503:
    case 504:
      return 'unreachable';
    default:
      return 'internal';
  }
}

/** A Status of our own making. */
export function failureStatus(code: number, reason: string, message: string, details?: object): Status {
  return {
    metadata: {},
    status: 'Failure',
    message,
    reason,
    ...(details === undefined ? {} : { details: { ...details } }),
    code,
  };
}

export const isNotFound = (error: unknown) => hasCode(error, 'notFound');
export const isAlreadyExists = (error: unknown) => hasCode(error, 'alreadyExists');
export const isConflict = (error: unknown) => hasCode(error, 'conflict');
export const isGone = (error: unknown) => hasCode(error, 'gone');
export const isUnreachable = (error: unknown) => hasCode(error, 'unreachable');

function hasCode(error: unknown, code: KubeErrorCode): error is KubeError {
  return error instanceof KubeError && error.code === code;
}
