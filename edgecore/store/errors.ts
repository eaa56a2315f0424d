/** Errors of the edge's own database. */

import { HawserError } from '#protocol/errors.ts';

export class StoreError extends HawserError<
  | { code: 'closed' }
  /** More writes wait than the store takes; try again after a pause. */
  | { code: 'full'; waiting: number; limit: number }
  /** Nothing of the transaction was kept. */
  | { code: 'not-committed'; sqlite: string }
  | { code: 'in-use'; file: string }
  | { code: 'damaged'; file: string; reason: string }
  /** Sealed with another key, for another row, or damaged. */
  | { code: 'unsealable'; key: string }
  /** Written by a later version of this program. */
  | { code: 'newer'; file: string; found: number; known: number }
> {}
