/** What every implementation of the runtime service must do; each runs this suite from its own test. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ContainerConfig,
  type ContainerStatus,
  label,
  type RuntimeService,
  type SandboxConfig,
} from '#edgecore/edged/runtime/runtime-service.ts';

export interface RuntimeUnderTest {
  readonly runtime: RuntimeService;
  /** Where a runtime has no commands: makes the named container end. */
  readonly end?: (name: string, exitCode: number) => void;
  /** Where it has none: makes the named container ignore TERM. */
  readonly ignoreTerm?: (name: string) => void;
  /** Where containers have a root of their own: the image they start from; the test's directory is mounted. */
  readonly image?: string;
  readonly dispose: () => Promise<void>;
}

export function describeRuntimeService(
  name: string,
  create: (directory: string) => Promise<RuntimeUnderTest>,
): void {
  describe(`runtime service: ${name}`, () => {
    let directory: string;
    let under: RuntimeUnderTest;
    let runtime: RuntimeService;

    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'hawser-runtime-'));
      under = await create(directory);
      runtime = under.runtime;
    });
    afterEach(async () => {
      await under.dispose();
      await rm(directory, { recursive: true, force: true });
    });

    const sandboxConfig = (podUid: string, attempt = 0): SandboxConfig => ({
      podUid,
      podName: `pod-${podUid}`,
      podNamespace: 'default',
      attempt,
      hostname: `pod-${podUid}`,
      logDirectory: join(directory, 'logs', podUid),
      hostNetwork: true,
      labels: { [label.podUid]: podUid },
      annotations: {},
    });
    const containerConfig = (containerName: string, script: string, attempt = 0): ContainerConfig => ({
      name: containerName,
      attempt,
      image: under.image ?? 'registry.test/busybox:1',
      command: ['/bin/sh', '-c', script],
      args: [],
      workingDir: undefined,
      env: new Map([['GREETING', 'hello']]),
      mounts:
        under.image === undefined
          ? []
          : [{ hostPath: directory, containerPath: directory, readOnly: false, optional: false }],
      runAsUser: undefined,
      runAsGroup: undefined,
      logPath: `${containerName}/${attempt}.log`,
      labels: { [label.containerName]: containerName },
      annotations: { note: 'kept' },
    });
    const start = async (podUid: string, containerName: string, script: string, attempt = 0) => {
      const sandbox = await runtime.runPodSandbox(sandboxConfig(podUid));
      const id = await runtime.createContainer(sandbox, containerConfig(containerName, script, attempt));
      await runtime.startContainer(id);
      return { sandbox, id };
    };
    const ended = async (id: string): Promise<ContainerStatus> => {
      const stop = new AbortController();
      const events = runtime.events(stop.signal)[Symbol.asyncIterator]();
      for (;;) {
        const next = events.next();
        const status = await runtime.containerStatus(id);
        if (status.state === 'exited') {
          stop.abort();
          return status;
        }
        await next;
      }
    };

    it('names itself and is ready', async () => {
      expect((await runtime.version()).name).not.toBe('');
      const { conditions } = await runtime.status();
      expect(conditions.find((it) => it.type === 'RuntimeReady')?.ok).toBe(true);
    });

    it('finds or creates a sandbox by pod uid and attempt', async () => {
      const first = await runtime.runPodSandbox(sandboxConfig('a'));
      expect(await runtime.runPodSandbox(sandboxConfig('a'))).toBe(first);
      expect(await runtime.runPodSandbox(sandboxConfig('a', 1))).not.toBe(first);
      expect(await runtime.runPodSandbox(sandboxConfig('b'))).not.toBe(first);
      const listed = await runtime.listPodSandboxes({ podUid: 'a' });
      expect(listed.map((it) => it.attempt).sort()).toEqual([0, 1]);
      expect(listed[0]?.labels[label.instance]).toBeTruthy();
      expect(listed[0]?.labels[label.podUid]).toBe('a');
    });

    it('finds or creates a container by sandbox, name and attempt, and keeps labels and annotations', async () => {
      const sandbox = await runtime.runPodSandbox(sandboxConfig('a'));
      const id = await runtime.createContainer(sandbox, containerConfig('main', 'sleep 60'));
      expect(await runtime.createContainer(sandbox, containerConfig('main', 'sleep 60'))).toBe(id);
      const status = await runtime.containerStatus(id);
      expect(status).toMatchObject({
        name: 'main',
        attempt: 0,
        state: 'created',
        podUid: 'a',
        sandboxId: sandbox,
      });
      expect(status.annotations).toEqual({ note: 'kept' });
      expect(status.labels[label.instance]).toBeTruthy();
    });

    it('starts once, runs, and stops within the grace', async () => {
      const { id } = await start('a', 'main', "trap 'exit 143' TERM; sleep 60 & wait");
      await runtime.startContainer(id);
      expect((await runtime.containerStatus(id)).state).toBe('running');
      await runtime.stopContainer(id, 10_000);
      const status = await runtime.containerStatus(id);
      expect(status).toMatchObject({ state: 'exited', exitCode: 143 });
      expect(status.finishedAtMs).toBeGreaterThanOrEqual(status.startedAtMs ?? Number.MAX_VALUE);
    });

    it('kills what ignores TERM, and a second stop may shorten the grace', async () => {
      under.ignoreTerm?.('main');
      const ready = join(directory, 'ready');
      const { id } = await start('a', 'main', `trap '' TERM; : >${ready}; while :; do sleep 60 & wait; done`);
      await runtime.execSync(id, ['/bin/sh', '-c', `until [ -e ${ready} ]; do sleep 0.02; done`], 10_000);
      const slow = runtime.stopContainer(id, 600_000);
      await runtime.stopContainer(id, 10);
      await slow;
      expect(await runtime.containerStatus(id)).toMatchObject({ state: 'exited', exitCode: 137 });
    });

    it('reports exit codes and tells of the end', async () => {
      const { id } = await start('a', 'main', 'exit 3');
      under.end?.('main', 3);
      expect(await ended(id)).toMatchObject({ exitCode: 3, reason: 'Error' });
      const second = await start('a', 'other', 'true');
      under.end?.('other', 0);
      expect(await ended(second.id)).toMatchObject({ exitCode: 0, reason: 'Completed' });
    });

    it('lists by pod, and removes a running container and its sandbox', async () => {
      const { sandbox, id } = await start('a', 'main', 'sleep 60');
      await start('b', 'main', 'sleep 60');
      expect((await runtime.listContainers({ podUid: 'a' })).map((it) => it.id)).toEqual([id]);
      expect(await runtime.listContainers()).toHaveLength(2);
      await runtime.removePodSandbox(sandbox);
      expect(await runtime.listContainers({ podUid: 'a' })).toEqual([]);
      expect(await runtime.listPodSandboxes({ podUid: 'a' })).toEqual([]);
      await expect(runtime.containerStatus(id)).rejects.toMatchObject({ code: 'not-found' });
    });

    it('stops a sandbox with its containers and keeps how they ended', async () => {
      const { sandbox, id } = await start('a', 'main', 'sleep 60');
      await runtime.stopPodSandbox(sandbox);
      expect((await runtime.podSandboxStatus(sandbox)).state).toBe('notready');
      expect((await runtime.containerStatus(id)).state).toBe('exited');
    });

    it('succeeds in stopping and removing what is gone', async () => {
      await runtime.stopContainer('gone', 0);
      await runtime.removeContainer('gone');
      await runtime.stopPodSandbox('gone');
      await runtime.removePodSandbox('gone');
      await expect(runtime.startContainer('gone')).rejects.toMatchObject({ code: 'not-found' });
    });

    it('runs commands inside a running container only', async () => {
      const { id } = await start('a', 'main', 'sleep 60');
      const result = await runtime.execSync(id, ['echo', 'inside'], 60_000);
      expect(result.exitCode).toBe(0);
      expect(result.stdout.toString()).toContain('inside');
      await runtime.stopContainer(id, 0);
      await expect(runtime.execSync(id, ['true'], 1000)).rejects.toMatchObject({ code: 'not-running' });
    });

    it('counts what runs', async () => {
      const { id } = await start('a', 'main', 'sleep 60');
      const [counted, ...others] = await runtime.listContainerStats({ podUid: 'a' });
      expect(others).toEqual([]);
      expect(counted).toMatchObject({ id, podUid: 'a', name: 'main', atMs: expect.any(Number) });
      expect(counted?.cpuNanoseconds).toBeGreaterThanOrEqual(0);
      expect(counted?.memory.workingSetBytes).toBeGreaterThanOrEqual(0);
      await runtime.stopContainer(id, 0);
      expect(await runtime.listContainerStats({ podUid: 'a' })).toEqual([]);
    });

    it('lets its logs be renamed, or does so itself', async () => {
      const { id } = await start('a', 'main', 'sleep 60');
      const { rotatesLogs } = await runtime.status();
      const reopened = runtime.reopenContainerLog(id);
      if (rotatesLogs) await expect(reopened).rejects.toMatchObject({ code: 'unsupported' });
      else await reopened;
    });

    it('says which images are in use, where it uses any', async () => {
      await start('a', 'main', 'sleep 60');
      const { usesImages } = await runtime.status();
      const used = await runtime.imagesInUse();
      const images = await runtime.listImages();
      const ours = images.filter((it) => [it.id, ...it.tags].some((name) => used.has(name)));
      expect(ours.length > 0).toBe(usesImages);
      expect((await runtime.imageDirectory()) !== undefined).toBe(usesImages);
    });
  });
}
