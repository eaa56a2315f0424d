import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { catalogue } from './catalogue.ts';
import { envelopeSchema } from './message.ts';
import { wireHistory } from './version.ts';

function hashOfWire(): string {
  const options = { io: 'input', unrepresentable: 'any' } as const;
  const kinds = Object.entries(catalogue)
    .map(([kind, { names, asText, content }]) => [kind, names, asText, z.toJSONSchema(content, options)])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
  const text = JSON.stringify([z.toJSONSchema(envelopeSchema, options), kinds]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

test('the wire is what the history says; when you changed it on purpose, say so at the top of version.ts', () => {
  expect(wireHistory[0]?.hash).toBe(hashOfWire());
});

test('the history is newest first', () => {
  const dates = wireHistory.map(({ date }) => date);
  expect(dates).toEqual([...dates].sort().reverse());
});
