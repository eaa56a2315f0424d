/**
 * An edge whose cloud is not there: at its first boot, with nothing but a token, and at a later one, with pods in
 * its store. It says so once, goes on trying, and needs no restart when the cloud appears.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#beehive/clock.ts';
import { packageRoot } from '#beehive/package-root.ts';
import { processRuntimeRoot } from '#edgecore/edged/runtime/choose-runtime.ts';
import { removeProcessRuntime } from '#edgecore/edged/runtime/process-removal.ts';
import { nodeSchema } from '#protocol/resources/node.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { filesBelow } from '#test/files-below.ts';
import { eventually, Workspace } from './workspace.ts';

describe('an edge without its cloud', () => {
  const node = 'offline-1';
  let space: Workspace;
  let edge: Edgecore;

  beforeAll(async () => {
    space = await Workspace.open();
  });

  afterAll(async () => {
    await edge?.stop();
    await removeProcessRuntime(processRuntimeRoot(join(space.edgeDir(node), 'edged')), systemClock);
    await space.close();
  });

  it('starts at first boot, says once that the cloud is away, and joins when it appears', async () => {
    expect((await space.init()).code).toBe(0);
    const token = await space.token();
    await stopCloud();
    const tries = await countTries(space.ports.bootstrap);
    edge = await Edgecore.start(space, node, token);
    await eventually('a third try', 60_000, async () => (tries.count >= 3 ? true : undefined));
    await tries.close();
    const complaints = edge
      .records()
      .filter(({ level, msg }) => (level === 'warn' || level === 'error') && /cloud/i.test(msg));
    expect(complaints, JSON.stringify(complaints)).toHaveLength(1);
    expect((await space.init()).code).toBe(0);
    await nodeReady();
    expect(edge.running).toBe(true);
  });

  it('has its pods running at a later boot before the cloud is there', async () => {
    const api = await space.api();
    const script = 'echo started $$$$; while true; do sleep 1; done';
    await api.create(
      { apiVersion: 'v1', plural: 'pods', namespace: 'default' },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'keeper', namespace: 'default' },
        spec: {
          nodeName: node,
          containers: [{ name: 'main', image: 'busybox', command: ['/bin/sh', '-c', script] }],
        },
      },
    );
    const pid = await eventually('keeper running', 60_000, async () => {
      const pod = podSchema.parse(
        await api.get({ apiVersion: 'v1', plural: 'pods', namespace: 'default', name: 'keeper' }),
      );
      return pod.status?.phase === 'Running' ? await startedPid() : undefined;
    });
    await stopCloud();
    await edge.stop();
    process.kill(pid, 'SIGKILL');
    edge = await Edgecore.start(space, node, '');
    await eventually('keeper started again without a cloud', 60_000, async () => {
      const now = await startedPid();
      return now !== undefined && now !== pid ? now : undefined;
    });
    expect((await space.init()).code).toBe(0);
    await nodeReady();
    await eventually('restart count in the cloud', 60_000, async () => {
      const pod = podSchema.parse(
        await (await space.api()).get({
          apiVersion: 'v1',
          plural: 'pods',
          namespace: 'default',
          name: 'keeper',
        }),
      );
      return pod.status?.containerStatuses?.[0]?.restartCount === 1 ? true : undefined;
    });
  });

  async function nodeReady(): Promise<void> {
    const api = await space.api();
    await eventually('node Ready', 60_000, async () => {
      const object = nodeSchema.parse(await api.get({ apiVersion: 'v1', plural: 'nodes', name: node }));
      return object.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')
        ? true
        : undefined;
    });
  }

  /** Stops cloudcore and the API; their data stays, so that `init` brings the same cloud back. */
  async function stopCloud(): Promise<void> {
    for (const name of ['cloudcore', 'apiserver'] as const) {
      const { supervisor, daemon } = await space.service(space.cloudDir, name);
      process.kill(supervisor, 'SIGTERM');
      await eventually(`${name} stopped`, 60_000, async () => {
        const stat = await readFile(`/proc/${daemon}/stat`, 'utf8').catch(() => '');
        return stat === '' ? true : undefined;
      });
    }
  }

  async function startedPid(): Promise<number | undefined> {
    const root = space.edgeDir(node);
    const logs = (await filesBelow(root)).filter((file) => file.includes('keeper_') && file.endsWith('.log'));
    const text = (await Promise.all(logs.sort().map((file) => readFile(join(root, file), 'utf8')))).join('');
    const pid = [...text.matchAll(/stdout F started (\d+)/g)].at(-1)?.[1];
    return pid === undefined ? undefined : Number(pid);
  }
});

/** Answers every connection by closing it, as a dead cloud behind a live port does, and counts them. */
async function countTries(port: number): Promise<{ readonly count: number; close(): Promise<void> }> {
  let count = 0;
  const server = createServer((socket) => {
    count += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    get count() {
      return count;
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** edgecore as a process of this test, with a config as an image of a disk would hold it. */
class Edgecore {
  readonly #child: ChildProcess;
  #output = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk) => {
        this.#output += chunk;
      });
    }
  }

  static async start(space: Workspace, node: string, token: string): Promise<Edgecore> {
    const dir = space.edgeDir(node);
    await mkdir(dir, { recursive: true });
    const config = {
      database: { dataSource: join(dir, 'edgecore.db'), sealKeyFile: join(dir, 'edge-seal.key') },
      modules: {
        edged: {
          hostnameOverride: node,
          rootDirectory: join(dir, 'edged'),
          runtime: 'process',
          tailoredKubeletConfig: { podLogsDir: join(dir, 'pods') },
        },
        edgeHub: {
          token,
          httpServer: `https://127.0.0.1:${space.ports.bootstrap}`,
          tlsCaFile: join(dir, 'ca.crt'),
          tlsCertFile: join(dir, 'server.crt'),
          tlsPrivateKeyFile: join(dir, 'server.key'),
          websocket: { server: `127.0.0.1:${space.ports.hub}` },
        },
        eventBus: { enable: false },
        deviceTwin: { dmiSockPath: `${dir}/` },
      },
    };
    const file = join(dir, 'edgecore.yaml');
    await writeFile(file, JSON.stringify(config));
    return new Edgecore(
      spawn(process.execPath, [join(packageRoot(), 'dist/edgecore.js'), '--config', file], {
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  lines(): string[] {
    return this.#output.split('\n');
  }

  records(): { level: string; msg: string }[] {
    return this.lines()
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
  }

  async stop(): Promise<void> {
    if (!this.running) return;
    const gone = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill('SIGTERM');
    await gone;
  }
}
