/**
 * The state directory of the process runtime: what must be known after a restart, and nothing else. Our files
 * come into being by rename; the shim's notes count when their line is complete. Environments are not among
 * them: they may hold secrets.
 *
 *   shim.sh  writer.json  sandboxes/<id>.json
 *   containers/<id>/  record.json log.json stdout stderr drained | started | pid failed exit logged
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { bootId, isAlive, type ProcessIdentity } from './process-identity.ts';
import type { LogSettings } from './process-logs.ts';
import { RuntimeError } from './runtime-service.ts';

const labelsSchema = z.record(z.string(), z.string());

const sandboxRecordSchema = z.object({
  id: z.string(),
  podUid: z.string(),
  podName: z.string(),
  podNamespace: z.string(),
  attempt: z.number(),
  hostname: z.string(),
  logDirectory: z.string(),
  createdAtMs: z.number(),
  bootId: z.string(),
  stopped: z.boolean(),
  labels: labelsSchema,
});
export type SandboxRecord = z.infer<typeof sandboxRecordSchema>;

const containerRecordSchema = z.object({
  id: z.string(),
  sandboxId: z.string(),
  podUid: z.string(),
  name: z.string(),
  attempt: z.number(),
  image: z.string(),
  createdAtMs: z.number(),
  bootId: z.string(),
  namespace: z.enum(['none', 'root', 'user']),
  logPath: z.string(),
  labels: labelsSchema,
  annotations: labelsSchema,
});
export type ContainerRecord = z.infer<typeof containerRecordSchema>;

const identitySchema = z.object({ pid: z.number().int().positive(), start: z.string() });

export interface RunState {
  readonly state: 'created' | 'running' | 'exited';
  readonly process: ProcessIdentity | undefined;
  readonly shim: ProcessIdentity | undefined;
  readonly startedAtMs: number | undefined;
  readonly finishedAtMs: number | undefined;
  readonly exitCode: number | undefined;
  readonly reason: string;
  readonly message: string;
}

/** Exit code of a command whose end nobody saw: the machine was started anew. */
const exitCodeUnknown = 255;
const exitCodeKilled = 137;

export class ProcessState {
  readonly root: string;
  readonly bootId = bootId();

  constructor(root: string) {
    this.root = root;
    rmSync(this.#makingDirectory, { recursive: true, force: true });
    mkdirSync(this.containersDirectory, { recursive: true, mode: 0o700 });
    mkdirSync(join(root, 'sandboxes'), { recursive: true, mode: 0o700 });
  }

  get containersDirectory(): string {
    return join(this.root, 'containers');
  }

  get #makingDirectory(): string {
    return join(this.root, 'making');
  }

  directory(id: string): string {
    return join(this.containersDirectory, id);
  }

  sandboxes(): SandboxRecord[] {
    return readdirSync(join(this.root, 'sandboxes')).flatMap((name) =>
      name.endsWith('.json') ? read(join(this.root, 'sandboxes', name), sandboxRecordSchema) : [],
    );
  }

  containers(): ContainerRecord[] {
    return readdirSync(this.containersDirectory).flatMap((id) =>
      read(join(this.directory(id), 'record.json'), containerRecordSchema),
    );
  }

  /** What a crash left: directories without a record, and containers that were never started, for which the config is gone. */
  halfMade(): string[] {
    return readdirSync(this.containersDirectory).filter((id) =>
      read(join(this.directory(id), 'record.json'), containerRecordSchema).every(
        (record) => this.observe(record).state === 'created',
      ),
    );
  }

  writeSandbox(record: SandboxRecord): void {
    writeWhole(join(this.root, 'sandboxes', `${record.id}.json`), JSON.stringify(record));
  }

  removeSandbox(id: string): void {
    rmSync(join(this.root, 'sandboxes', `${id}.json`), { force: true });
  }

