/**
 * Where CRI-O answers otherwise than containerd 1.6: it tells the cgroup driver by RuntimeConfig, streams container
 * events, lists images by digest, and counts no whole pods. The answers are put together from the interface's
 * definition; CRI-O itself is not at hand here.
 */

import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { ManualClock } from '#beehive/clock.ts';
import { type Log, silentLog } from '#beehive/log.ts';
import { label, type RuntimeEvent } from '../runtime-service.ts';
import { type CriClient, CriError, type CriMethod } from './cri-client.ts';
import { createCriRuntime } from './cri-runtime.ts';

const instance = 'edge-1';
const digest = `quay.io/app@sha256:${'a'.repeat(64)}`;
const imageId = 'b'.repeat(64);
const createdAt = '1700000000000000000';
const labels = { [label.instance]: instance, [label.podUid]: 'u1' };

const answers: Readonly<Record<string, object>> = {
  'RuntimeService/Version': {
    version: '0.1.0',
    runtime_name: 'cri-o',
    runtime_version: '1.30.4',
    runtime_api_version: 'v1',
  },
  'RuntimeService/Status': {
    status: {
      conditions: [
        { type: 'RuntimeReady', status: true, reason: '', message: '' },
        {
          type: 'NetworkReady',
          status: false,
          reason: 'NetworkPluginNotReady',
          message: 'Network plugin returns error: No CNI configuration file in /etc/cni/net.d/',
        },
      ],
    },
    info: { config: '{"sandboxImage":"registry.k8s.io/pause:3.9"}' },
  },
  'RuntimeService/RuntimeConfig': { linux: { cgroup_driver: 'SYSTEMD' } },
  'RuntimeService/ListPodSandbox': { items: [] },
  'RuntimeService/RunPodSandbox': { pod_sandbox_id: 's1' },
  'RuntimeService/ListContainers': {
    containers: [
      {
        id: 'c1',
        pod_sandbox_id: 's1',
        metadata: { name: 'main', attempt: 0 },
        image: { image: digest },
        image_ref: digest,
        image_id: imageId,
        state: 'CONTAINER_RUNNING',
        created_at: createdAt,
        labels,
        annotations: {},
      },
    ],
  },
  'RuntimeService/ListContainerStats': {
    stats: [
      {
        attributes: { id: 'c1', metadata: { name: 'main', attempt: 0 }, labels },
        cpu: { timestamp: createdAt, usage_core_nano_seconds: { value: '5000000000' } },
        memory: { working_set_bytes: { value: '1000' }, usage_bytes: null, rss_bytes: { value: '900' } },
        writable_layer: null,
      },
    ],
  },
  'ImageService/ListImages': {
    images: [{ id: imageId, repo_tags: [], repo_digests: [digest], size: '12345', pinned: true }],
  },
  'ImageService/ImageFsInfo': {
    image_filesystems: [{ fs_id: { mountpoint: '/var/lib/containers/storage/overlay-images' } }],
  },
};

class CrioClient implements CriClient {
  readonly asked: { method: string; request: object }[] = [];

  async call<S extends z.ZodType>(method: CriMethod, request: object, answer: S): Promise<z.infer<S>> {
    this.asked.push({ method, request });
    const known = answers[method];
    if (known === undefined) throw new CriError('unknown', { code: 'cri', status: 'UNIMPLEMENTED', method });
    return answer.parse(known);
  }

