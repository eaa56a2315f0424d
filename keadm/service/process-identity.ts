/** A process told from a later one with the same number: pid and the tick it started at (Linux /proc). */

import { readFile } from 'node:fs/promises';
import { z } from 'zod';

export const processIdentitySchema = z.object({ pid: z.number().int().positive(), startTick: z.string() });
export type ProcessIdentity = z.infer<typeof processIdentitySchema>;

/** Undefined when no such process lives. A zombie does not live. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The command name may hold spaces and brackets; fields count from behind its closing bracket (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startTick = fields[19];
  return startTick === undefined || fields[0] === 'Z' ? undefined : { pid, startTick };
}

export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const now = await identifyProcess(identity.pid);
  return now !== undefined && now.startTick === identity.startTick;
}
