/** What holds in the sources and need not hold in the bundles. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { packageRoot } from '#beehive/package-root.ts';
import { readSources } from '../tidy/sources.ts';

const optionsFile = new URL('../../build/options.mjs', import.meta.url).href;

/** `const { a, b } = await import('library')` in the product. */
const lazyImport = /const \{ ([^}]+) \} = await import\('([^'.#][^']*)'\)/g;

test('a library that is imported lazily has in a bundle the names that are taken from it', async () => {
  const taken = readSources()
    .filter(({ path, isTest }) => !isTest && !/^(build|test)\//.test(path))
    .flatMap(({ path, code }) =>
      [...code.join('\n').matchAll(lazyImport)].flatMap(([, names = '', library = '']) =>
        names.split(',').map((name) => ({ path, library, name: name.split(':')[0]?.trim() ?? '' })),
      ),
    );
  const libraries = [...new Set(taken.map(({ library }) => library))];
  expect(libraries).toContain('mqtt');
  const { bundleOptions } = await import(optionsFile);
  const outdir = await mkdtemp(join(tmpdir(), 'hawser-bundle-'));
  try {
    const load = libraries.map((library) => `'${library}': await import('${library}')`).join(', ');
    // The certificate library wants it to have been there first.
    const contents = `await import('reflect-metadata');\nexport const loaded = { ${load} };`;
    const stdin = { contents, resolveDir: packageRoot() };
    await build({ ...bundleOptions, stdin, outdir, outExtension: { '.js': '.mjs' } });
    const { loaded } = await import(join(outdir, 'stdin.mjs'));
    const missing = taken.filter(({ library, name }) => loaded[library]?.[name] === undefined);
    expect(missing).toEqual([]);
  } finally {
    await rm(outdir, { recursive: true });
  }
});
