/** Values between the texts of a twin and the types of a driver. */

import type { Scalar } from '#protocol/dmi/any-value.ts';

/** As the twin writes it: floats without an exponent, what is no scalar as JSON. */
export function toText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (typeof value !== 'number') return JSON.stringify(value) ?? '';
  const text = String(value);
  return /e/.test(text)
    ? value.toLocaleString('en', { useGrouping: false, maximumSignificantDigits: 17 })
    : text;
}

/** Undefined when the text is not of the type. */
export function fromText(type: string, text: string): Scalar | undefined {
  switch (type) {
    case 'int':
      return /^[+-]?\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
    case 'float':
    case 'double':
      return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : undefined;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : undefined;
    case 'string':
      return text;
    default:
      return undefined;
  }
}

/** `YYYY-MM-DD hh:mm:ss`, UTC: how pushes write a time. */
export function pushTime(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 19).replace('T', ' ');
}
