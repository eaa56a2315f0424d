/** Patches come from edges as JSON text (wire 4.4): read with limits before they go to the API. */

import { z } from 'zod';
import { frameLimits } from '#protocol/limits.ts';
import { parseJson } from '#protocol/wire/json.ts';
import { badRequest } from './request.ts';

const patchSchema = z.looseObject({
  metadata: z.looseObject({ uid: z.string().optional() }).optional(),
});

export type Patch = z.infer<typeof patchSchema>;

/** @throws KubeError `invalid`; ProtocolError when it is no JSON */
export function readPatch(content: unknown): Patch {
  if (typeof content !== 'string') throw badRequest('a patch is sent as text');
  const parsed = patchSchema.safeParse(parseJson(content, frameLimits));
  if (!parsed.success) throw badRequest('a patch is a JSON object');
  return parsed.data;
}

/** @throws KubeError `invalid` */
export function readContent<S extends z.ZodType>(schema: S, content: unknown, what: string): z.infer<S> {
  const parsed = schema.safeParse(content);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.slice(0, 5).map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw badRequest(`not a ${what}: ${issues.join('; ')}`);
}
