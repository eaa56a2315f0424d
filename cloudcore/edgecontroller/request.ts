/** What the rows of upstream.ts are made of: a request with its path taken apart, and how its kind is answered. */

import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import type { HeldVersion } from '#cloudcore/kube/difference.ts';
import { failureStatus, type KubeApi, KubeError, type Status } from '#cloudcore/kube/kube-api.ts';
import type { ObjectCache } from '#cloudcore/kube/objects.ts';
import type { Sender } from '#cloudcore/kube/sender.ts';
import type { Envelope } from '#protocol/message.ts';
import type { ObjectPath } from '#protocol/resource-path.ts';
import type { KubeObject } from '#protocol/resources/object.ts';
import type { ReadCertificateRequest } from './upstream-certificates.ts';

export interface UpstreamComponents {
  readonly api: KubeApi;
  readonly cache: ObjectCache;
  readonly sender: Sender;
  readonly clock: Clock;
  readonly log: Log;
  /** In PEM; undefined: nobody told. */
  readonly kubernetesCa: string | undefined;
  readonly readCertificateRequest: ReadCertificateRequest;
  /** The parts of downstream that a request sets off. */
  readonly downstream: {
    registeredAgain(node: string): void;
    isOurs(node: string): boolean;
    answers(node: string, path: string, held: HeldVersion): Promise<void>;
  };
}

/** One request of a node, with its name and path taken apart. */
export interface Request {
  readonly node: string;
  readonly path: ObjectPath & { readonly name: string };
  readonly content: unknown;
  readonly envelope: Envelope;
}

/** How a kind is answered: ObjectResp, the bare object (failures as operation `error`), "OK", or not at all. */
export type Form = 'objectResp' | 'bare' | 'ok' | 'none';

export type Answer = KubeObject | string | undefined;

export interface Row {
  readonly form: Form;
  /** The type whose status the edge reports: one of ours is answered without what it has anyway. */
  readonly reports?: 'node' | 'pod';
  /** Who answers, where it is not EdgeController. */
  readonly source?: string;
  /** What to answer with; undefined where the form needs nothing. */
  readonly run: (request: Request, components: UpstreamComponents) => Promise<Answer>;
  /** Runs after the answer has been handed over. */
  readonly after?: (request: Request, components: UpstreamComponents, failure: Status | undefined) => void;
}

export function forbidden(reason: string): KubeError {
  return new KubeError('forbidden', failureStatus(403, 'Forbidden', reason));
}

export function badRequest(message: string): KubeError {
  return new KubeError('invalid', failureStatus(400, 'BadRequest', message));
}