  async *stream<S extends z.ZodType>(
    _method: CriMethod,
    _request: object,
    item: S,
    signal: AbortSignal,
  ): AsyncGenerator<z.infer<S>> {
    const sandbox = (ours: object) => ({ metadata: { uid: 'u1' }, labels: ours });
    const type = 'CONTAINER_STOPPED_EVENT';
    yield item.parse({ container_id: 'x', container_event_type: type, pod_sandbox_status: sandbox({}) });
    yield item.parse({ container_id: 'c1', container_event_type: type, pod_sandbox_status: sandbox(labels) });
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  close(): void {}
}

describe('CRI-O', () => {
  const setUp = () => {
    const client = new CrioClient();
    const clock = new ManualClock();
    const options = { socket: '/var/run/crio/crio.sock', protoFile: '', instance };
    return { client, clock, runtime: createCriRuntime(options, { clock, log: silentLog }, client) };
  };

  it('names itself, and the reason why its network is not ready', async () => {
    const { runtime } = setUp();
    expect(await runtime.version()).toEqual({ name: 'cri-o', version: '1.30.4' });
    const { conditions, usesImages, rotatesLogs } = await runtime.status();
    expect(conditions[1]).toMatchObject({ ok: false, reason: 'NetworkPluginNotReady' });
    expect([usesImages, rotatesLogs]).toEqual([true, false]);
  });

  const sandbox = {
    podUid: 'u-1',
    podName: 'p',
    podNamespace: 'default',
    attempt: 0,
    hostname: 'p',
    logDirectory: '/tmp',
    hostNetwork: false,
    labels: {},
    annotations: {},
  };

  it.each([
    ['cgroupfs', [{ configured: 'cgroupfs', used: 'systemd' }]],
    ['systemd', []],
    [undefined, []],
  ] as const)('uses its own cgroup driver, warning when %s is configured', async (cgroupDriver, warnings) => {
    const client = new CrioClient();
    const warned: unknown[] = [];
    const log: Log = { ...silentLog, warn: (fields: unknown) => warned.push(fields), child: () => log };
    const options = { socket: '', protoFile: '', instance, cgroupDriver };
    const runtime = createCriRuntime(options, { clock: new ManualClock(), log }, client);
    await runtime.runPodSandbox(sandbox);
    const run = client.asked.find((it) => it.method === 'RuntimeService/RunPodSandbox')?.request;
    expect(run).toMatchObject({ config: { linux: { cgroup_parent: 'hawser-besteffort-podu_1.slice' } } });
    expect(warned).toEqual(warnings);
  });

  it('is asked for its cgroup driver, which names the cgroups of pods', async () => {
    const { client, runtime } = setUp();
    await runtime.runPodSandbox(sandbox);
    const run = client.asked.find((it) => it.method === 'RuntimeService/RunPodSandbox')?.request;
    expect(run).toMatchObject({ config: { linux: { cgroup_parent: 'hawser-besteffort-podu_1.slice' } } });
  });

  it('tells of its containers by a stream, in which those of others are no news', async () => {
    const { runtime, clock } = setUp();
    const stop = new AbortController();
    const seen: RuntimeEvent[] = [];
    for await (const event of runtime.events(stop.signal)) {
      if (event.type !== 'stopped') continue;
      seen.push(event);
      break;
    }
    stop.abort();
    await runtime.close();
    await clock.advance(60_000);
    expect(seen).toEqual([{ type: 'stopped', podUid: 'u1', containerId: 'c1' }]);
  });

  it('lists images by digest, and which of them are in use or pinned', async () => {
    const { runtime } = setUp();
    expect(await runtime.listImages()).toMatchObject([
      { id: imageId, tags: [], digests: [digest], sizeBytes: 12_345, pinned: true },
    ]);
    expect(await runtime.imagesInUse()).toEqual(new Set([digest, imageId, 'registry.k8s.io/pause:3.9']));
    expect(await runtime.imageDirectory()).toBe('/var/lib/containers/storage/overlay-images');
  });

  it('counts containers, and whole pods only where it can', async () => {
    const { runtime } = setUp();
    expect(await runtime.listContainerStats()).toMatchObject([
      { id: 'c1', podUid: 'u1', cpuNanoseconds: 5e9, memory: { workingSetBytes: 1000, rssBytes: 900 } },
    ]);
    expect(await runtime.listPodSandboxStats()).toEqual([]);
  });
});
