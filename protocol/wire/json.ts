/**
 * JSON from outside, made harmless: bounded in bytes and depth, and without `__proto__` keys, which some code
 * down the line would assign. They are dropped, not refused, so that one odd key does not hold up its object.
 * Integers beyond 2^53 lose digits, as they do at KubeEdge's ends; versions and quantities are strings.
 */

import { ProtocolError } from '../errors.ts';

export interface JsonLimits {
  readonly bytesMax: number;
  readonly depthMax: number;
}

/** @throws ProtocolError `frame-too-large`, `malformed-frame` */
export function parseJson(text: string, limits: JsonLimits): unknown {
  checkBytes(text, limits.bytesMax);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ProtocolError(
      `not JSON: ${text.slice(0, 80)}`,
      { code: 'malformed-frame', reason: 'not JSON' },
      { cause: error },
    );
  }
  clean(value, limits.depthMax);
  return value;
}

/** @throws ProtocolError `frame-too-large` */
export function checkBytes(text: string, bytesMax: number): void {
  // A UTF-16 unit takes one to three bytes, so short texts need no counting.
  if (text.length * 3 <= bytesMax) return;
  const bytes = Buffer.byteLength(text);
  if (bytes > bytesMax) {
    throw new ProtocolError(`${bytes} bytes where at most ${bytesMax} are allowed`, {
      code: 'frame-too-large',
      bytes,
      limitBytes: bytesMax,
    });
  }
}

function clean(value: unknown, depthLeft: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (depthLeft === 0) {
    throw new ProtocolError('JSON is nested too deep', { code: 'malformed-frame', reason: 'too deep' });
  }
  if (Array.isArray(value)) {
    for (const item of value) clean(item, depthLeft - 1);
    return;
  }
  if (Object.hasOwn(value, '__proto__')) Reflect.deleteProperty(value, '__proto__');
  for (const item of Object.values(value)) clean(item, depthLeft - 1);
}
