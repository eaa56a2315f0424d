// Makes a checkout ready to run: installs packages and bundles the daemons, each only when it is missing or old.
// Needs nothing but Node and npm, so it may be the first thing that ever runs here.

import { spawn } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const nodeMajorMin = 20;

if (Number(process.versions.node.split('.')[0]) < nodeMajorMin) {
  fail(`Node ${nodeMajorMin} or newer is needed, this is ${process.versions.node}`);
}
if (!(await isInstalled())) {
  say('installing packages (the first time this takes a minute or two; better-sqlite3 may be compiled)');
  const { code, output } = await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  if (code !== 0) {
    process.stderr.write(output);
    const missing = await missingBuildTools();
    if (missing.length > 0) {
      fail(
        `npm ci failed, and better-sqlite3 may need to be compiled here: install ${missing.join(', ')} (Debian: apt-get install python3 make g++) and run this again`,
      );
    }
    fail('npm ci failed; what it printed stands above');
  }
}
const { isBundleFresh } = await import('./sources.mjs');
if (!(await isBundleFresh(root))) {
  say('bundling');
  const { code, output } = await run(process.execPath, [join(root, 'build/bundle.mjs')]);
  if (code !== 0) {
    process.stderr.write(output);
    fail('bundling failed; what it printed stands above');
  }
}

/** npm writes node_modules/.package-lock.json last; one that is older than our lock file belongs to another state. */
async function isInstalled() {
  const installed = await stat(join(root, 'node_modules/.package-lock.json')).catch(() => undefined);
  if (installed === undefined) return false;
  const wanted = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(await readFile(join(root, 'node_modules/.package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, entry]) => path === '' || entry.optional === true || present[path]?.version === entry.version,
  );
}

async function missingBuildTools() {
  const missing = [];
  for (const tool of ['python3', 'make', 'g++']) {
    const { code } = await run(tool, ['--version']);
    if (code !== 0) missing.push(tool);
  }
  return missing;
}

function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => resolve({ code: 127, output: `${output}${error.message}\n` }));
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

function say(text) {
  process.stderr.write(`hawser: ${text}\n`);
}

function fail(text) {
  process.stderr.write(`hawser: ${text}\n`);
  process.exit(1);
}
