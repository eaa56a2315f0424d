import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, readlink, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { criImage, needsCri, openCri, removeAll } from '#test/containers/runtime.ts';
import { describeUnless } from '#test/describe-unless.ts';
import { fetchText } from '#test/fetch-text.ts';
import { plainContainer, plainSandbox } from '#test/fixtures/runtime-configs.ts';
import { describeRuntimeService } from '#test/suites/runtime-service.suite.ts';
import type { ContainerConfig, RuntimeService, SandboxConfig } from '../runtime-service.ts';

describeUnless(needsCri, 'on a real container runtime', () => {
  describeRuntimeService('cri', async () => {
    const runtime = openCri(`test-${randomUUID()}`);
    await runtime.pullImage(criImage);
    return {
      runtime,
      image: criImage,
      dispose: async () => {
        await removeAll(runtime);
        await runtime.close();
      },
    };
  });
});

describeUnless(needsCri, 'cri runtime', () => {
  let directory: string;
  let instance: string;
  let runtime: RuntimeService;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hawser-cri-'));
    instance = `test-${randomUUID()}`;
    runtime = openCri(instance);
    await runtime.pullImage(criImage);
  });
  afterEach(async () => {
    await removeAll(runtime);
    await runtime.close();
    await rm(directory, { recursive: true, force: true });
  });

  const sandboxConfig = (over: Partial<SandboxConfig> = {}): SandboxConfig =>
    plainSandbox(randomUUID(), join(directory, 'logs'), {
      podName: 'pod',
      hostname: 'named-by-us',
      hostNetwork: false,
      ...over,
    });
  const start = async (script: string, over: Partial<ContainerConfig> = {}, sandbox = sandboxConfig()) => {
    const sandboxId = await runtime.runPodSandbox(sandbox);
    const shell = { image: criImage, command: ['/bin/sh', '-c', script] };
    const id = await runtime.createContainer(sandboxId, plainContainer({ ...shell, ...over }));
    await runtime.startContainer(id);
    return { sandboxId, id };
  };
  const run = async (id: string, command: string) =>
    (await runtime.execSync(id, ['/bin/sh', '-c', command], 60_000)).stdout.toString().trim();
  const forever = 'while :; do sleep 60 & wait; done';

  it('gives a pod an address of its own, its hostname and its resolver', async () => {
    const dns = { servers: ['192.0.2.53'], searches: ['edge.test'], options: ['ndots:5'] };
    const { sandboxId, id } = await start(
      'httpd -f -p 8080 -h /www',
      {},
      sandboxConfig({ dns, annotations: { note: 'n' } }),
    );
    const { ip } = await runtime.podSandboxStatus(sandboxId);
    expect(ip).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    expect(await run(id, 'hostname')).toBe('named-by-us');
    expect(await run(id, 'cat /etc/resolv.conf')).toBe(
      'search edge.test\nnameserver 192.0.2.53\noptions ndots:5',
    );
    await expect.poll(() => fetchText(`http://${ip}:8080/`).catch(() => '')).toContain('container');
    const { writable, readable } = await runtime.portForward(sandboxId, 8080);
    writable.write('GET / HTTP/1.0\r\n\r\n');
    expect(await text(readable)).toContain('hello from a container');
  });

  it('shares the network of the machine with a pod that asks for it', async () => {
    const { sandboxId, id } = await start(forever, {}, sandboxConfig({ hostNetwork: true }));
    expect((await runtime.podSandboxStatus(sandboxId)).ip).toBeUndefined();
    expect(await run(id, 'readlink /proc/self/ns/net')).toBe(await readlink('/proc/self/ns/net'));
  });

  it('sees and touches only what carries its own instance id', async () => {
    const { sandboxId, id } = await start(forever);
    const other = openCri(`other-${randomUUID()}`);
    expect(await other.listPodSandboxes()).toEqual([]);
    expect(await other.listContainers()).toEqual([]);
    await expect(other.podSandboxStatus(sandboxId)).rejects.toMatchObject({ code: 'not-found' });
    await expect(other.containerStatus(id)).rejects.toMatchObject({ code: 'not-found' });
    await other.stopContainer(id, 0);
    await other.removeContainer(id);
    await other.stopPodSandbox(sandboxId);
    await other.removePodSandbox(sandboxId);
    await other.close();
    expect((await runtime.containerStatus(id)).state).toBe('running');
  });

  it('goes on where an edgecore that has ended left off', async () => {
    const { sandboxId, id } = await start(forever);
    await runtime.close();
    runtime = openCri(instance);
    expect((await runtime.listContainers()).map((it) => it.id)).toEqual([id]);
    const second = await start('echo second', { name: 'second', logPath: 'second/0.log' }, await ofSandbox());
    expect((await runtime.containerStatus(second.id)).sandboxId).toBe(sandboxId);
    expect((await runtime.containerStatus(second.id)).logPath).toBe(join(directory, 'logs/second/0.log'));
  });
  const ofSandbox = async () => {
    const [sandbox] = await runtime.listPodSandboxes();
    return sandboxConfig({ podUid: sandbox?.podUid ?? '', attempt: sandbox?.attempt ?? 0 });
  };

  it('obeys the security context and the limits', async () => {
    const { id } = await start(forever, {
      runAsUser: 65534,
      runAsGroup: 65534,
      linux: {
        readOnlyRoot: true,
        noNewPrivileges: true,
        dropCapabilities: ['ALL'],
        supplementalGroups: [1234],
        resources: {
          cpuPeriod: 100_000,
          cpuQuota: 50_000,
          cpuShares: 256,
          memoryLimitBytes: 64 * 1024 * 1024,
          oomScoreAdj: 1000,
        },
      },
    });
    expect(await run(id, 'id -u; id -g; id -G')).toBe('65534\n65534\n65534 1234');
    expect(await run(id, 'touch /file 2>&1')).toContain('Read-only file system');
    const status = await run(id, 'cat /proc/1/status');
    expect(status).toContain('NoNewPrivs:\t1');
    expect(status).toContain('CapEff:\t0000000000000000');
    expect(await run(id, 'cat /proc/1/oom_score_adj')).toBe('1000');
    const limit = 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null';
    expect(await run(id, limit)).toBe(String(64 * 1024 * 1024));
  });

  it('carries the streams of a command, and how it ended', async () => {
    const { id } = await start(forever);
    const request = { command: ['/bin/sh', '-c', 'cat; echo oops >&2; exit 7'], stdin: true, tty: false };
    const session = await runtime.exec(id, request);
    session.stdin?.write('through and back');
    const said = buffer(session.stdout);
    const complained = text(session.stderr);
    await new Promise((resolve) => session.stdout.once('readable', resolve));
    session.close();
    await session.ended;
    expect((await said).toString()).toBe('through and back');
    const failing = await runtime.exec(id, {
      ...request,
      command: ['/bin/sh', '-c', 'exit 7'],
      stdin: false,
    });
    failing.stdout.resume();
    expect(await failing.ended).toEqual({ exitCode: 7 });
    await complained;
  });

  it('tells of an end that nobody asked for', async () => {
    const stop = new AbortController();
    const events = runtime.events(stop.signal)[Symbol.asyncIterator]();
    const first = events.next();
    const { id } = await start('sleep 2; exit 9');
    for (let next = await first; ; next = await events.next()) {
      const { containerId, type } = next.value ?? {};
      if (containerId === id && type === 'stopped') break;
    }
    expect(await runtime.containerStatus(id)).toMatchObject({ state: 'exited', exitCode: 9 });
    stop.abort();
  });

  it('says what the registry said, and which images are there', async () => {
    const [registry] = criImage.split('/');
    const missing = `${registry}/no-such-image:1`;
    await expect(runtime.pullImage(missing)).rejects.toMatchObject({
      code: 'cannot-pull',
      message: expect.stringContaining('not found'),
    });
    expect(await runtime.imageStatus(missing)).toBeUndefined();
    expect((await runtime.imageStatus(criImage))?.tags).toContain(criImage);
  });

  it('counts what a pod uses: processor, memory, network, its own files', async () => {
    const { sandboxId, id } = await start(`dd if=/dev/zero of=/file bs=1M count=3; ${forever}`);
    await expect
      .poll(async () => (await runtime.listContainerStats())[0]?.writableLayer?.usedBytes)
      .toBeGreaterThan(3_000_000);
    const [container] = await runtime.listContainerStats();
    expect(container).toMatchObject({ id, name: 'main' });
    expect(container?.cpuNanoseconds).toBeGreaterThan(0);
    expect(container?.memory.workingSetBytes).toBeGreaterThan(0);
    const [pod] = await runtime.listPodSandboxStats();
    expect(pod).toMatchObject({ id: sandboxId, network: { name: 'eth0' } });
    expect(pod?.cpuNanoseconds).toBeGreaterThanOrEqual(container?.cpuNanoseconds ?? Number.MAX_VALUE);
    expect(pod?.memory.workingSetBytes).toBeGreaterThan(0);
    expect(pod?.processes).toBeGreaterThanOrEqual(2);
  });

  it('names every image in use: of others’ containers, and the one of sandboxes', async () => {
    await start(forever);
    const other = openCri(`other-${randomUUID()}`);
    const used = await other.imagesInUse();
    const ours = await other.imageStatus(criImage);
    expect([...used]).toContain(ours?.id);
    const images = await other.listImages();
    const sandboxImage = images.find(({ tags }) => tags.some((it) => it.includes('/pause')));
    expect(sandboxImage?.tags.some((it) => used.has(it))).toBe(true);
    expect(await other.imageDirectory()).toMatch(/^\//);
    await other.close();
  });

  it('goes on in a new file when its log was renamed', async () => {
    const { id } = await start('i=0; while :; do echo line $i; i=$((i+1)); sleep 0.05; done');
    const { logPath } = await runtime.containerStatus(id);
    await expect.poll(() => readFile(logPath, 'utf8').catch(() => '')).toContain('line 1');
    await rename(logPath, `${logPath}.old`);
    await runtime.reopenContainerLog(id);
    await expect.poll(() => readFile(logPath, 'utf8').catch(() => '')).toContain('line');
  });

  it('ends a command that takes too long', async () => {
    const { id } = await start(forever);
    await expect(runtime.execSync(id, ['sleep', '30'], 1000)).rejects.toMatchObject({ code: 'timeout' });
  });

  it('says what to look at when nobody answers', async () => {
    const socket = join(directory, 'nobody.sock');
    const alone = openCri(instance, socket);
    await expect(alone.version()).rejects.toMatchObject({ code: 'unavailable' });
    await alone.close();
  });
});
