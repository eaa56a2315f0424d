/** Starts a fuzzing run in a process of its own and waits for its report. */

import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export interface TargetReport {
  readonly name: string;
  readonly cases: number;
  readonly taken: number;
  readonly refused: number;
  readonly slowestMs: number;
  readonly seconds: number;
}

export interface FuzzReport {
  readonly seed: number;
  readonly targets: readonly TargetReport[];
  readonly faults: readonly string[];
  /** Bytes after collection. */
  readonly heapBefore: number;
  readonly heapAfter: number;
}

const root = fileURLToPath(new URL('../../', import.meta.url));

/** @throws Error when the process dies, or is not done in time (a hang) */
export async function runFuzz(cases: number, seed: number, timeoutMs: number): Promise<FuzzReport> {
  const outfile = await bundle(seed);
  return await new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--expose-gc', outfile, String(cases), String(seed)], {
      env: { ...process.env, HAWSER_FUZZ_ROOT: root },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const texts = { out: '', err: '' };
    child.stdout.on('data', (chunk) => {
      texts.out += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      texts.err = `${texts.err}${String(chunk)}`.slice(-4_000);
    });
    const kill = () => child.kill('SIGKILL');
    const hung = setTimeout(kill, timeoutMs);
    // When another run has failed, the test is over, and nobody waits for this one.
    process.once('exit', kill);
    child.on('close', (code, signal) => {
      clearTimeout(hung);
      process.off('exit', kill);
      rmSync(outfile, { force: true });
      const line = texts.out.trim().split('\n').at(-1) ?? '';
      if (code === 0 && line.startsWith('{')) resolve(JSON.parse(line));
      else reject(new Error(`the run ended with ${code ?? signal} after:\n${texts.err}`));
    });
  });
}

/** Under node_modules, so that the packages that stay outside are found from there. */
async function bundle(seed: number): Promise<string> {
  const folder = join(root, 'node_modules/.cache/hawser-fuzz');
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, `fuzz-${process.pid}-${seed}.mjs`);
  await build({
    entryPoints: [join(root, 'test/fuzz/main.ts')],
    outfile,
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    sourcemap: 'inline',
    mainFields: ['module', 'main'],
    // Packages with a native part, or that are found by name while they run.
    external: [
      'better-sqlite3',
      'fast-check',
      'zod',
      'jose',
      'yaml',
      'ws',
      'rxjs',
      'pino',
      'prom-client',
      '@peculiar/x509',
      'reflect-metadata',
      '@kubernetes/client-node',
      'mqtt',
      'aedes',
      '@grpc/grpc-js',
      '@grpc/proto-loader',
    ],
    banner: {
      js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url);",
    },
    logLevel: 'warning',
  });
  return outfile;
}

/** What must hold of a run, said as what does not; empty when all is well. */
export function complaintsOf(report: FuzzReport): string[] {
  const complaints = [...report.faults];
  const growth = report.heapAfter / report.heapBefore - 1;
  if (growth > heapGrowthMax) complaints.push(`the heap grew by ${(growth * 100).toFixed(1)} %`);
  for (const { name, taken, refused, slowestMs } of report.targets) {
    if (taken === 0 || refused === 0)
      complaints.push(`${name}: ${taken} taken, ${refused} refused: it tests nothing`);
    if (slowestMs > slowestMax) complaints.push(`${name}: one case took ${slowestMs} ms`);
  }
  return complaints;
}

const heapGrowthMax = 0.1;
/** Far above what any case needs, since a machine may be busy with something else; a backtracking pattern takes minutes. */
const slowestMax = 15_000;

export function caseCount(report: FuzzReport): number {
  return report.targets.reduce((sum, target) => sum + target.cases, 0);
}
