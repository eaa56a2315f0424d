/**
 * Keeps the logs of containers within their size where the runtime does not: the full file is renamed and the
 * runtime told to go on in a new one, the renamed ones before it are compressed, and the oldest removed.
 */

import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Clock } from '#beehive/clock.ts';
import type { Log } from '#beehive/log.ts';
import { describeError } from '#protocol/errors.ts';
import { renamedLogs } from '../container/container-logs.ts';
import type { EdgedMetrics } from '../edged-metrics.ts';
import { RuntimeError, type RuntimeService } from '../runtime/runtime-service.ts';
import { goRounds } from './rounds.ts';

export interface LogRotationOptions {
  readonly bytesMax: number;
  /** With the one that is written; at least two. */
  readonly filesMax: number;
}

export interface LogRotationParts {
  readonly runtime: Pick<RuntimeService, 'listContainers' | 'containerStatus' | 'reopenContainerLog'>;
  readonly counted: Pick<EdgedMetrics, 'logRotated'>;
  readonly clock: Clock;
  readonly log: Log;
}

const everyMs = 10_000;
const compressed = '.gz';
const unfinished = '.tmp';

export class LogRotation {
  readonly #options: LogRotationOptions;
  readonly #with: LogRotationParts;
  /** Of running containers, by id: it does not change. */
  #paths: ReadonlyMap<string, string> = new Map();

  constructor(options: LogRotationOptions, parts: LogRotationParts) {
    this.#options = options;
    this.#with = parts;
  }

  async run(signal: AbortSignal): Promise<void> {
    const look = async () => {
      await this.round();
      return false;
    };
    await goRounds({ everyMs, look, fault: 'cannot look after the logs' }, this.#with, signal);
  }

  async round(): Promise<void> {
    const { runtime, log } = this.#with;
    const running = (await runtime.listContainers()).filter((it) => it.state === 'running');
    const paths = new Map<string, string>();
    for (const { id, name, podUid } of running) {
      try {
        const path = this.#paths.get(id) ?? (await runtime.containerStatus(id)).logPath;
        paths.set(id, path);
        if (path !== '' && (await sizeOf(path)) >= this.#options.bytesMax) await this.#rotate(id, path);
      } catch (error) {
        if (error instanceof RuntimeError && error.code === 'not-found') continue;
        log.warn({ container: name, podUid, why: describeError(error) }, 'cannot rotate a log');
      }
    }
    this.#paths = paths;
  }

  /** What a kill leaves at any point is taken up here again: an unfinished file is removed, a renamed one compressed. */
  async #rotate(id: string, path: string): Promise<void> {
    const { runtime, clock } = this.#with;
    const renamed: string[] = [];
    for (const file of await renamedLogs(path)) {
      // Compressed already: what is left of the original goes.
      if (file.endsWith(unfinished)) await rm(file, { force: true });
      else renamed.push(file);
    }
    const whole = new Set(renamed);
    const kept: string[] = [];
    for (const file of renamed) {
      if (whole.has(`${file}${compressed}`)) await rm(file, { force: true });
      else kept.push(file);
    }
    // Room for the one that is renamed now, and for the one that is written then.
    const surplus = kept.splice(0, Math.max(0, kept.length - (this.#options.filesMax - 2)));
    for (const file of surplus) await rm(file, { force: true });
    for (const file of kept) if (!file.endsWith(compressed)) await compress(file);
    const target = await freeName(path, clock.now());
    await rename(path, target);
    try {
      await runtime.reopenContainerLog(id);
      this.#with.counted.logRotated();
    } catch (error) {
      // The runtime still writes to the renamed file: it gets its name back, and the next round tries again.
      if ((await sizeOf(path)) === 0) await rename(target, path);
      throw error;
    }
  }
}

async function compress(file: string): Promise<void> {
  const half = `${file}${unfinished}`;
  await pipeline(createReadStream(file), createGzip(), createWriteStream(half, { mode: 0o640 }));
  await rename(half, `${file}${compressed}`);
  await rm(file, { force: true });
}

/** `0.log.20260131-120000`: names sort by age, and none is taken twice. */
async function freeName(path: string, nowMs: number): Promise<string> {
  const taken = await renamedLogs(path);
  for (let atMs = nowMs; ; atMs += 1000) {
    const stamp = new Date(atMs).toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
    const name = `${path}.${stamp}`;
    if (!taken.some((it) => it.startsWith(name))) return name;
  }
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}
