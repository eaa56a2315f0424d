import { spawn } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { describeUnless, itUnless } from '#test/describe-unless.ts';
import { plainContainer, plainSandbox } from '#test/fixtures/runtime-configs.ts';
import { describeRuntimeService } from '#test/suites/runtime-service.suite.ts';
import { bundleLogWriter } from './bundled-log-writer.ts';
import { rotatedFiles } from './cri-log.ts';
import { identify, isAlive, type ProcessIdentity, readStat, signal } from './process-identity.ts';
import { probeNamespace } from './process-machine.ts';
import { removeProcessRuntime } from './process-removal.ts';
import { createProcessRuntime } from './process-runtime.ts';
import type { ContainerConfig, ContainerStatus, RuntimeService } from './runtime-service.ts';

describeRuntimeService('process', async (directory) => {
  const logWriterFile = await bundleLogWriter(join(directory, 'process-logs.mjs'));
  const root = join(directory, 'state');
  const options = { root, instance: 'edge-under-test', logWriterFile };
  const runtime = createProcessRuntime(options, { clock: systemClock, log: silentLog });
  return {
    runtime,
    dispose: async () => {
      await runtime.close();
      await removeProcessRuntime(root, systemClock);
    },
  };
});

describe('process runtime', () => {
  let directory: string;
  let root: string;
  let logWriterFile: string;
  let runtime: RuntimeService;

  beforeEach(async () => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), 'hawser-process-')));
    root = join(directory, 'state');
    logWriterFile = await bundleLogWriter(join(directory, 'process-logs.mjs'));
    runtime = open();
  });
  afterEach(async () => {
    await runtime.close();
    await removeProcessRuntime(root, systemClock);
    rmSync(directory, { recursive: true, force: true });
  });

  function open(): RuntimeService {
    return createProcessRuntime(
      { root, instance: 'i', logWriterFile, logBytesMax: 2000, logFilesMax: 3 },
      { clock: systemClock, log: silentLog },
    );
  }
  async function create(over: Partial<ContainerConfig>): Promise<string> {
    const sandbox = await runtime.runPodSandbox(
      plainSandbox('u', join(directory, 'logs'), { podName: 'pod', hostname: 'pod' }),
    );
    return runtime.createContainer(sandbox, plainContainer(over));
  }
  async function start(over: Partial<ContainerConfig>): Promise<string> {
    const id = await create(over);
    await runtime.startContainer(id);
    return id;
  }
  const shell = (script: string, over: Partial<ContainerConfig> = {}) =>
    start({ command: ['/bin/sh', '-c'], args: [script], ...over });
  const ended = async (id: string): Promise<ContainerStatus> => {
    await expect.poll(async () => (await runtime.containerStatus(id)).state).toBe('exited');
    return runtime.containerStatus(id);
  };
  const logLines = () =>
    readFileSync(join(directory, 'logs/main/0.log'), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split(' ').slice(1).join(' '));
  const logHolds = (line: string) => expect.poll(() => logLines()).toEqual(expect.arrayContaining([line]));
  const identityOf = (id: string): ProcessIdentity => {
    const [pid, started] = readFileSync(join(root, 'containers', id, 'pid'), 'utf8')
      .trim()
      .split(' ');
    return { pid: Number(pid), start: started ?? '' };
  };

  it('writes both streams in the format of CRI, the last line too', async () => {
    const id = await shell('echo out; echo err >&2; printf unfinished');
    await ended(id);
    // Two pipes are read in no order.
    for (const line of ['stdout F out', 'stderr F err', 'stdout F unfinished']) await logHolds(line);
    expect(readFileSync(join(directory, 'logs/main/0.log'), 'utf8')).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z std/,
    );
  });

  it('forgets what an edgecore created that was killed before the start', async () => {
    const id = await create({ command: ['/bin/true'] });
    await runtime.close();
    runtime = open();
    expect(await runtime.listContainers()).toEqual([]);
    expect(readdirSync(join(root, 'containers'))).not.toContain(id);
  });

  it('gives the command its arguments, variables and directory, as they are', async () => {
    const odd = 'a b\n"$(touch /tmp/never)" \'$HOME\'';
    const env = new Map([
      ['ODD', odd],
      ['PATH', process.env.PATH ?? ''],
    ]);
    const script = 'printf "%s|%s|" "$0" "$ODD"; pwd; echo "$HOSTNAME"';
    const id = await start({ command: ['sh', '-c'], args: [script, odd], env, workingDir: directory });
    await ended(id);
    await logHolds('stdout F pod');
    const text = logLines()
      .map((line) => line.replace('stdout F ', ''))
      .join('\n');
    expect(text).toContain(`${odd}|${odd}|${directory}`);
  });

  it('keeps variables whose names a shell would drop', async () => {
    await ended(await start({ command: ['env'], env: new Map([['with.dot', 'kept']]) }));
    await logHolds('stdout F with.dot=kept');
  });

  it('refuses a container without command, and says what it cannot do', async () => {
    await expect(create({})).rejects.toMatchObject({
      code: 'cannot-create',
      message: expect.stringContaining('set `command`'),
    });
  });

  it('says which command it could not find', async () => {
    await expect(start({ command: ['no-such-program'] })).rejects.toMatchObject({
      code: 'cannot-start',
      message: expect.stringContaining('"no-such-program": executable file not found'),
    });
    const id = await shell('true', { workingDir: '/no/such/place', attempt: 1 });
    expect(await ended(id)).toMatchObject({ reason: 'StartError', exitCode: 128 });
  });

  it('refuses NUL in a command, its arguments, its variables, and in what is run inside', async () => {
    for (const [attempt, over] of [
      { command: ['/bin/true\0', 'x'] },
      { command: ['/bin/true'], args: ['a\0b'] },
      { command: ['/bin/true'], env: new Map([['A', 'a\0b']]) },
    ].entries())
      await expect(create({ ...over, attempt })).rejects.toMatchObject({
        code: 'cannot-create',
        message: expect.stringContaining('NUL'),
      });
    const id = await shell('sleep 60', { attempt: 3 });
    await expect(runtime.execSync(id, ['echo', 'a\0b'], 60_000)).rejects.toMatchObject({ code: 'refused' });
    expect((await runtime.execSync(id, ['echo', 'ab'], 60_000)).stdout.toString()).toBe('ab\n');
  });

  it('keeps no more than its limit of what a command prints without end', async () => {
    const id = await shell('sleep 60');
    const before = process.memoryUsage().rss;
    const { exitCode, stdout } = await runtime.execSync(id, ['head', '-c', '300000000', '/dev/zero'], 60_000);
    expect(exitCode).toBe(0);
    expect(stdout.length).toBeLessThanOrEqual(16 * 1024 * 1024);
    expect(process.memoryUsage().rss - before).toBeLessThan(150_000_000);
  });

  it('leaves nothing behind: neither in the group nor outside it', async () => {
    const script = 'sleep 300 & setsid sleep 301 & echo $!; wait';
    const id = await shell(script);
    await expect.poll(() => logLines().length).toBe(1);
    const stray = identify(Number(logLines()[0]?.split(' ').at(-1)));
    if (stray === undefined) throw new Error('the stray process is not there');
    const group = identityOf(id);
    await runtime.stopContainer(id, 5000);
    await expect.poll(() => isAlive(stray)).toBe(false);
    await expect.poll(() => livingOf(group.pid)).toEqual([]);
  });

  it('sees the end of a process that was killed, and of one whose shim was', async () => {
    const first = await shell('exec sleep 300');
    signal(identityOf(first), 'SIGKILL', 'process');
    expect(await ended(first)).toMatchObject({ exitCode: 137, reason: 'Error' });
    const second = await shell('exec sleep 300', { attempt: 1 });
    const shim = JSON.parse(readFileSync(join(root, 'containers', second, 'started'), 'utf8'));
    signal(shim, 'SIGKILL', 'process');
    signal(identityOf(second), 'SIGKILL', 'process');
    expect(await ended(second)).toMatchObject({ exitCode: 137 });
  });

  it('finds its containers, exit codes and logs again after kill -9, and touches nothing', async () => {
    const script = join(directory, 'edge.mjs');
    await build({
      stdin: { contents: edgeLike, resolveDir: fileURLToPath(new URL('.', import.meta.url)), loader: 'ts' },
      outfile: script,
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['pino'],
      logLevel: 'silent',
    });
    await runtime.close();
    await removeProcessRuntime(root, systemClock);
    const args = [script, root, logWriterFile, join(directory, 'logs')];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await new Promise<string[]>((resolve) => {
      createInterface(child.stdout).once('line', (text) => resolve([text]));
    });
    const ids: { runs: string; ends: string } = JSON.parse(line ?? '');
    const before = identityOf(ids.runs);
    await logHolds('stdout F tick 2');
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    const ticks = logLines().length;
    writeFileSync(join(directory, 'logs/go'), '');
    await expect.poll(() => logLines().length).toBeGreaterThan(ticks + 1);
    await expect.poll(() => readStat(before.pid)?.start).toBe(before.start);
    await expect.poll(() => readFileSync(join(root, 'containers', ids.ends, 'exit'), 'utf8')).toBe('7\n');

    runtime = open();
    expect(await runtime.containerStatus(ids.runs)).toMatchObject({ state: 'running', name: 'runs' });
    expect(await runtime.containerStatus(ids.ends)).toMatchObject({ state: 'exited', exitCode: 7 });
    expect(identityOf(ids.runs)).toEqual(before);
    await runtime.stopContainer(ids.runs, 60_000);
    expect(await runtime.containerStatus(ids.runs)).toMatchObject({ state: 'exited', exitCode: 143 });
    expect(isAlive(before)).toBe(false);
  });

  it('loses no line when the log writer is killed', async () => {
    const id = await shell('i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.05; done');
    await logHolds('stdout F line 3');
    signal(JSON.parse(readFileSync(join(root, 'writer.json'), 'utf8')), 'SIGKILL', 'process');
    expect(await ended(id)).toMatchObject({ exitCode: 0 });
    await logHolds('stdout F line 60');
    const numbers = [...Array(60).keys()].map((n) => `stdout F line ${n + 1}`);
    const path = join(directory, 'logs/main/0.log');
    const text = [...rotatedFiles(path), path].map((file) => readFileSync(file, 'utf8')).join('');
    expect(numbers.filter((it) => !text.includes(`${it}\n`))).toEqual([]);
    expect(rotatedFiles(path)).toHaveLength(1);
  });

  const machine = probeNamespace(mkdtempSync(join(tmpdir(), 'hawser-probe-')));
  describeUnless(machine.refused, 'with mounts', () => {
    it('shows volumes at their mountPath to the container and to nobody else', async () => {
      mkdirSync(join(directory, 'volume'));
      writeFileSync(join(directory, 'volume/a.txt'), 'from the volume\n');
      writeFileSync(join(directory, 'one.txt'), 'one file\n');
      const volume = { hostPath: join(directory, 'volume'), readOnly: false, optional: false };
      const mounts = [
        { ...volume, containerPath: '/hawser-missing/deep' },
        { ...volume, containerPath: '/etc/hawser-missing', readOnly: true },
        { ...volume, hostPath: join(directory, 'one.txt'), containerPath: '/etc/hawser-missing-file' },
        { ...volume, containerPath: '/mnt' },
      ];
      const script =
        'cat /hawser-missing/deep/a.txt /etc/hawser-missing-file /mnt/a.txt; echo new >/mnt/b.txt;' +
        ' echo no >/etc/hawser-missing/c.txt || echo read-only; test -e /etc/passwd && echo passwd; pwd';
      const id = await shell(script, { mounts });
      expect(await ended(id)).toMatchObject({ exitCode: 0, message: '' });
      await logHolds('stdout F /');
      const out = logLines().filter((line) => line.startsWith('stdout'));
      expect(out.map((line) => line.replace('stdout F ', ''))).toEqual([
        'from the volume',
        'one file',
        'from the volume',
        'read-only',
        'passwd',
        '/',
      ]);
      expect(readFileSync(join(directory, 'volume/b.txt'), 'utf8')).toBe('new\n');
      expect(() => readFileSync('/etc/hawser-missing/a.txt')).toThrow();
      expect(() => readFileSync('/hawser-missing/deep/a.txt')).toThrow();
    });

    it('runs commands in the namespace of the container', async () => {
      mkdirSync(join(directory, 'volume'));
      writeFileSync(join(directory, 'volume/a.txt'), 'inside\n');
      const mount = {
        hostPath: join(directory, 'volume'),
        containerPath: '/data',
        readOnly: false,
        optional: false,
      };
      const id = await shell('exec sleep 300', { mounts: [mount], env: new Map([['WHO', 'me']]) });
      const result = await runtime.execSync(id, ['/bin/sh', '-c', 'cat /data/a.txt; echo "$WHO"'], 8000);
      expect(result.stderr.toString()).toBe('');
      expect(result.stdout.toString()).toBe('inside\nme\n');
    });
  });

  itUnless(
    process.getuid?.() === 0 ? undefined : 'only root may become another user',
    'runs as the user that the pod names, without steering the way there',
    async () => {
      const env = new Map([['LD_PRELOAD', '/no/such.so']]);
      const id = await shell('id -u; id -g; id -G', { runAsUser: 65534, runAsGroup: 65533, env });
      await ended(id);
      const said = () => logLines().filter((it) => it.startsWith('stdout'));
      await expect.poll(said).toEqual(['stdout F 65534', 'stdout F 65533', 'stdout F 65533']);
    },
  );
});

