/** Ends the pods of an edge that is taken away: they outlive edgecore on purpose. */

import { existsSync } from 'node:fs';
import { systemClock } from '#beehive/clock.ts';
import { processRuntimeRoot } from '#edgecore/edged/runtime/choose-runtime.ts';
import { removeProcessRuntime } from '#edgecore/edged/runtime/process-runtime.ts';
import type { EdgeLayout } from './layout.ts';

/** False when there were none. */
export async function stopEdgeContainers(layout: EdgeLayout): Promise<boolean> {
  const root = processRuntimeRoot(layout.podDir);
  if (!existsSync(root)) return false;
  await removeProcessRuntime(root, systemClock);
  return true;
}
