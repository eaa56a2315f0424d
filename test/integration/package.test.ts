/** What a stranger gets: the packed tarball in a project of its own, without a registry and without our sources. */

import { execFile, spawn } from 'node:child_process';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Aedes } from 'aedes';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packageRoot } from '#beehive/package-root.ts';
import { TestEdge } from '#edgecore/devicetwin/test-edge.ts';

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const root = packageRoot();
const tsc = join(root, 'node_modules/typescript/bin/tsc');
let project: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'hawser-stranger-'));
  const packed = await run('npm', ['pack', '--silent', '--pack-destination', project], root);
  expect(packed, packed.err).toMatchObject({ code: 0 });
  const installed = join(project, 'node_modules/hawser');
  await mkdir(join(project, 'node_modules/.bin'), { recursive: true });
  await mkdir(installed);
  const tarball = (await readdir(project)).find((file) => file.endsWith('.tgz')) ?? '';
  // What npm does with it, less the fetching of dependencies: the bundles need none for a mapper.
  const unpacked = await run('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'], project);
  expect(unpacked, unpacked.err).toMatchObject({ code: 0 });
  const { bin } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'));
  for (const [name, file] of Object.entries(bin)) {
    expect((await lstat(join(installed, String(file)))).mode & 0o111, name).not.toBe(0);
    await symlink(`../hawser/${file}`, join(project, 'node_modules/.bin', name));
  }
  await writeFile(join(project, 'package.json'), '{"type": "module"}');
  await writeFile(join(project, 'lamp.ts'), await exampleOfTheDocs());
});
afterAll(() => rm(project, { recursive: true }));

test('the example of the docs compiles against the declarations of the package, and a wrong driver does not', async () => {
  expect(await compile('lamp.ts')).toMatchObject({ code: 0, out: '' });
  const text = await exampleOfTheDocs();
  await writeFile(join(project, 'wrong.ts'), text.replace('async read(', 'async look('));
  const { code, out } = await compile('wrong.ts');
  expect(code).not.toBe(0);
  expect(out).toMatch(/wrong\.ts.*'read' is missing/s);
});

test('a mapper of the package registers, writes what is wanted, reports and pushes, and ends on SIGTERM', async () => {
  await compile('lamp.ts');
  const states = new Map([['/power', 'false']]);
  const lamp = createHttpServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method === 'PUT') states.set(request.url ?? '', Buffer.concat(chunks).toString());
      response.end(states.get(request.url ?? ''));
    });
  });
  const broker = await Aedes.createBroker();
  const pushed = new Promise<string>((resolve) =>
    broker.on('publish', ({ topic, payload }) => {
      if (topic === 'hall/lamp') resolve(payload.toString());
    }),
  );
  const mqtt = createServer(broker.handle);
  const [url, address] = [`http://127.0.0.1:${await listen(lamp)}`, `mqtt://127.0.0.1:${await listen(mqtt)}`];
  const edge = new TestEdge({ dmi: true });
  edge.held.devicemodel.push(lampModel);
  edge.held.device.push(lampDevice(url, { mqtt: { address, topic: 'hall/lamp', qos: 1 } }));
  await edge.start();
  edge.link(true);
  const flags = ['--edgecore-sock', join(edge.dir, 'dmi.sock'), '--http-port', '0'];
  const mapper = spawn(process.execPath, ['lamp.js', ...flags], { cwd: project, stdio: 'ignore' });
  const ended = new Promise<number | null>((resolve) => mapper.once('exit', resolve));
  try {
    await edge.until(() => JSON.stringify(edge.published).includes('"power":{"actual":{"value":"true"'));
    expect(states.get('/power')).toBe('true');
    expect(await pushed).toMatch(/hall\/lamp: (true|false)$/);
    mapper.kill('SIGTERM');
    expect(await ended).toBe(0);
  } finally {
    mapper.kill('SIGKILL');
    await edge.end();
    lamp.closeAllConnections();
    lamp.close();
    mqtt.close();
    await new Promise<void>((resolve) => broker.close(resolve));
  }
});

