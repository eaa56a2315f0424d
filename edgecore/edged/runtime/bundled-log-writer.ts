/** For tests: the log writer as the one file that the process runtime starts. */

import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export async function bundleLogWriter(outfile: string): Promise<string> {
  await build({
    entryPoints: [fileURLToPath(new URL('process-logs-main.ts', import.meta.url))],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'silent',
  });
  return outfile;
}
