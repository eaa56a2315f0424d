/** Why a join token is refused. The message goes to who wants to join, and says what to do. */

import { HawserError } from '#protocol/errors.ts';

export class TokenError extends HawserError<
  | { code: 'token-malformed' }
  | { code: 'token-expired'; expiredAgoMs: number }
  | { code: 'token-signature' }
  | { code: 'token-revoked' }
  | { code: 'token-used-up'; uses: number }
  | { code: 'token-node'; node: string }
> {}
