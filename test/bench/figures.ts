/**
 * What a benchmark found, side by side with what was last recorded and with its budget. A figure outside of its
 * budget is shown and fails nothing: machines differ, and so do their hours.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { packageRoot } from '#beehive/package-root.ts';

export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** Of DESIGN's table; absent where there is none. */
  readonly budget?: { readonly is: 'at most' | 'at least'; readonly value: number };
  /** KubeEdge v1.23.1 on two cores of the same kind. */
  readonly kubeedge?: string;
}

const recordSchema = z.object({
  date: z.string(),
  cores: z.number(),
  /** What else the machine had to do when the benchmark began: the load average of a minute. */
  load: z.number(),
  figures: z.array(
    z.object({
      what: z.string(),
      value: z.number(),
      unit: z.string(),
      budget: z.object({ is: z.enum(['at most', 'at least']), value: z.number() }).optional(),
      kubeedge: z.string().optional(),
    }),
  ),
});
const recordsSchema = z.record(z.string(), recordSchema);
type Records = z.infer<typeof recordsSchema>;

const recordedFile = () => join(packageRoot(), 'test/bench/recorded.json');
const docsFile = () => join(packageRoot(), 'docs/benchmarks.md');
const tableBegin = '<!-- figures: written by `npm run bench -- NAME --record` -->';
const tableEnd = '<!-- end of figures -->';

/** The table of one benchmark, as text for a terminal. */
export async function compare(benchmark: string, figures: readonly Figure[]): Promise<string> {
  const before = (await readRecords())[benchmark];
  const rows = figures.map((figure) => {
    const last = before?.figures.find(({ what }) => what === figure.what);
    return [
      figure.what,
      format(figure.value, figure.unit),
      last === undefined ? '–' : format(last.value, last.unit),
      budgetOf(figure),
      figure.kubeedge ?? '–',
    ];
  });
  const head = ['', 'now', before === undefined ? 'recorded' : before.date, 'budget', 'KubeEdge v1.23.1'];
  return aligned([head, ...rows]);
}

/** Takes the figures' place in recorded.json and in docs/benchmarks.md. */
export async function record(
  benchmark: string,
  figures: readonly Figure[],
  { date, load }: { readonly date: Date; readonly load: number },
): Promise<void> {
  const day = date.toISOString().slice(0, 10);
  const rounded = figures.map((figure) => ({ ...figure, value: Number(figure.value.toPrecision(4)) }));
  const entry = { date: day, cores: availableParallelism(), load: Math.round(load), figures: rounded };
  const records: Records = { ...(await readRecords()), [benchmark]: entry };
  await writeFile(recordedFile(), `${JSON.stringify(records, null, 2)}\n`);
  const page = await readFile(docsFile(), 'utf8');
  const begin = page.indexOf(tableBegin);
  const end = page.indexOf(tableEnd);
  if (begin < 0 || end < begin) throw new Error(`${docsFile()} has no place for the table of figures`);
  const table = `${tableBegin}\n${markdown(records)}\n`;
  await writeFile(docsFile(), page.slice(0, begin) + table + page.slice(end));
}

async function readRecords(): Promise<Records> {
  try {
    return recordsSchema.parse(JSON.parse(await readFile(recordedFile(), 'utf8')));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw error;
  }
}

function markdown(records: Records): string {
  const tables = Object.entries(records).map(([benchmark, { date, cores, load, figures }]) => {
    const rows = figures.map((figure) => {
      const within = isWithin(figure) ? '' : ' **(missed)**';
      const { what, value, unit, kubeedge = '–' } = figure;
      return `| ${what} | ${format(value, unit)}${within} | ${budgetOf(figure)} | ${kubeedge} |`;
    });
    const head = `### ${benchmark}\n\n${date}, ${cores} cores, load ${load} at the start\n\n| | ours | budget | KubeEdge v1.23.1 |\n|---|---|---|---|`;
    return `${head}\n${rows.join('\n')}\n`;
  });
  return `\n${tables.join('\n')}`;
}

function isWithin({ value, budget }: z.infer<typeof recordSchema>['figures'][number]): boolean {
  if (budget === undefined) return true;
  return budget.is === 'at most' ? value <= budget.value : value >= budget.value;
}

function budgetOf({
  budget,
  unit,
}: Pick<z.infer<typeof recordSchema>['figures'][number], 'budget' | 'unit'>): string {
  if (budget === undefined) return '–';
  return `${budget.is === 'at most' ? '≤' : '≥'} ${format(budget.value, unit)}`;
}

function format(value: number, unit: string): string {
  const text = value >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
  return unit === '' ? text : `${text} ${unit}`;
}

function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => (row[at] ?? '').length)));
  const line = (row: readonly string[]) => row.map((text, at) => text.padEnd(widths[at] ?? 0)).join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}

/** @param quantile from 0 to 1 */
export function quantile(values: readonly number[], quantile: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? Number.NaN;
}
