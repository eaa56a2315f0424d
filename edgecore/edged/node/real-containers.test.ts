/** What keeps a node in order, on real containers: logs, ended containers, images, eviction, and the numbers told. */

import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import type {} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { pushOwnImage } from '#test/containers/own-image.ts';
import { criImage, needsCri, openCri, removeAll } from '#test/containers/runtime.ts';
import { describeUnless } from '#test/describe-unless.ts';
import { type MachineShort, machineUse } from '#test/fixtures/machine.ts';
import { RunningEdged } from '#test/fixtures/running-edged.ts';
import { plainContainer, plainSandbox } from '#test/fixtures/runtime-configs.ts';
import { freePort } from '#test/free-port.ts';
import type { RuntimeService } from '../runtime/runtime-service.ts';
import { createStatsServer } from '../stats/stats-server.ts';
import { ContainerGc } from './container-gc.ts';
import { ImageGc } from './image-gc.ts';
import { LogRotation } from './log-rotation.ts';

const soon = { interval: 200 };
const megabyte = 1024 ** 2;

describeUnless(needsCri, 'the care of a node with real containers', () => {
  let directory: string;
  let runtime: RuntimeService;
  const components = { clock: systemClock, log: silentLog };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hawser-care-'));
    runtime = openCri(`care-${randomUUID()}`);
    await runtime.pullImage(criImage);
  });
  afterEach(async () => {
    await removeAll(runtime);
    await runtime.close();
    await rm(directory, { recursive: true, force: true });
  });

  async function start(script: string, { image = criImage, attempt = 0, podUid = 'u' } = {}) {
    const sandbox = await runtime.runPodSandbox(plainSandbox(podUid, directory, { hostNetwork: false }));
    const imageId = (await runtime.imageStatus(image))?.id;
    const id = await runtime.createContainer(
      sandbox,
      plainContainer({ attempt, image, imageId, command: ['/bin/sh', '-c', script] }),
    );
    await runtime.startContainer(id);
    return id;
  }
  const files = () => readdir(join(directory, 'main'));

  it('loses no line while logs are renamed and compressed', async () => {
    const id = await start('i=0; while :; do echo line $i; i=$((i+1)); sleep 0.01; done');
    const rotation = new LogRotation(
      { bytesMax: 2000, filesMax: 20 },
      { runtime, counted: { logRotated: () => {} }, ...components },
    );
    await expect
      .poll(async () => {
        await rotation.round();
        return (await files()).filter((it) => it.endsWith('.gz')).length;
      }, soon)
      .toBeGreaterThan(1);
    await runtime.stopContainer(id, 0);
    const texts: string[] = [];
    const [current = '', ...renamed] = (await files()).sort();
    for (const file of [...renamed, current]) {
      const bytes = await readFile(join(directory, 'main', file));
      texts.push((file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString());
    }
    const lines = [...texts.join('').matchAll(/stdout F line (\d+)/g)].map(([, number]) => Number(number));
    expect(lines.length).toBeGreaterThan(100);
    expect(lines).toEqual(lines.map((_, at) => at));
  });

  it('keeps the last of five ended containers of a name, and no log of the others', async () => {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const id = await start('echo over', { attempt });
      await expect.poll(async () => (await runtime.containerStatus(id)).state, soon).toBe('exited');
    }
    await new ContainerGc({ max: 0, ageMinMs: 0 }, { runtime, ...components }).collect(0, 0);
    expect((await runtime.listContainers()).map((it) => it.attempt)).toEqual([4]);
    expect(await files()).toEqual(['4.log']);
  });

  it('removes an image only when no container is made from it and no pod names it', async () => {
    const image = await pushOwnImage();
    await runtime.pullImage(image);
    const { id: own } = (await runtime.imageStatus(image)) ?? expect.fail('no image');
    const wanted = new Set([image]);
    const filesystem = { capacityBytes: 1000, availableBytes: 0, usedBytes: 1000, inodes: 0, inodesFree: 0 };
    const images = new ImageGc(
      { highPercent: 85, lowPercent: 0, ageMinMs: 0 },
      {
        runtime: {
          // Other tests run beside this one and need theirs.
          listImages: async () => (await runtime.listImages()).filter((it) => it.id === own),
          imagesInUse: () => runtime.imagesInUse(),
          removeImage: (name) => runtime.removeImage(name),
        },
        filesystem: async () => filesystem,
        wanted: () => wanted,
        events: { node: () => {} },
        counted: { imageRemoved: () => {} },
        ...components,
      },
    );
    await images.collect();
    expect(await runtime.imageStatus(image)).toBeDefined();
    wanted.delete(image);
    const id = await start('sleep 1000', { image });
    await images.collect();
    expect(await runtime.imageStatus(image)).toBeDefined();
    await runtime.removeContainer(id);
    await images.collect();
    expect(await runtime.imageStatus(image)).toBeUndefined();
  });

  it('tells in the summary what a container uses', async () => {
    await start('while :; do :; done');
    const port = await freePort();
    const stop = new AbortController();
    const options = { port, nodeName: 'edge-1', rootDirectory: directory, interfaceName: '' };
    const server = createStatsServer(options, { runtime, ...components });
    let running: Promise<void> = Promise.resolve();
    await new Promise<void>((ready) => {
      running = server.run(stop.signal, ready);
    });
    const summary = async () => (await fetch(`http://127.0.0.1:${port}/stats/summary`)).json();
    await expect
      .poll(async () => (await summary()).pods[0]?.cpu.usageNanoCores ?? 0, soon)
      .toBeGreaterThan(1e7);
    const { node, pods } = await summary();
    expect(node.runtime.imageFs.capacityBytes).toBeGreaterThan(0);
    expect(pods[0]).toMatchObject({
      podRef: { name: 'u', namespace: 'default', uid: 'u' },
      network: { name: 'eth0', txBytes: expect.any(Number) },
      process_stats: { process_count: expect.any(Number) },
      containers: [{ name: 'main', rootfs: { usedBytes: expect.any(Number) } }],
    });
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics/resource`)).text();
    expect(metrics).toMatch(
      /^container_cpu_usage_seconds_total\{container="main",namespace="default",pod="u"\} \d/m,
    );
    stop.abort();
    await running;
  });

  it('evicts the pod that uses more than it asked for, and the other runs on', async () => {
    let short: MachineShort = {};
    const edged = new RunningEdged({ runtime, directory, machine: async () => machineUse(short) });
    const command = ['/bin/sh', '-c', 'x=$(head -c 20000000 /dev/zero | tr "\\0" x); sleep 1000 & wait'];
    const pod = (requests: object) => ({
      containers: [{ name: 'main', image: criImage, command, resources: { requests } }],
    });
    edged.insert('modest', pod({ memory: '500Mi' }));
    edged.insert('greedy', pod({}));
    const { cloud } = edged;
    const phase = (name: string) => edged.phase(name);
    await expect.poll(() => [phase('modest'), phase('greedy')], soon).toEqual(['Running', 'Running']);
    await expect
      .poll(async () => {
        const used = await runtime.listContainerStats();
        return used.filter((it) => it.memory.workingSetBytes > 15 * megabyte).length;
      }, soon)
      .toBe(2);
    short = { memoryAvailableBytes: 10 * megabyte };
    await expect.poll(() => phase('greedy'), soon).toBe('Failed');
    short = {};
    const message = JSON.stringify(cloud.statuses('greedy').at(-1));
    expect(message).toMatch(/low on resource: memory.*Container main was using \d+Ki, request is 0/);
    await expect.poll(async () => (await runtime.listContainerStats()).length, soon).toBe(1);
    expect(phase('modest')).toBe('Running');
    await edged.end();
  });
});
