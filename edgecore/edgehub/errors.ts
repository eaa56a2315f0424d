/** Why an edge has no certificate. Each message names the next step; `keadm join` prints them as they are. */

import { HawserError } from '#protocol/errors.ts';

export class CredentialError extends HawserError<
  | { code: 'no-token' }
  | { code: 'malformed-token' }
  | { code: 'expired-token'; expiredAgoMs: number }
  | { code: 'wrong-ca-hash'; expected: string; found: string }
  /** cloudcore answered, and does not sign. */
  | { code: 'refused'; status: number; body: string }
  | { code: 'unreachable'; url: string }
  /** Somebody answers whom the CA of the token does not know, or who has another name. */
  | { code: 'untrusted'; url: string }
  | { code: 'bad-answer'; url: string; reason: string }
> {}
