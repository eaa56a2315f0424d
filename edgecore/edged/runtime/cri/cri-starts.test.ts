/**
 * Starts that edgecore's death falls into, on a real container runtime. Who asks for a start and is killed cuts it: the
 * runtime ends what has begun. Meanwhile the next edgecore sees the container as created.
 */

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { criEndpoint, criImage, needsCri, openCri, removeAll } from '#test/containers/runtime.ts';
import { describeUnless } from '#test/describe-unless.ts';
import { plainContainer, plainSandbox } from '#test/fixtures/runtime-configs.ts';
import type { RuntimeService } from '../runtime-service.ts';

describeUnless(needsCri, 'a start that another call has begun', () => {
  let directory: string;
  let runtime: RuntimeService;
  let sandboxId: string;
  let id: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hawser-cri-'));
    runtime = openCri(`test-${randomUUID()}`);
    await runtime.pullImage(criImage);
    sandboxId = await runtime.runPodSandbox(plainSandbox(randomUUID(), join(directory, 'logs')));
    const sleeping = plainContainer({ image: criImage, command: ['/bin/sleep', '3600'] });
    id = await runtime.createContainer(sandboxId, sleeping);
  });
  afterEach(async () => {
    await removeAll(runtime);
    await runtime.close();
    await rm(directory, { recursive: true, force: true });
  });

  it('is neither begun again nor ended by a removal', async () => {
    const shim = await shimOf(sandboxId);
    process.kill(shim, 'SIGSTOP');
    const starts = [runtime.startContainer(id), runtime.startContainer(id)];
    const ended = Promise.allSettled(starts);
    try {
      await expect(Promise.race(starts)).rejects.toMatchObject({ code: 'starting', detail: { id } });
      expect((await runtime.containerStatus(id)).state).toBe('created');
      await expect(runtime.removeContainer(id)).rejects.toMatchObject({ code: 'starting' });
    } finally {
      process.kill(shim, 'SIGCONT');
    }
    expect((await ended).map((it) => it.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect((await runtime.containerStatus(id)).state).toBe('running');
    await runtime.startContainer(id);
  });

  it('leaves nothing that could not be removed, whatever the runtime has forgotten of it', async () => {
    await ctr('tasks', 'start', '--detach', '--null-io', id);
    expect((await runtime.containerStatus(id)).state).toBe('created');
    await runtime.removeContainer(id);
    expect(await runtime.listContainers()).toEqual([]);
    expect(await ctr('tasks', 'ls', '-q')).not.toContain(id);
  });

  it('does not keep its sandbox from being removed either', async () => {
    await ctr('tasks', 'start', '--detach', '--null-io', id);
    await runtime.removePodSandbox(sandboxId);
    expect(await runtime.listPodSandboxes()).toEqual([]);
    expect(await ctr('tasks', 'ls', '-q')).not.toContain(id);
  });
});

/** containerd's own command, past CRI. */
async function ctr(...args: string[]): Promise<string> {
  const socket = criEndpoint.replace(/^unix:\/\//, '');
  const all = ['--address', socket, '--namespace', 'k8s.io', ...args];
  return (await promisify(execFile)('ctr', all)).stdout;
}

/** The process between containerd and what runs in a sandbox. */
async function shimOf(sandboxId: string): Promise<number> {
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (command.includes('containerd-shim') && command.includes(sandboxId)) return Number(pid);
  }
  throw new Error(`no shim of ${sandboxId}`);
}
