/**
 * A cloud of ours answers a report of status with no more than the object's new version, where nothing else has
 * changed; what it would have said besides is made here, of what is stored and what was reported. Pure.
 */

import { z } from 'zod';
import type { KubeObject } from '#protocol/resources/object.ts';

const statusSchema = z.looseObject({
  conditions: z.array(z.looseObject({ type: z.string() })).optional(),
});
const patchSchema = z.looseObject({ status: statusSchema });

/**
 * Undefined when what is stored is older than `since`: then something is still on its way, and its version must not be
 * claimed.
 */
export function afterReport(
  stored: KubeObject,
  report: unknown,
  { metadata: { uid, resourceVersion } }: KubeObject,
  since: string,
): KubeObject | undefined {
  const patch = readPatch(report);
  const held = stored.metadata.resourceVersion;
  if (patch === undefined || stored.metadata.uid !== uid || !isWithin(since, held, resourceVersion))
    return undefined;
  const before = statusSchema.catch({}).parse(stored.status);
  const told = new Set(patch.status.conditions?.map(({ type }) => type));
  const others = before.conditions?.filter(({ type }) => !told.has(type)) ?? [];
  const conditions = [...(patch.status.conditions ?? []), ...others];
  const status = { ...before, ...patch.status, ...(conditions.length === 0 ? {} : { conditions }) };
  return { ...stored, metadata: { ...stored.metadata, resourceVersion }, status };
}

/** Versions of one object in one API count up (an API that was restored is another epoch, and tells all). */
function isWithin(since: string, held: string | undefined, until: string | undefined): boolean {
  if (held === since) return true;
  const versions = [since, held, until].map((text) =>
    text !== undefined && /^\d{1,20}$/.test(text) ? BigInt(text) : undefined,
  );
  const [from, at, to] = versions;
  return from !== undefined && at !== undefined && to !== undefined && from <= at && at <= to;
}

function readPatch(report: unknown): z.infer<typeof patchSchema> | undefined {
  if (typeof report !== 'string') return undefined;
  try {
    return patchSchema.safeParse(JSON.parse(report)).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
