// Bundles each daemon and command into one ESM file under dist/.

import { rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { bundleOptions } from './options.mjs';
import { entryPoints, stampSources } from './sources.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

await rm(`${root}/dist`, { recursive: true, force: true });
await build({ ...bundleOptions, absWorkingDir: root, entryPoints, outdir: 'dist' });
await stampSources(root);
