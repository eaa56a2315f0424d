/**
 * What the container runtime itself takes: the calls that a pod of one container cannot do without, for all pods at
 * once, with nothing of ours around them.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '#beehive/clock.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { protoFileOf } from '#edgecore/edged/runtime/choose-runtime.ts';
import { type CriClient, type CriMethod, createCriClient } from '#edgecore/edged/runtime/cri/cri-client.ts';
import * as messages from '#edgecore/edged/runtime/cri/cri-messages.ts';
import { criEndpoint, criImage } from '../../containers/runtime.ts';

const options = { timeoutMs: 120_000 };
const graceSeconds = 30;

export interface Floor {
  readonly upMs: number;
  readonly downMs: number;
}

export async function criFloor(count: number, command: readonly string[]): Promise<Floor> {
  const client = createCriClient(
    { socket: criEndpoint.replace(/^unix:\/\//, ''), protoFile: protoFileOf(packageRoot()) },
    { clock: systemClock },
  );
  const logs = await mkdtemp(join(tmpdir(), 'hawser-floor-'));
  try {
    const startedMs = performance.now();
    const numbers = Array.from({ length: count }, (_, at) => at);
    const pods = await Promise.all(numbers.map((at) => up(client, at, logs, command)));
    const upMs = performance.now();
    await Promise.all(pods.map((pod) => down(client, pod)));
    return { upMs: upMs - startedMs, downMs: performance.now() - upMs };
  } finally {
    client.close();
    await rm(logs, { recursive: true, force: true });
  }
}

interface FloorPod {
  readonly sandbox: string;
  readonly container: string;
}

async function up(
  client: CriClient,
  at: number,
  logs: string,
  command: readonly string[],
): Promise<FloorPod> {
  const name = `floor-${at}`;
  const common = { labels: {}, annotations: {} };
  const config = {
    ...common,
    metadata: { name, uid: `${name}-${process.pid}`, namespace: 'floor', attempt: 0 },
    hostname: name,
    log_directory: join(logs, name),
    linux: { cgroup_parent: `/floor/${name}` },
  };
  const runSandbox = 'RuntimeService/RunPodSandbox';
  const { pod_sandbox_id: sandbox } = await client.call(
    runSandbox,
    { config },
    messages.sandboxIdAnswer,
    options,
  );
  const request = {
    pod_sandbox_id: sandbox,
    config: {
      ...common,
      metadata: { name: 'main', attempt: 0 },
      image: { image: criImage },
      command: [...command],
      log_path: 'main.log',
      linux: {},
    },
    sandbox_config: config,
  };
  const create = 'RuntimeService/CreateContainer';
  const { container_id: container } = await client.call(create, request, messages.containerIdAnswer, options);
  await change(client, 'RuntimeService/StartContainer', { container_id: container });
  return { sandbox, container };
}

async function down(client: CriClient, { sandbox, container }: FloorPod): Promise<void> {
  await change(client, 'RuntimeService/StopContainer', { container_id: container, timeout: graceSeconds });
  await change(client, 'RuntimeService/StopPodSandbox', { pod_sandbox_id: sandbox });
  await change(client, 'RuntimeService/RemovePodSandbox', { pod_sandbox_id: sandbox });
}

async function change(client: CriClient, method: CriMethod, request: object): Promise<void> {
  await client.call(method, request, messages.emptyAnswer, options);
}
