/**
 * Paths of rules: segments that stand for themselves, or `{name}` for any one segment. Matched from the first segment on,
 * segment by segment and so in one pass; what follows the pattern is the rest of the request.
 */

import { ruleLimits } from '#protocol/limits.ts';

export interface PathPattern {
  /** Undefined: any one segment. */
  readonly segments: readonly (string | undefined)[];
  /** Equal for patterns that match the same paths. */
  readonly key: string;
}

/** The pattern, or what is wrong with it. */
export function parsePathPattern(text: string): PathPattern | string {
  const { resourceCharsMax, pathSegmentsMax } = ruleLimits;
  if (text.length > resourceCharsMax) return `a path has at most ${resourceCharsMax} characters`;
  const trimmed = text.replace(/^\//, '').replace(/\/$/, '');
  const parts = trimmed === '' ? [] : trimmed.split('/');
  if (parts.length > pathSegmentsMax) return `a path has at most ${pathSegmentsMax} segments`;
  const segments: (string | undefined)[] = [];
  for (const part of parts) {
    if (part === '') return `"${text.slice(0, 100)}" has an empty segment`;
    if (part === '.' || part === '..') return `"${text.slice(0, 100)}" has a segment that leads elsewhere`;
    if (/^\{[^{}]*\}$/.test(part)) segments.push(undefined);
    else if (/[{}]/.test(part))
      return `in "${text.slice(0, 100)}" a {parameter} does not stand alone between slashes`;
    else if (/[?#\s]/.test(part)) return `"${text.slice(0, 100)}" has a character that no path has`;
    else segments.push(part);
  }
  return { segments, key: segments.map((one) => one ?? '{}').join('/') };
}

/** How many segments the pattern takes; undefined when it does not match. */
export function matchPath({ segments }: PathPattern, asked: readonly string[]): number | undefined {
  if (segments.length > asked.length) return undefined;
  for (const [at, wanted] of segments.entries()) {
    const found = asked[at];
    if (found === undefined || found === '') return undefined;
    if (wanted !== undefined && wanted !== found && wanted !== decoded(found)) return undefined;
  }
  return segments.length;
}

/** Whether the first is the more particular of two that match: an earlier literal counts, then length. */
export function isMoreParticular(one: PathPattern, other: PathPattern): boolean {
  for (const [at, segment] of one.segments.entries()) {
    if (at >= other.segments.length) return true;
    const [here, there] = [segment !== undefined, other.segments[at] !== undefined];
    if (here !== there) return here;
  }
  return false;
}

/** As it came when its escapes are none. */
export function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
