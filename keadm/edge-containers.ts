/** Ends the pods of an edge that is taken away: they outlive edgecore on purpose. */

import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { processRuntimeRoot, protoFileOf, removeContainers } from '#edgecore/edged/runtime/choose-runtime.ts';
import { removeProcessRuntime } from '#edgecore/edged/runtime/process-removal.ts';
import { createMachineMounts } from '#edgecore/edged/volumes/machine-mounts.ts';
import { secretDirectories } from '#edgecore/edged/volumes/secret-directory.ts';
import type { EdgeLayout } from './layout.ts';

/** False when there were none. */
export async function stopEdgeContainers(layout: EdgeLayout): Promise<boolean> {
  const components = { clock: systemClock, log: silentLog };
  const hadContainers = await removeContainers(layout.podDir, protoFileOf(packageRoot()), components);
  const root = processRuntimeRoot(layout.podDir);
  if (!existsSync(root)) return hadContainers;
  await removeProcessRuntime(root, systemClock);
  return true;
}

/**
 * What of the volumes lies in memory, and what is mounted below them: once the pods have ended nobody needs it, and
 * deleting through a mount would delete what it leads to. @throws MountError when something stays mounted.
 */
export async function clearVolumes(layout: EdgeLayout): Promise<void> {
  const mounts = createMachineMounts();
  if (mounts.allowed) await mounts.unmountBelow(layout.podDir);
  for (const directory of secretDirectories(layout.podDir))
    await rm(directory, { recursive: true, force: true });
}
