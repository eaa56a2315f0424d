/** `--pre-run` and `--post-run`: a program of the operator's, run before or after the work, in sight. */

import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { KeadmError } from './errors.ts';
import type { Steps } from './steps.ts';

/** @throws KeadmError `hook-failed` when it cannot be run, or ends with another code than 0 */
export async function runHook(
  flag: '--pre-run' | '--post-run',
  file: string | undefined,
  steps: Steps,
): Promise<void> {
  if (file === undefined) return;
  await steps.step(`${flag} ${file}`, async () => {
    const code = await new Promise<number | string>((done) => {
      const child = spawn(resolve(file), [], { stdio: ['ignore', 'inherit', 'inherit'] });
      child.once('error', (error) => done(error.message));
      child.once('close', (exitCode, signal) => done(exitCode ?? signal ?? 'no code'));
    });
    if (code === 0) return undefined;
    throw new KeadmError(`${flag} ${file} ended with ${code}; mend it, or leave the flag away`, {
      code: 'hook-failed',
      flag,
      file,
    });
  });
}
