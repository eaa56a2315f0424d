/** A call between edge and mapper that was refused or not answered; apart from rpc.ts, which loads gRPC. */

import { HawserError } from '../errors.ts';

export type RpcStatus =
  | 'CANCELLED'
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED';

/** The message is the one who refused's own. */
export class RpcError extends HawserError<{ code: 'rpc'; status: RpcStatus; method: string }> {
  get status(): RpcStatus {
    return this.detail.status;
  }

  /** Whether the peer is not there, as against there and unwilling. */
  get isAway(): boolean {
    return (
      this.status === 'UNAVAILABLE' || this.status === 'DEADLINE_EXCEEDED' || this.status === 'CANCELLED'
    );
  }
}
