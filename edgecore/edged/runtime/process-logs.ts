/**
 * The log writer: one small process an edge, which reads the pipes of all containers of the process runtime and
 * writes their CRI logs. It is apart from edgecore so that logs go on while edgecore is away; it may be killed
 * or replaced at any time, for the pipes keep what it has not read. It follows the state directory: a container
 * appears as a directory with `log.json`, and has ended when `exit` stands there.
 */

import {
  closeSync,
  constants,
  type FSWatcher,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '#beehive/clock.ts';
import { LineSplitter, LogFile, type LogStream, logTime } from './cri-log.ts';
import { isAlive, type ProcessIdentity } from './process-identity.ts';

const logSettingsSchema = z.object({ path: z.string(), bytesMax: z.number(), filesMax: z.number() });
export type LogSettings = z.infer<typeof logSettingsSchema>;

const rescanMs = 10_000;
const chunkBytes = 64 * 1024;

/** Runs until aborted, or until nobody needs it: no container is left and edgecore is gone. */
export async function writeLogs(
  containersDirectory: string,
  owner: ProcessIdentity,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const followed = new Map<string, ContainerLog>();
  const scan = () => {
    const present = new Set(readdirSync(containersDirectory));
    for (const [id, log] of followed) {
      if (present.has(id)) continue;
      log.close();
      followed.delete(id);
    }
    for (const id of present) {
      const known = followed.get(id);
      if (known !== undefined) {
        known.check();
        continue;
      }
      const opened = ContainerLog.open(join(containersDirectory, id), clock, scan);
      if (opened !== undefined) followed.set(id, opened);
    }
  };
  const watcher = watch(containersDirectory, () => {
    try {
      scan();
    } catch {
      // The directory is gone: the next round ends this process.
    }
  });
  try {
    while (!signal.aborted) {
      scan();
      if (followed.size === 0 && !isAlive(owner)) return;
      await clock.sleep(rescanMs, signal).catch(() => {});
    }
  } catch {
    // The state directory was removed: there is nothing left to write for.
  } finally {
    watcher.close();
    for (const log of followed.values()) log.close();
  }
}

class ContainerLog {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #file: LogFile;
  readonly #streams: { fd: number; socket: Socket; splitter: LineSplitter }[] = [];
  readonly #watcher: FSWatcher;
  #ended = false;
  #released: number | undefined;

  /** Undefined while the container is not complete yet. */
  static open(directory: string, clock: Clock, changed: () => void): ContainerLog | undefined {
    const settings = readSettings(directory);
    if (settings === undefined) return undefined;
    try {
      return new ContainerLog(directory, settings, clock, changed);
    } catch {
      return undefined;
    }
  }

  private constructor(directory: string, settings: LogSettings, clock: Clock, changed: () => void) {
    this.#directory = directory;
    this.#clock = clock;
    this.#file = new LogFile(settings, clock);
    this.#watcher = watch(directory, (_event, name) => {
      if (name === 'exit') changed();
    });
    if (hasText(join(directory, 'logged'))) this.#release();
    else for (const name of ['stdout', 'stderr'] as const) this.#follow(name);
    this.check();
  }

  /** Ends the log once the container has ended. */
  check(): void {
    if (this.#ended || !hasText(join(this.#directory, 'exit'))) return;
    this.#ended = true;
    const time = logTime(this.#clock.now());
    for (const { fd, socket, splitter } of this.#streams) {
      socket.pause();
      for (let chunk = socket.read(); chunk !== null; chunk = socket.read())
        this.#file.append(splitter.push(chunk, time));
      for (const chunk of readAll(fd)) this.#file.append(splitter.push(chunk, time));
      this.#file.append(splitter.end(time));
    }
    for (const { socket } of this.#streams.splice(0)) socket.destroy();
    this.#file.close();
    writeFileSync(join(this.#directory, 'logged'), '\n');
    this.#release();
  }

  close(): void {
    this.#ended = true;
    this.#watcher.close();
    for (const { socket } of this.#streams.splice(0)) socket.destroy();
    this.#file.close();
    if (this.#released !== undefined) closeSync(this.#released);
    this.#released = undefined;
  }

  #follow(name: LogStream): void {
    // Read and write, so that the pipe never reports an end, however its writers come and go.
    const fd = openSync(join(this.#directory, name), constants.O_RDWR | constants.O_NONBLOCK);
    const splitter = new LineSplitter(name);
    const socket = new Socket({ fd, readable: true, writable: false });
    socket.on('data', (chunk: Buffer) => this.#file.append(splitter.push(chunk, logTime(this.#clock.now()))));
    socket.on('error', () => socket.destroy());
    this.#streams.push({ fd, socket, splitter });
  }

  /** Lets the shim go, which waits until somebody has this pipe open; held until the container is removed. */
  #release(): void {
    this.#ended = true;
    this.#released = openSync(join(this.#directory, 'drained'), constants.O_RDWR | constants.O_NONBLOCK);
  }
}

function* readAll(fd: number): Generator<Buffer> {
  for (;;) {
    const chunk = Buffer.allocUnsafe(chunkBytes);
    let bytes: number;
    try {
      bytes = readSync(fd, chunk);
    } catch {
      return;
    }
    if (bytes === 0) return;
    yield chunk.subarray(0, bytes);
  }
}

function readSettings(directory: string): LogSettings | undefined {
  try {
    return logSettingsSchema.parse(JSON.parse(readFileSync(join(directory, 'log.json'), 'utf8')));
  } catch {
    return undefined;
  }
}

function hasText(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}
