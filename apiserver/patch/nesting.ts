/** How deep a document may nest before anything recursive touches it. */

import type { JsonValue } from '../kube-object.ts';
import { badRequest } from '../status-error.ts';

export const maxNesting = 256;

/** @throws StatusError BadRequest for a document that nests deeper than any object of the API does. */
export function checkNesting(value: JsonValue): void {
  let level: readonly (JsonValue | undefined)[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > maxNesting) {
      throw badRequest(`the document nests deeper than ${maxNesting} levels; flatten it and send it again`);
    }
    level = level.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : []));
  }
}
