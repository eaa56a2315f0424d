// `npm run bench -- NAME [flags]`: bundles the benchmarks beside a copy of the daemons, so that a build under way
// meanwhile changes nothing of what is measured, and runs one.

import { spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
if ((await run(process.execPath, [join(root, 'build/ensure.mjs')])) !== 0) process.exit(1);
const { build } = await import('esbuild');
const { bundleOptions } = await import(new URL('../../build/options.mjs', import.meta.url).href);

// Below the package, where the packages outside of the bundles are found.
const cache = join(root, 'node_modules/.cache');
await mkdir(cache, { recursive: true });
const dir = await mkdtemp(join(cache, 'hawser-bench-'));
process.on('SIGINT', () => {});
try {
  await cp(join(root, 'dist'), dir, { recursive: true });
  // Each whole in itself: a split bundle might run what x509 needs after x509.
  for (const [name, entry] of [
    ['bench', 'test/bench/main.ts'],
    ['simulated-edges', 'test/bench/edges/simulated-edges-main.ts'],
    ['echo-broker', 'test/bench/edge/echo-broker-main.ts'],
  ])
    await build({
      absWorkingDir: root,
      entryPoints: { [name]: entry },
      outdir: dir,
      ...bundleOptions,
      splitting: false,
      chunkNames: undefined,
    });
  process.exitCode = await run(process.execPath, [join(dir, 'bench.js'), ...process.argv.slice(2)]);
} finally {
  await rm(dir, { recursive: true, force: true });
}

function run(command, args) {
  return new Promise((resolve) => {
    spawn(command, args, { stdio: 'inherit' }).on('close', (code) => resolve(code ?? 1));
  });
}
