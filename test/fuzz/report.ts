/** What a fuzzing run tells of itself, also while it runs, and what may be concluded from it. */

export interface TargetReport {
  readonly name: string;
  readonly cases: number;
  readonly taken: number;
  readonly refused: number;
  /** Of the processor. */
  readonly slowestMs: number;
  readonly seconds: number;
}

export interface FuzzReport {
  /** `runs`: more cases follow, and servers are still open. */
  readonly state: 'runs' | 'done';
  readonly seed: number;
  readonly at: string;
  readonly targets: readonly TargetReport[];
  readonly faults: readonly string[];
  /** Bytes after collection; before: when the process was warm, see main.ts. */
  readonly heapBefore: number;
  readonly heapAfter: number;
}

const heapGrowthMax = 0.1;
/** Time of the processor, and far above what any case needs: a megabyte of hostile text is refused within 600 ms. */
const slowestMaxMs = 4_000;

/** What must hold of a run, said as what does not; empty when all is well. */
export function complaintsOf(report: FuzzReport): string[] {
  const complaints = [...report.faults];
  const growth = report.heapAfter / report.heapBefore - 1;
  if (growth > heapGrowthMax) complaints.push(`the heap grew by ${(growth * 100).toFixed(1)} %`);
  for (const { name, taken, refused, slowestMs } of report.targets) {
    if (taken === 0 || refused === 0)
      complaints.push(`${name}: ${taken} taken, ${refused} refused: it tests nothing`);
    if (slowestMs > slowestMaxMs) complaints.push(`${name}: one case took ${slowestMs} ms`);
  }
  return complaints;
}

export function caseCount(report: FuzzReport): number {
  return report.targets.reduce((sum, target) => sum + target.cases, 0);
}

/** The reports of the processes of one run as docs/fuzzing.md records them. */
export function recordOf(reports: readonly FuzzReport[], minutes: number): string {
  const all = reports.reduce((sum, report) => sum + caseCount(report), 0);
  const done = reports.every(({ state }) => state === 'done');
  const at = reports.reduce((latest, report) => (report.at > latest ? report.at : latest), '');
  const lines = [
    `${at}: ${all} cases in ${minutes.toFixed(1)} min by ${reports.length} processes${done ? '' : ' so far'}`,
    '',
    '| target | cases | taken | refused | slowest, ms |',
    '|---|---|---|---|---|',
  ];
  for (const { name } of reports[0]?.targets ?? []) {
    const parts = reports.flatMap(({ targets }) => targets.filter((target) => target.name === name));
    const sum = (of: (part: TargetReport) => number) => parts.reduce((total, part) => total + of(part), 0);
    const counts = [sum((part) => part.cases), sum((part) => part.taken), sum((part) => part.refused)];
    const slowest = Math.max(...parts.map(({ slowestMs }) => slowestMs));
    lines.push(`| ${name} | ${counts.map(String).join(' | ')} | ${slowest} |`);
  }
  lines.push('');
  for (const { seed, heapBefore, heapAfter, faults } of reports) {
    const megabytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
    lines.push(
      `seed ${seed}: heap ${megabytes(heapBefore)} -> ${megabytes(heapAfter)} MB, ${faults.length} faults`,
      ...faults.map((text) => `  ${text}`),
    );
  }
  return `${lines.join('\n')}\n`;
}
