/**
 * What this edge has decided about a pod, in the pod's directory: the cloud may hear of it only after a restart, and
 * until then its status does not say that the pod has ended. It goes with the directory.
 */

import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { PodVerdict } from './plan.ts';

const verdictSchema = z.object({
  phase: z.enum(['Failed', 'Succeeded']),
  reason: z.string(),
  message: z.string(),
  graceMs: z.number().optional(),
});

const fileOf = (directory: string) => join(directory, 'verdict.json');

/** @throws what the file system says: a full disk, for example. */
export function keepVerdict(directory: string, verdict: PodVerdict): void {
  mkdirSync(directory, { recursive: true });
  const fresh = `${fileOf(directory)}.new`;
  const file = openSync(fresh, 'w', 0o600);
  try {
    writeSync(file, JSON.stringify(verdict));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(fresh, fileOf(directory));
}

/** Undefined: none was kept, or it cannot be read. */
export function keptVerdict(directory: string): PodVerdict | undefined {
  try {
    return verdictSchema.parse(JSON.parse(readFileSync(fileOf(directory), 'utf8')));
  } catch {
    return undefined;
  }
}
