/**
 * What pods see of the network and of each other, and what people see when the network plugin fails: the plugin is
 * broken and mended in the directory that `test/containers/up` made.
 */

import { readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { nodeSchema } from '#protocol/resources/node.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { fetchText } from '#test/fetch-text.ts';
import { freePorts } from '#test/free-port.ts';
import { criEndpoint, criImage, instanceOf, needsCri, openCri } from '../containers/runtime.ts';
import { describeUnless } from '../describe-unless.ts';
import { plainSandbox } from '../fixtures/runtime-configs.ts';
import { eventually, Workspace } from './workspace.ts';

const namespace = 'default';
const node = 'network-1';

describeUnless(needsCri, 'the network of containers', () => {
  const pluginFile = join(dirname(criEndpoint.replace(/^unix:\/\//, '')), 'cni/10-pods.conflist');
  const hidden = `${pluginFile}.away`;
  let plugin: string;
  let space: Workspace;
  let api: KubeApi;

  beforeAll(async () => {
    plugin = await readFile(pluginFile, 'utf8');
    space = await Workspace.open();
    expect((await space.init()).code).toBe(0);
    api = await space.api();
    const joined = await space.join(node, await space.token(), '--runtime', 'cri', '-p', criEndpoint);
    expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0, stderr: '' });
    await nodeIs('True', 'KubeletReady', 60_000);
  });
  afterEach(() => writeFile(pluginFile, plugin));
  afterAll(() => space.close());

  it('lets two pods reach each other by address, and each know its own name', async () => {
    await create('server', serving(8080));
    const { podIP } = (await ready('server')).status ?? {};
    const script = `wget -q -O - http://${podIP}:8080/; grep "$(hostname)" /etc/hosts; echo said so > /dev/termination-log`;
    await create('client', { command: ['/bin/sh', '-c', script] }, { restartPolicy: 'Never' });
    const ended = await eventually('client Succeeded', 60_000, async () => {
      const pod = await get('client');
      return pod.status?.phase === 'Succeeded' ? pod : undefined;
    });
    const ownIp = ended.status?.podIP ?? 'none';
    expect(ownIp).not.toBe(podIP);
    expect(ended.status?.containerStatuses?.[0]?.state).toMatchObject({
      terminated: { exitCode: 0, reason: 'Completed', message: 'said so\n' },
    });
  });

  it('runs a pod with the network of its node, on the address of the node', async () => {
    const [port = 0] = await freePorts(1);
    await create('on-host', serving(port), { hostNetwork: true });
    const { podIP, hostIP } = (await ready('on-host')).status ?? {};
    expect(podIP).toBe(hostIP);
    expect(await fetchText(`http://${hostIP}:${port}/`)).toContain('hello from a container');
  });

  it('opens a port of the node for a pod that asks for one', async () => {
    const [port = 0] = await freePorts(1);
    await create('mapped', { ...serving(8080), ports: [{ containerPort: 8080, hostPort: port }] });
    const { hostIP } = (await ready('mapped')).status ?? {};
    expect(await fetchText(`http://${hostIP}:${port}/`)).toContain('hello from a container');
  });

  it('holds a pod back while its HTTP probe fails, and restarts one that is not alive', async () => {
    const httpGet = { port: 8080, path: '/absent' };
    await create('unready', { ...serving(8080), readinessProbe: { httpGet, periodSeconds: 1 } });
    await create('unalive', {
      ...serving(8080),
      readinessProbe: undefined,
      livenessProbe: { httpGet, periodSeconds: 1, failureThreshold: 2 },
    });
    await eventually('unalive restarted', 60_000, async () => {
      const [status] = (await get('unalive')).status?.containerStatuses ?? [];
      return (status?.restartCount ?? 0) > 0 ? true : undefined;
    });
    const unready = (await get('unready')).status?.containerStatuses?.[0];
    expect(unready).toMatchObject({ ready: false, restartCount: 0, state: { running: {} } });
    expect(await events()).toContain('Readiness probe failed: HTTP probe failed with statuscode: 404');
  });

  it('removes sandboxes of its own that belong to no pod, and nobody else’s', async () => {
    const mine = openCri(await instanceOf(space.edgeDir(node)));
    const other = openCri('somebody-else');
    const config = (podUid: string) => plainSandbox(podUid, join(space.dir, podUid));
    await mine.runPodSandbox(config('orphan'));
    const foreign = await other.runPodSandbox(config('foreign'));
    try {
      await eventually('the orphan gone', 60_000, async () =>
        (await mine.listPodSandboxes({ podUid: 'orphan' })).length === 0 ? true : undefined,
      );
      expect((await other.podSandboxStatus(foreign)).state).toBe('ready');
    } finally {
      await other.removePodSandbox(foreign);
      await mine.close();
      await other.close();
    }
  });

  it('shows the error of the network plugin itself, and heals when it is mended', async () => {
    await writeFile(pluginFile, plugin.replace(/"type": "bridge"/, '"type": "no-such-plugin"'));
    await eventually('a pod that cannot start', 60_000, async () => {
      await create(`broken-${Math.random().toString(36).slice(2, 8)}`, serving(8080));
      return (await events()).includes('no-such-plugin') ? true : undefined;
    });
    expect(await events()).toMatch(/FailedCreatePodSandBox.*no-such-plugin/s);
    await writeFile(pluginFile, plugin);
    await eventually('all pods Ready', 60_000, async () => {
      const { items } = await api.list({ apiVersion: 'v1', plural: 'pods', namespace });
      const broken = items
        .map((it) => podSchema.parse(it))
        .filter((it) => it.metadata.name.startsWith('broken-'));
      return broken.every((it) => it.status?.phase === 'Running') ? true : undefined;
    });
  });

  it('is NotReady for want of a network plugin, and Ready soon after there is one', async () => {
    await rename(pluginFile, hidden);
    await nodeIs('False', 'NetworkPluginNotReady', 60_000);
    await rename(hidden, pluginFile);
    await nodeIs('True', 'KubeletReady', 60_000);
  });

  it('is Ready without a network plugin when no pod wants one, although their sandboxes stay till there is one', async () => {
    const mine = openCri(await instanceOf(space.edgeDir(node)));
    await rename(pluginFile, hidden);
    try {
      await create('stranded', serving(8080));
      await nodeIs('False', 'NetworkPluginNotReady', 60_000);
      const { items } = await api.list({ apiVersion: 'v1', plural: 'pods', namespace });
      const names = items.map((it) => podSchema.parse(it)).filter((it) => !it.spec.hostNetwork);
      for (const { metadata } of names)
        await api.delete(
          { apiVersion: 'v1', plural: 'pods', namespace, name: metadata.name },
          { gracePeriodSeconds: 0 },
        );
      await nodeIs('True', 'KubeletReady', 60_000);
      expect((await mine.status()).conditions.some((it) => it.type === 'NetworkReady' && !it.ok)).toBe(true);
    } finally {
      await rename(hidden, pluginFile);
    }
    await eventually('no sandbox', 60_000, async () =>
      (await mine.listPodSandboxes()).every((it) => it.podName === 'on-host') ? true : undefined,
    );
    await mine.close();
  });

  async function nodeIs(status: string, reason: string, timeoutMs: number): Promise<void> {
    await eventually(`node Ready=${status}, ${reason}`, timeoutMs, async () => {
      const object = nodeSchema.parse(await api.get({ apiVersion: 'v1', plural: 'nodes', name: node }));
      const found = object.status?.conditions?.find((it) => it.type === 'Ready');
      return found?.status === status && found.reason === reason ? true : undefined;
    });
  }

  async function get(name: string) {
    return podSchema.parse(await api.get({ apiVersion: 'v1', plural: 'pods', namespace, name }));
  }

  async function ready(name: string) {
    return eventually(`${name} Ready`, 60_000, async () => {
      const pod = await get(name);
      const is = pod.status?.conditions?.some((it) => it.type === 'Ready' && it.status === 'True');
      return is ? pod : undefined;
    });
  }

  function create(name: string, container: object, spec: object = {}) {
    return api.create(
      { apiVersion: 'v1', plural: 'pods', namespace },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace },
        spec: {
          nodeName: node,
          terminationGracePeriodSeconds: 1,
          containers: [{ name: 'main', image: criImage, ...container }],
          ...spec,
        },
      },
    );
  }

  async function events(): Promise<string> {
    return JSON.stringify(await api.list({ apiVersion: 'v1', plural: 'events', namespace }));
  }
});

function serving(port: number) {
  const httpGet = { port, path: '/' };
  return {
    command: ['/bin/httpd', '-f', '-p', String(port), '-h', '/www'],
    readinessProbe: { httpGet, periodSeconds: 1 },
  };
}