/** Zombies that nobody has reaped yet do not count. */
function livingOf(group: number): number[] {
  const all = readdirSync('/proc').map(Number);
  return all.filter((pid) => {
    const stat = Number.isNaN(pid) ? undefined : readStat(pid);
    return stat?.group === group && stat.state !== 'Z';
  });
}

const edgeLike = `
import { systemClock } from '#beehive/clock.ts';
import { createProcessRuntime } from './process-runtime.ts';
const [root, logWriterFile, logDirectory] = process.argv.slice(2) as [string, string, string];
const log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
const runtime = createProcessRuntime({ root, instance: 'i', logWriterFile }, { clock: systemClock, log });
const pod = { podUid: 'u', podName: 'p', podNamespace: 'd', attempt: 0, hostname: 'p', logDirectory, hostNetwork: true, labels: {}, annotations: {} };
const sandbox = await runtime.runPodSandbox(pod);
const begin = async (name: string, script: string, logPath: string) => {
  const id = await runtime.createContainer(sandbox, { name, attempt: 0, image: '', command: ['/bin/sh', '-c', script], args: [], workingDir: undefined, env: new Map(), mounts: [], runAsUser: undefined, runAsGroup: undefined, logPath, labels: {}, annotations: {} });
  await runtime.startContainer(id);
  return id;
};
const runs = await begin('runs', 'i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done', 'main/0.log');
const ends = await begin('ends', 'until [ -e "' + logDirectory + '/go" ]; do sleep 0.05; done; exit 7', 'ends/0.log');
console.log(JSON.stringify({ runs, ends }));
setInterval(() => {}, 1000);
`;
