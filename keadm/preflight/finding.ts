/** What pre-flight finds: each with a verdict and, unless all is well, with what to do about it. */

export type Verdict = 'pass' | 'warn' | 'fail';

/** The words that `keadm debug check` takes; `--ignore-preflight-errors` takes the names of findings. */
export const subjects = [
  'arch',
  'cpu',
  'mem',
  'disk',
  'dns',
  'network',
  'pid',
  'runtime',
  'security',
  'time',
  'name',
] as const;

export type Subject = (typeof subjects)[number];

export interface Finding {
  readonly name: string;
  readonly subject: Subject;
  readonly verdict: Verdict;
  readonly text: string;
  readonly fix?: string;
}

export function pass(name: string, subject: Subject, text: string): Finding {
  return { name, subject, verdict: 'pass', text };
}

export function finding(
  name: string,
  subject: Subject,
  verdict: Verdict,
  text: string,
  fix: string,
): Finding {
  return { name, subject, verdict, text, fix };
}

const marks: Readonly<Record<Verdict, string>> = { pass: '✓', warn: '!', fail: '✗' };

/** One line each, with the fix below. */
export function formatFindings(findings: readonly Finding[]): string[] {
  const width = Math.max(0, ...findings.map(({ name }) => name.length));
  return findings.flatMap(({ name, verdict, text, fix }) => [
    `  ${marks[verdict]} ${name.padEnd(width)}  ${text}`,
    ...(fix === undefined ? [] : [`    ${' '.repeat(width)}  → ${fix}`]),
  ]);
}
