/** Commands inside a container of the process runtime, its log as a stream, and ports of the machine. */

import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import type { Clock } from '#beehive/clock.ts';
import type { ProcessIdentity } from './process-identity.ts';
import { markVariable } from './process-machine.ts';
import { type ExecRequest, type ExecResult, RuntimeError, type StreamSession } from './runtime-service.ts';

const outputBytesMax = 16 * 1024 * 1024;
const environmentTries = 10;
const environmentRetryMs = 20;

export interface ExecTarget {
  readonly containerId: string;
  readonly process: ProcessIdentity;
  readonly namespace: 'none' | 'root' | 'user';
}

/** The command in the container's namespace, root and working directory, with its environment. */
async function spawnInside(
  target: ExecTarget,
  command: readonly string[],
  clock: Clock,
): Promise<ChildProcess> {
  if (command.some((word) => word.includes('\0')))
    throw new RuntimeError('a command cannot hold a NUL character', { code: 'refused', what: 'command' });
  const { pid } = target.process;
  const [first = '', ...rest] = command;
  const user = target.namespace === 'user' ? ['--user', '--preserve-credentials'] : [];
  const env = await readEnvironment(target, clock);
  const stdio: ['pipe', 'pipe', 'pipe'] = ['pipe', 'pipe', 'pipe'];
  if (target.namespace === 'none')
    return spawn(first, rest, { cwd: `/proc/${pid}/cwd`, env, detached: true, stdio });
  const enter = ['--target', String(pid), ...user, '--mount', '--root', '--wd', '--', first, ...rest];
  return spawn('nsenter', enter, { env, detached: true, stdio });
}

export async function execSync(
  target: ExecTarget,
  command: readonly string[],
  timeoutMs: number,
  clock: Clock,
): Promise<ExecResult> {
  const child = await spawnInside(target, command, clock);
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  child.stdin?.end();
  const done = new AbortController();
  const late = clock.sleep(timeoutMs, done.signal).then(
    () => 'late' as const,
    () => 'late' as const,
  );
  const exitCode = await Promise.race([exitOf(child), late]);
  done.abort();
  if (exitCode !== 'late') return { exitCode, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) };
  killGroup(child);
  throw new RuntimeError(`${command[0]} did not end within ${timeoutMs} ms`, {
    code: 'timeout',
    afterMs: timeoutMs,
  });
}

export async function exec(target: ExecTarget, request: ExecRequest, clock: Clock): Promise<StreamSession> {
  const child = await spawnInside(target, request.command, clock);
  if (!request.stdin) child.stdin?.end();
  return {
    stdin: request.stdin ? (child.stdin ?? undefined) : undefined,
    stdout: child.stdout ?? new PassThrough().end(),
    stderr: child.stderr ?? new PassThrough().end(),
    ended: exitOf(child).then((exitCode) => ({ exitCode })),
    resize() {},
    close: () => killGroup(child),
  };
}

export async function portForward(port: number): Promise<{ readable: Readable; writable: Writable }> {
  const socket = connect({ host: '127.0.0.1', port });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error) =>
      reject(
        new RuntimeError(
          `nothing listens on port ${port}`,
          { code: 'unavailable', what: `port ${port}` },
          { cause: error },
        ),
      ),
    );
  });
  return { readable: socket, writable: socket };
}

/** 126 and 127 as a shell has them, 128 + n for a signal. */
function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('error', () => resolve(127));
    child.once('close', (code) => resolve(code ?? 137));
  });
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

function collect(stream: Readable | null): Buffer[] {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream?.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= outputBytesMax) chunks.push(chunk);
  });
  return chunks;
}

/** A process that is just becoming the command shows no environment for a moment. */
async function readEnvironment(target: ExecTarget, clock: Clock): Promise<Record<string, string>> {
  const mark = `${markVariable}=${target.containerId}`;
  let entries: string[] = [];
  for (let tries = 0; tries < environmentTries; tries += 1) {
    entries = readFileSync(`/proc/${target.process.pid}/environ`, 'utf8').split('\0');
    if (entries.includes(mark)) break;
    await clock.sleep(environmentRetryMs);
  }
  const env: Record<string, string> = Object.create(null);
  for (const entry of entries) {
    const at = entry.indexOf('=');
    if (at > 0) env[entry.slice(0, at)] = entry.slice(at + 1);
  }
  return env;
}
