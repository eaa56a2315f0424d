// The declarations of `hawser/mapper`, for the package: dist/mapper.d.ts. Its source imports no types, so one file is all.

import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const outDir = await mkdtemp(join(tmpdir(), 'hawser-types-'));
const options = {
  target: 'es2023',
  module: 'nodenext',
  lib: 'es2023,dom',
  types: 'node',
  rootDir: '.',
  outDir,
};
const flags = [
  'ignoreConfig',
  'declaration',
  'emitDeclarationOnly',
  'allowImportingTsExtensions',
  'skipLibCheck',
  'strict',
];
try {
  await promisify(execFile)(
    process.execPath,
    [
      join(root, 'node_modules/typescript/bin/tsc'),
      ...flags.map((flag) => `--${flag}`),
      ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]),
      'mapper/hawser-mapper.ts',
    ],
    { cwd: root },
  );
  await copyFile(join(outDir, 'mapper/hawser-mapper.d.ts'), join(root, 'dist/mapper.d.ts'));
} finally {
  await rm(outDir, { recursive: true });
}
