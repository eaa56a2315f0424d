import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock, systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { edgedConfigSchema } from '../config.ts';
import { bundleLogWriter } from './bundled-log-writer.ts';
import { chooseRuntime, processRuntimeRoot, protoFileOf } from './choose-runtime.ts';
import { removeProcessRuntime } from './process-removal.ts';
import type { RuntimeService } from './runtime-service.ts';

describe('the choice of a runtime', () => {
  let directory: string;
  let socket: string;
  let server: Server | undefined;
  let chosen: RuntimeService[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'hawser-choose-'));
    socket = join(directory, 'runtime.sock');
    chosen = [];
  });
  afterEach(async () => {
    for (const it of chosen) await it.close();
    await removeProcessRuntime(processRuntimeRoot(directory), systemClock);
    await stopAnswering();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Somebody listens, which is all that the choice asks. */
  const answer = (at = socket) =>
    new Promise<void>((resolve) => {
      server = createServer((connection) => connection.destroy()).listen(at, resolve);
    });
  const chosenSocket = () => JSON.parse(readFileSync(join(directory, 'containers.json'), 'utf8')).socket;
  const stopAnswering = () =>
    new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
  async function choose(runtime: 'auto' | 'process' | 'cri'): Promise<'process' | 'cri'> {
    const config = edgedConfigSchema.parse({
      rootDirectory: directory,
      runtime,
      tailoredKubeletConfig: { containerRuntimeEndpoint: `unix://${socket}` },
    });
    const files = {
      logWriterFile: await bundleLogWriter(join(directory, 'process-logs.mjs')),
      protoFile: protoFileOf(packageRoot()),
    };
    // A socket may take its time to answer.
    const components = { clock: new ManualClock(Date.now()), log: silentLog };
    const it = await chooseRuntime(config, 'i', files, components, [socket, `${socket}.other`]);
    chosen.push(it);
    const version = await it.version().catch(() => undefined);
    return version?.name === 'process' ? 'process' : 'cri';
  }

  it('is processes where no container runtime answers, and containers where one does', async () => {
    expect(await choose('auto')).toBe('process');
    await chosen[0]?.close();
    await answer();
    expect(await choose('auto')).toBe('cri');
    expect(existsSync(processRuntimeRoot(directory))).toBe(false);
  });

  it('stays with containers while their runtime is away, as at a boot', async () => {
    await answer();
    expect(await choose('auto')).toBe('cri');
    await stopAnswering();
    server = undefined;
    expect(await choose('auto')).toBe('cri');
  });

  it('finds the other usual runtime where the first does not answer, and stays with it', async () => {
    await answer(`${socket}.other`);
    expect(await choose('auto')).toBe('cri');
    expect(chosenSocket()).toBe(`${socket}.other`);
    await stopAnswering();
    await answer();
    expect(await choose('auto')).toBe('cri');
    expect(chosenSocket()).toBe(`${socket}.other`);
  });

  it('is what the config says, whoever answers', async () => {
    expect(await choose('cri')).toBe('cri');
    await answer();
    expect(await choose('process')).toBe('process');
  });
});
