/** Runs the checks and says what came of them: for init and join before anything is touched, and for `debug check`. */

import { KeadmError } from '../errors.ts';
import type { Host } from '../host.ts';
import { check } from './checks.ts';
import { readFacts } from './facts.ts';
import { type Finding, formatFindings } from './finding.ts';
import type { Plan } from './plan.ts';

/** @param root where /proc, /sys and /etc are looked for. */
export async function findOut(plan: Plan, { clock }: Pick<Host, 'clock'>, root?: string): Promise<Finding[]> {
  return check(await readFacts(plan, { clock }, root), plan);
}

/**
 * Warnings are shown, and failures end the command unless they are among those to ignore (by name, or `all`).
 * @throws KeadmError `preflight`
 */
export async function preflight(
  plan: Plan,
  ignored: readonly string[],
  host: Pick<Host, 'clock' | 'steps'>,
  root?: string,
): Promise<void> {
  let shown: Finding[] = [];
  await host.steps.step('pre-flight', async () => {
    const findings = await findOut(plan, host, root);
    const bad = findings.filter(({ verdict }) => verdict !== 'pass');
    const isIgnored = ({ name }: Finding) => ignored.includes(name) || ignored.includes('all');
    const failed = bad.filter((each) => each.verdict === 'fail' && !isIgnored(each));
    shown = bad.filter((each) => !failed.includes(each));
    if (failed.length > 0) throw notReady(failed);
    return `${findings.length} checks, ${shown.length === 0 ? 'nothing to say' : `${shown.length} to know of`}`;
  });
  for (const line of formatFindings(shown)) host.steps.note(line);
}

function notReady(failed: readonly Finding[]): KeadmError {
  const names = failed.map(({ name }) => name);
  return new KeadmError(
    [
      'this machine is not ready:',
      ...formatFindings(failed),
      `  (--ignore-preflight-errors=${names.join(',')} goes on all the same)`,
    ].join('\n'),
    { code: 'preflight', failed: names },
  );
}
