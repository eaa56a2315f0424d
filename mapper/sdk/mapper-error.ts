/** What a mapper refuses, in words for who asked. */

import { HawserError } from '#protocol/errors.ts';

export class MapperError extends HawserError<{
  code: 'refused' | 'unknown' | 'busy' | 'timeout' | 'not-sent' | 'unavailable';
}> {}
