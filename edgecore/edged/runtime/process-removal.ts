/** Takes an edge's processes off the machine. */

import type { Clock } from '#beehive/clock.ts';
import { isAlive, signal } from './process-identity.ts';
import { endAll } from './process-machine.ts';
import { ProcessState } from './process-state.ts';

/** Ends all that the state directory names and removes it; for taking an edge off the machine. */
export async function removeProcessRuntime(root: string, clock: Clock): Promise<void> {
  const state = new ProcessState(root);
  const found = state.containers().map((record) => ({ record, run: state.observe(record) }));
  for (const { run } of found) if (run.process !== undefined) signal(run.process, 'SIGTERM', 'group');
  const deadlineMs = clock.monotonicMs() + 5000;
  while (found.some(({ run }) => run.process && isAlive(run.process)) && clock.monotonicMs() < deadlineMs)
    await clock.sleep(50);
  for (const { record, run } of found) {
    endAll(record.id, run);
    if (run.shim !== undefined) signal(run.shim, 'SIGKILL', 'process');
  }
  const writer = state.writer();
  if (writer !== undefined) signal(writer, 'SIGKILL', 'process');
  for (const { id } of state.containers()) state.removeContainer(id);
  for (const { id } of state.sandboxes()) state.removeSandbox(id);
}
