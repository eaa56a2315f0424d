/**
 * What is given up leaves nothing behind: pulls whose pod is deleted while a registry hangs, and probes whose answer
 * never comes, a thousand of each, on a real container runtime.
 */

import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { ImagePulls } from '#edgecore/edged/images/image-pulls.ts';
import { containerSchema } from '#edgecore/edged/pod/pod.ts';
import { type CheckAction, check } from '#edgecore/edged/probes/probe-check.ts';
import type { RuntimeService } from '#edgecore/edged/runtime/runtime-service.ts';
import { CancelledError } from '#protocol/errors.ts';
import { criImage, needsCri, openCri, removeAll } from '../containers/runtime.ts';
import { describeUnless } from '../describe-unless.ts';
import { plainContainer, plainSandbox } from '../fixtures/runtime-configs.ts';
import { type SilentServer, startSilentServer } from '../fixtures/silent-server.ts';

const count = 1000;
const atOnce = 50;
const probeMs = 20;

describeUnless(needsCri, 'what is given up', () => {
  let directory: string;
  let runtime: RuntimeService;
  let silent: SilentServer;
  let containerId: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hawser-given-up-'));
    runtime = openCri(`given-up-${randomUUID()}`);
    await runtime.pullImage(criImage);
    silent = await startSilentServer();
    const sandbox = await runtime.runPodSandbox(plainSandbox(randomUUID(), directory));
    const sleeping = plainContainer({ image: criImage, command: ['/bin/sleep', '3600'] });
    containerId = await runtime.createContainer(sandbox, sleeping);
    await runtime.startContainer(containerId);
  });
  afterAll(async () => {
    silent.close();
    await removeAll(runtime);
    await runtime.close();
    await rm(directory, { recursive: true, force: true });
  });

  it(`leaves no handle after ${count} pulls`, async () => {
    const pulls = new ImagePulls(runtime);
    const before = await handles();
    await inTurns(async (at) => {
      const ending = new AbortController();
      const pulled = pulls.pull(`localhost:${silent.port}/never-${at}:1`, undefined, ending.signal);
      setImmediate(() => ending.abort());
      await expect(pulled).rejects.toBeInstanceOf(CancelledError);
    });
    expect(pulls.count).toBe(0);
    await expect.poll(() => silent.sockets.size).toBe(0);
    await expect.poll(handles).toEqual(before);
    expect((await runtime.status()).conditions.every((it) => it.ok)).toBe(true);
  });

  it(`leaves no handle after ${count} probes`, async () => {
    const { port } = silent;
    const kinds: readonly CheckAction[] = [
      { httpGet: { port, httpHeaders: [] } },
      { httpGet: { port, scheme: 'HTTPS', httpHeaders: [] } },
      { grpc: { port } },
    ];
    const before = await handles();
    await inTurns(async (at) => {
      const { ok } = await ask(kinds[at % kinds.length] ?? {}, probeMs);
      expect(ok).toBe(false);
    });
    await expect.poll(() => silent.sockets.size).toBe(0);
    await expect.poll(handles).toEqual(before);
  });

  it('leaves neither handle nor process after commands that hang', async () => {
    const before = await handles();
    const command = ['/bin/sleep', '3599'];
    const asked = Array.from({ length: atOnce }, () => ask({ exec: { command } }, 1000));
    expect((await Promise.all(asked)).map((it) => it.ok)).not.toContain(true);
    await expect.poll(handles).toEqual(before);
    const left = ['/bin/sh', '-c', 'ps | grep -c "[s]leep 3599"'];
    const said = async () => (await runtime.execSync(containerId, left, 60_000)).stdout.toString().trim();
    await expect.poll(said).toBe('0');
  });

  function ask(action: CheckAction, timeoutMs: number) {
    const container = containerSchema.parse({ name: 'main' });
    const target = { containerId, container, host: '127.0.0.1' };
    return check(action, target, timeoutMs, { runtime, clock: systemClock });
  }
});

/** Of this process: its open files, and what its event loop waits for but for the timers of others. */
async function handles(): Promise<{ files: number; waits: number }> {
  const files = (await readdir('/proc/self/fd')).length;
  const waits = process.getActiveResourcesInfo().filter((it) => it !== 'Timeout' && it !== 'Immediate');
  return { files, waits: waits.length };
}

async function inTurns(act: (at: number) => Promise<void>): Promise<void> {
  let next = 0;
  const one = async () => {
    while (next < count) {
      next += 1;
      await act(next);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}