const wrong: [what: string, args: string[], code: number, says: RegExp][] = [
  ['a flag that is none', ['--sock', 'x'], 2, /--sock[\s\S]*Usage: modbus-mapper/],
  [
    'a config file that is not there',
    ['--config-file', 'absent.yaml'],
    2,
    /cannot read absent\.yaml.*ENOENT/s,
  ],
  ['a field that is none', ['--config-file', 'unknown.yaml'], 2, /common\.protocoll: unknown field/],
  ['a port that is none', ['--http-port', 'many'], 2, /common\.http_port/],
  ['an empty name', ['--name', ''], 2, /common\.name: empty/],
  ['a path that is too long', ['--socket-path', `/tmp/${'x'.repeat(120)}`], 1, /longer than 100 bytes/],
  ['a socket that is a file', ['--socket-path', 'lamp.ts'], 1, /lamp\.ts is no socket: move it away/],
];

test.each(wrong)('the Modbus mapper ends at %s, and says what to do', async (_, args, code, says) => {
  await writeFile(join(project, 'unknown.yaml'), 'common: {protocoll: modbus}\n');
  const own = ['--edgecore-sock', join(project, 'dmi.sock'), '--http-port', '0'];
  const outcome = await bin('modbus-mapper', [...own, ...args]);
  expect(outcome.err).toMatch(says);
  expect(outcome.code).toBe(code);
});

test('a port of the REST interface that is taken is named, with the flag for another', async () => {
  const taken = createServer();
  const port = await listen(taken);
  const own = ['--edgecore-sock', join(project, 'dmi.sock'), '--http-port', String(port)];
  const { code, err } = await bin('thermometer-mapper', own);
  expect(err).toMatch(new RegExp(`cannot listen on 127.0.0.1:${port}: choose another with --http-port`));
  expect(code).toBe(1);
  taken.close();
});

test('every command of the package starts as npm links it', async () => {
  // The one dependency that no bundle can hold.
  const sqlite = 'node_modules/better-sqlite3';
  await symlink(join(root, sqlite), join(project, sqlite));
  for (const name of await readdir(join(project, 'node_modules/.bin'))) {
    const { code, out, err } = await bin(name, ['--help']);
    expect(`${code} ${err}`, name).toBe('0 ');
    expect(out).toMatch(new RegExp(`^Usage: ${name}`));
  }
});

const lampModel = {
  metadata: { name: 'lamp-model', namespace: 'default', uid: 'm' },
  spec: { protocol: 'lamp', properties: [{ name: 'power', type: 'BOOLEAN', accessMode: 'ReadWrite' }] },
};

function lampDevice(url: string, pushMethod: object) {
  return {
    metadata: { name: 'lamp-1', namespace: 'default', uid: 'u' },
    spec: {
      deviceModelRef: { name: 'lamp-model' },
      nodeName: 'edge-1',
      protocol: { protocolName: 'lamp', configData: { url } },
      properties: [
        {
          name: 'power',
          desired: { value: 'true' },
          reportToCloud: true,
          collectCycle: 50,
          reportCycle: 50,
          visitors: { protocolName: 'lamp', configData: { path: 'power' } },
          pushMethod,
        },
      ],
    },
  };
}

async function exampleOfTheDocs(): Promise<string> {
  const text = await readFile(join(root, 'docs/mappers.md'), 'utf8');
  const [, code] = /```ts\n([\s\S]*?)```/.exec(text) ?? [];
  if (code === undefined) throw new Error('docs/mappers.md has no example');
  return code;
}

function compile(file: string): Promise<Outcome> {
  const flags = ['--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext', '--target', 'es2023'];
  return run(process.execPath, [tsc, ...flags, '--lib', 'es2023,dom', file], project);
}

function bin(name: string, args: readonly string[]): Promise<Outcome> {
  return run(join(project, 'node_modules/.bin', name), args, project);
}

function run(command: string, args: readonly string[], cwd: string): Promise<Outcome> {
  return new Promise((resolve) =>
    execFile(command, args, { cwd }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err }),
    ),
  );
}

async function listen(server: Server | ReturnType<typeof createServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
