/** What package.json and the lock file say of packages. */

import { readFileSync } from 'node:fs';
import { z } from 'zod';

const versions = z.record(z.string(), z.string());
const manifestSchema = z.looseObject({ dependencies: versions, devDependencies: versions });
const lockSchema = z.looseObject({
  packages: z.record(
    z.string(),
    z.looseObject({
      resolved: z.string().optional(),
      integrity: z.string().optional(),
      dev: z.boolean().optional(),
    }),
  ),
});

export function readDependencies() {
  const read = (name: string): unknown =>
    JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8'));
  const { dependencies, devDependencies } = manifestSchema.parse(read('package.json'));
  const { packages } = lockSchema.parse(read('package-lock.json'));
  return { dependencies, devDependencies, packages };
}
