/** The files of a container's log: the one that is written, and those that were renamed away beside it. */

import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { RuntimeError, type RuntimeService } from '../runtime/runtime-service.ts';

/** An ended container goes with its log. */
export async function removeContainer(
  runtime: Pick<RuntimeService, 'containerStatus' | 'removeContainer'>,
  id: string,
): Promise<void> {
  const logPath = await logPathOf(runtime, id);
  await runtime.removeContainer(id);
  if (logPath === '') return;
  for (const file of [logPath, ...(await renamedLogs(logPath))]) await rm(file, { force: true });
}

/** Oldest first. */
export async function renamedLogs(logPath: string): Promise<readonly string[]> {
  const prefix = `${basename(logPath)}.`;
  const names = await readdir(dirname(logPath)).catch(() => []);
  return names
    .filter((name) => name.startsWith(prefix))
    .sort()
    .map((name) => join(dirname(logPath), name));
}

async function logPathOf(runtime: Pick<RuntimeService, 'containerStatus'>, id: string): Promise<string> {
  try {
    return (await runtime.containerStatus(id)).logPath;
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'not-found') return '';
    throw error;
  }
}
