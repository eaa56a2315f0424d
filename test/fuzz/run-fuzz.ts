/** Starts a fuzzing run in a process of its own and waits for its report. */

import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { FuzzReport } from './report.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface FuzzOptions {
  readonly cases: number;
  readonly seed: number;
  readonly timeoutMs: number;
  /** Gets a report a line while the run goes on, and keeps them when it is stopped. */
  readonly recordFile?: string;
  /** Told of each report before the last. */
  readonly progress?: (report: FuzzReport) => void;
}

/** @throws Error when the process dies, or is not done in time (a hang) */
export async function runFuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { cases, seed, timeoutMs, recordFile = '', progress = () => {} } = options;
  const outfile = await bundle(seed);
  return await new Promise((resolve, reject) => {
    const args = ['--expose-gc', outfile, String(cases), String(seed), recordFile];
    const child = spawn(process.execPath, args, {
      env: { ...process.env, HAWSER_FUZZ_ROOT: root },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let last: FuzzReport | undefined;
    let complaints = '';
    createInterface({ input: child.stdout }).on('line', (line) => {
      last = JSON.parse(line);
      if (last?.state === 'runs') progress(last);
    });
    child.stderr.on('data', (chunk) => {
      complaints = `${complaints}${String(chunk)}`.slice(-4_000);
    });
    const kill = () => child.kill('SIGKILL');
    const hung = setTimeout(kill, timeoutMs);
    // When another run has failed, the test is over, and nobody waits for this one.
    process.once('exit', kill);
    child.on('close', (code, signal) => {
      clearTimeout(hung);
      process.off('exit', kill);
      rmSync(outfile, { force: true });
      if (code === 0 && last?.state === 'done') resolve(last);
      else reject(new Error(`the run ended with ${code ?? signal} after:\n${complaints}`));
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