  createContainer(record: ContainerRecord, log: LogSettings): void {
    // Made whole apart: the log writer looks into a directory once, when it appears.
    const directory = join(this.#makingDirectory, record.id);
    mkdirSync(join(directory, 'root'), { recursive: true, mode: 0o700 });
    const made = spawnSync('mkfifo', [
      '-m',
      '0600',
      ...['stdout', 'stderr', 'drained'].map((it) => join(directory, it)),
    ]);
    if (made.status !== 0) {
      rmSync(directory, { recursive: true, force: true });
      throw new RuntimeError(
        `mkfifo failed in ${directory}: ${made.stderr?.toString() ?? made.error?.message}`,
        {
          code: 'unavailable',
          what: 'mkfifo',
        },
      );
    }
    writeWhole(join(directory, 'record.json'), JSON.stringify(record));
    writeWhole(join(directory, 'log.json'), JSON.stringify(log));
    renameSync(directory, this.directory(record.id));
  }

  removeContainer(id: string): void {
    rmSync(this.directory(id), { recursive: true, force: true });
  }

  /** Before the shim is started, so that a start that nobody saw is known to have been tried. */
  markStarted(id: string, shim: ProcessIdentity): void {
    writeWhole(join(this.directory(id), 'started'), JSON.stringify(shim));
  }

  /** What the container does, from its files and the processes. Writes the exit of one that can write no more. */
  observe(record: ContainerRecord): RunState {
    const at = (name: string) => join(this.directory(record.id), name);
    const [shim] = read(at('started'), identitySchema);
    const found = readIdentity(at('pid'));
    const startedAtMs = changedAtMs(at('pid')) ?? changedAtMs(at('started'));
    const base = { process: found, shim, startedAtMs };
    const exit = readNote(at('exit'));
    if (exit !== undefined) {
      const failed = readNote(at('failed'));
      const exitCode = Number.parseInt(exit, 10);
      const reason = failed !== undefined ? 'StartError' : exitReason(exitCode, exit);
      return {
        ...base,
        state: 'exited',
        finishedAtMs: changedAtMs(at('exit')),
        exitCode,
        reason,
        message: failed ?? '',
      };
    }
    const none = { finishedAtMs: undefined, exitCode: undefined, reason: '', message: '' };
    if (shim === undefined) return { ...base, state: 'created', ...none };
    const sameBoot = record.bootId === this.bootId;
    if (sameBoot && ((found !== undefined && isAlive(found)) || isAlive(shim)))
      return { ...base, state: 'running', ...none };
    this.#writeExit(record.id, sameBoot ? `${exitCodeKilled}` : `${exitCodeUnknown} unknown`);
    return this.observe(record);
  }

  #writeExit(id: string, text: string): void {
    const path = join(this.directory(id), 'exit');
    if (readNote(path) === undefined) writeWhole(path, `${text}\n`);
  }

  writer(): ProcessIdentity | undefined {
    return read(join(this.root, 'writer.json'), identitySchema)[0];
  }

  writeWriter(identity: ProcessIdentity): void {
    writeWhole(join(this.root, 'writer.json'), JSON.stringify(identity));
  }

  writeScript(text: string): string {
    const path = join(this.root, 'shim.sh');
    writeWhole(path, text, 0o755);
    return path;
  }
}

function exitReason(code: number, text: string): string {
  if (text.endsWith('unknown')) return 'ContainerStatusUnknown';
  return code === 0 ? 'Completed' : 'Error';
}

function read<S extends z.ZodType>(path: string, schema: S): z.infer<S>[] {
  const text = readText(path);
  if (text === undefined) return [];
  try {
    return [schema.parse(JSON.parse(text))];
  } catch {
    return [];
  }
}

/** `<pid> <start>`, as the shim writes it. */
function readIdentity(path: string): ProcessIdentity | undefined {
  const [pid, start] = readNote(path)?.split(' ') ?? [];
  return pid === undefined || start === undefined ? undefined : { pid: Number(pid), start };
}

function readNote(path: string): string | undefined {
  const text = readText(path);
  return text?.endsWith('\n') ? text.trim() : undefined;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function changedAtMs(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

function writeWhole(path: string, text: string, mode = 0o600): void {
  writeFileSync(`${path}.new`, text, { mode });
  renameSync(`${path}.new`, path);
}
