// What is bundled, and a stamp by which ensure.mjs knows whether dist/ still is what the sources say.

import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** Output name → source file. */
export const entryPoints = {
  apiserver: 'apiserver/main.ts',
  cloudcore: 'cloudcore/main.ts',
  edgecore: 'edgecore/main.ts',
  keadm: 'keadm/main.ts',
  quickstart: 'keadm/quickstart/main.ts',
  'process-logs': 'edgecore/edged/runtime/process-logs-main.ts',
  supervise: 'keadm/service/supervise-main.ts',
  mapper: 'mapper/hawser-mapper.ts',
  'modbus-mapper': 'mapper/modbus/main.ts',
  'thermometer-mapper': 'mapper/thermometer/main.ts',
};

const folders = ['protocol', 'beehive', 'apiserver', 'cloudcore', 'edgecore', 'keadm', 'mapper', 'build'];
const stampFile = 'dist/.sources';

export async function stampSources(root) {
  await writeFile(join(root, stampFile), await hashSources(root));
}

export async function isBundleFresh(root) {
  const stamp = await readFile(join(root, stampFile), 'utf8').catch(() => '');
  return stamp !== '' && stamp === (await hashSources(root));
}

async function hashSources(root) {
  const hash = createHash('sha256');
  const files = ['package.json', 'package-lock.json'];
  for (const folder of folders) {
    for (const entry of await readdir(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (entry.isFile() && !entry.name.includes('.test.'))
        files.push(relative(root, join(entry.parentPath, entry.name)));
    }
  }
  for (const file of files.sort())
    hash
      .update(`${file}\0`)
      .update(await readFile(join(root, file)))
      .update('\0');
  return hash.digest('hex');
}
