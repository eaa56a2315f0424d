/** HTTP as it crosses the wire for rules (wire 9): header lists, a body in base64; and which headers go past a hop. */

import { validateHeaderName, validateHeaderValue } from 'node:http';
import { z } from 'zod';

/** Go writes what is empty as null. */
const headerSchema = z
  .record(z.string(), z.array(z.string()).nullable())
  .nullish()
  .transform((header) => header ?? {});
const bodySchema = z
  .string()
  .nullish()
  .transform((body) => body ?? '');

export const httpRequestSchema = z.looseObject({
  header: headerSchema,
  /** Base64. */
  body: bodySchema,
  method: z.string().default(''),
  url: z.string().default(''),
});

export const httpResponseSchema = z.looseObject({
  header: headerSchema,
  status_code: z.number().int().min(100).max(999),
  body: bodySchema,
});

/** Names and values in the order they came, as Node's `rawHeaders` without the flattening. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** They speak of one connection, or are told anew by who sends the message on (RFC 9110, 7.6.1). */
const ofOneHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'host',
  'content-length',
  'expect',
]);

/** What may go past this hop: well formed, and not about the connection it came by. */
export function endToEnd(headers: HeaderList): HeaderList {
  const named = headers
    .filter(([name]) => name.toLowerCase() === 'connection')
    .flatMap(([, value]) => value.split(',').map((one) => one.trim().toLowerCase()));
  return headers.filter(([name, value]) => {
    const lower = name.toLowerCase();
    return !ofOneHop.has(lower) && !named.includes(lower) && isWellFormed(name, value);
  });
}

export function headerList(header: Readonly<Record<string, readonly string[] | null>>): HeaderList {
  return Object.entries(header).flatMap(([name, values]) =>
    (values ?? []).map((value) => [name, value] as const),
  );
}

/** Several values of one name stay several. */
export function headerRecord(headers: HeaderList): Record<string, string[]> {
  const record = new Map<string, string[]>();
  for (const [name, value] of headers) record.set(name, [...(record.get(name) ?? []), value]);
  return Object.fromEntries(record);
}

/** From Node's `rawHeaders`. */
export function pairs(rawHeaders: readonly string[]): HeaderList {
  const found: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2)
    found.push([rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '']);
  return found;
}

function isWellFormed(name: string, value: string): boolean {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return true;
  } catch {
    return false;
  }
}
