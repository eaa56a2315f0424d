/**
 * The main job from end to end, on whichever API: a cloud comes up, an edge joins, pods run, a device's values go
 * both ways, and all of it goes away again. Every daemon is a real process, every connection a real socket.
 */

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isNotFound, type KubeApi, type ObjectRef } from '#cloudcore/kube/kube-api.ts';
import { deviceStatusSchema } from '#protocol/resources/device-status.ts';
import { nodeSchema } from '#protocol/resources/node.ts';
import { type Pod, podSchema } from '#protocol/resources/pod.ts';
import { filesBelow } from '#test/files-below.ts';
import { freePorts } from '#test/free-port.ts';
import { createClaimedStorage } from './claimed-storage.ts';
import { eventually, Workspace } from './workspace.ts';

export interface MainJobOptions {
  /** A cluster to use; undefined: the embedded API. */
  readonly kubeConfig?: string;
}

const namespace = 'default';
const devicesApi = 'devices.kubeedge.io/v1beta1';

export function describeMainJob(title: string, { kubeConfig }: MainJobOptions): void {
  describe(title, () => {
    // Names of their own, so that a cluster that is used again holds nothing in the way.
    const run = Math.random().toString(36).slice(2, 8);
    const node = `edge-${run}`;
    const named = (name: string) => `${name}-${run}`;
    let space: Workspace;
    let api: KubeApi;
    let broker: string;
    let mqtt: MqttClient;
    const initFlags = kubeConfig === undefined ? [] : ['--kube-config', kubeConfig];

    const podRef = (name: string): ObjectRef => ({
      apiVersion: 'v1',
      plural: 'pods',
      namespace,
      name: named(name),
    });
    const getPod = async (name: string): Promise<Pod> => podSchema.parse(await api.get(podRef(name)));
    const deviceStatusRef = {
      apiVersion: devicesApi,
      plural: 'devicestatuses',
      namespace,
      name: named('thermometer'),
    };

    beforeAll(async () => {
      space = await Workspace.open();
      if (kubeConfig !== undefined) space.useKubeConfig(kubeConfig);
    });

    afterAll(async () => {
      await mqtt?.endAsync();
      await space.close();
    });

    it('keadm init sets up a cloud, prints each step, and may be repeated', async () => {
      const first = await space.init(...initFlags);
      expect(first, first.stderr + first.stdout).toMatchObject({ code: 0, stderr: '' });
      for (const step of [
        'Kubernetes API',
        'custom resources',
        'namespace kubeedge',
        'cloudcore',
        'keadm join --cloudcore-ipport=',
      ]) {
        expect(first.stdout).toContain(step);
      }
      const again = await space.init(...initFlags);
      expect(again, again.stderr).toMatchObject({ code: 0, stderr: '' });
      api = await space.api();
    });

    it('keadm gettoken prints the token and nothing else', async () => {
      const { stdout, stderr } = await space.keadm('gettoken', '--data-dir', space.cloudDir, ...initFlags);
      expect(stderr).toBe('');
      expect(stdout).toMatch(/^[0-9a-f]{64}\.[\w-]+\.[\w-]+\.[\w-]+\n$/);
    });

    it('keadm join makes a node that gets Ready', async () => {
      // Chosen by no other join: one that looks for a port while this edgecore is down would take keadm's choice.
      const [port] = await freePorts(1);
      broker = `tcp://127.0.0.1:${port}`;
      const set = `modules.eventBus.mqttServerInternal=${broker}`;
      const joined = await space.join(node, await space.token(), '--set', set);
      expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0, stderr: '' });
      expect(joined.stdout).toContain(`machine: ${broker}\n`);
      const ready = await eventually('node Ready', 60_000, async () => {
        const object = nodeSchema.parse(await api.get({ apiVersion: 'v1', plural: 'nodes', name: node }));
        return object.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')
          ? object
          : undefined;
      });
      expect(ready.metadata.labels).toMatchObject({
        'node-role.kubernetes.io/edge': '',
        'kubernetes.io/hostname': node,
      });
      expect(ready.status?.nodeInfo).toMatchObject({ operatingSystem: 'linux' });
    });

    it('runs a pod that the scheduler bound, with its environment, volume and logs', async () => {
      await api.create(
        { apiVersion: 'v1', plural: 'configmaps', namespace },
        configMap(named('greeting'), 'one'),
      );
      await api.create(
        { apiVersion: 'v1', plural: 'pods', namespace },
        greeterPod(named('greeter'), named('greeting'), node),
      );
      const pod = await eventually('greeter Running', 60_000, async () => {
        const object = await getPod('greeter');
        return object.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')
          ? object
          : undefined;
      });
      expect(pod.spec?.nodeName).toBe(node);
      expect(pod.status).toMatchObject({ phase: 'Running', qosClass: 'BestEffort' });
      expect(pod.status?.containerStatuses?.[0]).toMatchObject({
        ready: true,
        restartCount: 0,
        state: { running: {} },
      });
      await eventually('log line', 60_000, async () =>
        (await podLog('greeter')).includes(`one from env, one from volume on ${node}`) ? true : undefined,
      );
    });

    it('shows a change of the configMap in the volume of the running pod', async () => {
      const ref = { apiVersion: 'v1', plural: 'configmaps', namespace, name: named('greeting') };
      await api.patch(ref, 'merge', { data: { text: 'two' } });
      await eventually('new text in the volume', 60_000, async () =>
        (await podLog('greeter')).includes('one from env, two from volume') ? true : undefined,
      );
      expect((await getPod('greeter')).status?.containerStatuses?.[0]?.restartCount).toBe(0);
    });

    it('gives a pod the volume of its claim, and a projected token that the API knows as its own', async () => {
      const [claim, volume] = [named('claim'), named('volume')];
      await createClaimedStorage(api, { namespace, claim, volume, path: space.dir });
      await writeFile(join(space.dir, 'kept'), 'before the pod');
      const object = tokenPod(named('token'), claim, node);
      const { metadata } = await api.create({ apiVersion: 'v1', plural: 'pods', namespace }, object);
      const token = await eventually(
        'the token in the log',
        60_000,
        async () => /before the pod, token (\S+)/.exec(await podLog('token'))?.[1],
      );
      const apiVersion = 'authentication.k8s.io/v1';
      const review = { apiVersion, kind: 'TokenReview', metadata: {}, spec: { token } };
      const { status } = await api.create({ apiVersion, plural: 'tokenreviews' }, review);
      expect(status).toMatchObject({
        authenticated: true,
        user: {
          username: `system:serviceaccount:${namespace}:default`,
          extra: { 'authentication.kubernetes.io/pod-uid': [metadata.uid] },
        },
      });
    });

    it('runs a static pod from its file, shows it in the API, and ends it with the file', async () => {
      const folder = join(space.edgeDir(node), 'etc/manifests');
      const file = join(folder, 'static.json');
      await mkdir(folder, { recursive: true, mode: 0o755 });
      await writeFile(file, JSON.stringify(staticPod(named('static'))), { mode: 0o644 });
      const ref = { ...podRef('static'), name: `${named('static')}-${node}` };
      const ready = (but?: string) =>
        eventually('static pod Ready', 60_000, async () => {
          const object = podSchema.optional().parse(await api.get(ref).catch(unlessNotFound));
          const isReady = object?.status?.conditions?.some(
            (it) => it.type === 'Ready' && it.status === 'True',
          );
          return isReady && object?.metadata.uid !== but ? object : undefined;
        });
      const shown = await ready();
      expect(shown.metadata.annotations).toMatchObject({ 'kubernetes.io/config.source': 'file' });
      await api.delete(ref);
      const again = await ready(shown.metadata.uid);
      expect(again.status?.containerStatuses?.[0]?.containerID).toBe(
        shown.status?.containerStatuses?.[0]?.containerID,
      );
      await rm(file);
      await eventually('static pod gone', 60_000, async () =>
        (await api.get(ref).catch(unlessNotFound)) === undefined ? true : undefined,
      );
    });

    it('restarts what fails, and counts', async () => {
      await api.create({ apiVersion: 'v1', plural: 'pods', namespace }, flakyPod(named('flaky'), node));
      const pod = await eventually('flaky running again', 60_000, async () => {
        const object = await getPod('flaky');
        const [status] = object.status?.containerStatuses ?? [];
        return status?.restartCount === 1 && status.ready ? object : undefined;
      });
      expect(pod.status?.containerStatuses?.[0]?.lastState).toMatchObject({
        terminated: { exitCode: 7, reason: 'Error' },
      });
    });

    it('runs pods on when edgecore is killed, and adopts them', async () => {
      const before = await containerPid('greeter');
      const { daemon: edgecore } = await space.service(space.edgeDir(node), 'edgecore');
      process.kill(edgecore, 'SIGKILL');
      await eventually('edgecore started again', 60_000, async () => {
        const { daemon } = await space.service(space.edgeDir(node), 'edgecore');
        return daemon === edgecore ? undefined : true;
      });
      await api.patch(podRef('greeter'), 'merge', { metadata: { labels: { touched: 'after' } } });
      await leaseRenewed();
      expect(await containerPid('greeter')).toBe(before);
      expect((await getPod('greeter')).status?.containerStatuses?.[0]).toMatchObject({
        restartCount: 0,
        ready: true,
      });
    });

    it('runs pods on when cloudcore is killed, and the edge comes back to it', async () => {
      const before = await containerPid('greeter');
      const { daemon: cloudcore } = await space.service(space.cloudDir, 'cloudcore');
      process.kill(cloudcore, 'SIGKILL');
      await eventually('cloudcore started again', 60_000, async () => {
        const { daemon } = await space.service(space.cloudDir, 'cloudcore');
        return daemon === cloudcore ? undefined : true;
      });
      await leaseRenewed();
      expect(await containerPid('greeter')).toBe(before);
    });

    it('deletes a pod: its process ends and the object goes', async () => {
      const pid = await containerPid('flaky');
      await api.delete(podRef('flaky'), { gracePeriodSeconds: 1 });
      await eventually('flaky gone', 60_000, async () => {
        try {
          await api.get(podRef('flaky'));
          return undefined;
        } catch (error) {
          return isNotFound(error) ? true : undefined;
        }
      });
      await eventually('its process gone', 60_000, async () => ((await isRunning(pid)) ? undefined : true));
    });

    it('takes a device to the edge, and its desired value', async () => {
      mqtt = await connectAsync(broker, { reconnectPeriod: 0 });
      const messages = collect(mqtt);
      await mqtt.subscribeAsync(`$hw/events/device/${namespace}/${named('thermometer')}/twin/update/#`);
      await mqtt.subscribeAsync(`$hw/events/node/${node}/membership/updated`);
      await api.create(
        { apiVersion: devicesApi, plural: 'devicemodels', namespace },
        deviceModel(named('model')),
      );
      await api.create(
        { apiVersion: devicesApi, plural: 'devices', namespace },
        device(named('thermometer'), named('model'), node, '21'),
      );
      await eventually('first desired value at the edge', 60_000, async () => deltaOf(messages, '21'));
      const ref = { apiVersion: devicesApi, plural: 'devices', namespace, name: named('thermometer') };
      await api.patch(ref, 'merge', {
        spec: { properties: [{ name: 'temperature', desired: { value: '25' } }] },
      });
      await eventually('changed desired value at the edge', 60_000, async () => deltaOf(messages, '25'));
    });

    it('takes reported values to the cloud, the first one too', async () => {
      for (const value of ['20', '25']) {
        await mqtt.publishAsync(
          `$hw/events/device/${namespace}/${named('thermometer')}/twin/update`,
          JSON.stringify({
            event_id: value,
            timestamp: 0,
            twin: { temperature: { actual: { value }, metadata: { type: 'int' } } },
          }),
          { qos: 1 },
        );
        const twin = await eventually(`reported ${value} in the cloud`, 60_000, async () => {
          const status = deviceStatusSchema.parse(await api.get(deviceStatusRef)).status;
          return status?.twins?.find(
            (entry) => entry.propertyName === 'temperature' && entry.reported?.value === value,
          );
        });
        expect(twin.observedDesired?.value).toBe('25');
      }
    });

    it('takes the state of a device to the cloud', async () => {
      await mqtt.publishAsync(
        `$hw/events/device/${namespace}/${named('thermometer')}/state/update`,
        JSON.stringify({ event_id: 's', timestamp: 0, state: 'online' }),
        { qos: 1 },
      );
      await eventually('state in the cloud', 60_000, async () => {
        const status = deviceStatusSchema.parse(await api.get(deviceStatusRef)).status;
        return status?.state === 'online' ? true : undefined;
      });
    });

    it('a live edge whose node is deleted registers it again', async () => {
      const ref = { apiVersion: 'v1', plural: 'nodes', name: node };
      const before = (await api.get(ref)).metadata.uid;
      await api.delete(ref);
      await eventually('a new node, Ready', 60_000, async () => {
        const object = nodeSchema.parse(await api.get(ref));
        const ready = object.status?.conditions?.some(
          ({ type, status }) => type === 'Ready' && status === 'True',
        );
        return object.metadata.uid !== before && ready ? true : undefined;
      });
    });

    it('a node that is deleted and whose edge was reset stays away', async () => {
      const pid = await containerPid('greeter');
      const reset = await space.keadm('reset', 'edge', '--data-dir', space.edgeDir(node));
      expect(reset, reset.stderr).toMatchObject({ code: 0, stderr: '' });
      expect(await isRunning(pid)).toBe(false);
      await api.delete({ apiVersion: 'v1', plural: 'nodes', name: node });
      await api.delete(podRef('greeter'), { gracePeriodSeconds: 0 }).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
      await expect(api.get({ apiVersion: 'v1', plural: 'nodes', name: node })).rejects.toMatchObject({
        code: 'notFound',
      });
    });

    async function podLog(name: string): Promise<string> {
      const root = space.edgeDir(node);
      const files = (await filesBelow(root)).filter(
        (file) => file.endsWith('.log') && file.includes(`${named(name)}_`),
      );
      return (await Promise.all(files.map((file) => readFile(join(root, file), 'utf8')))).join('');
    }

    /** The process that the pod's log says it is: the pods of this suite print their own pid first (`$$$$` is `$$` to the shell). */
    async function containerPid(name: string): Promise<number> {
      const pids = [...(await podLog(name)).matchAll(/stdout F pid (\d+)/g)];
      const pid = pids.at(-1)?.[1];
      if (pid === undefined) throw new Error(`the log of ${name} names no process`);
      return Number(pid);
    }

    async function leaseRenewed(): Promise<void> {
      const ref = {
        apiVersion: 'coordination.k8s.io/v1',
        plural: 'leases',
        namespace: 'kube-node-lease',
        name: node,
      };
      const since = new Date().toISOString();
      await eventually('lease renewed', 60_000, async () => {
        const spec = (await api.get(ref)).spec;
        const renewed =
          typeof spec === 'object' && spec !== null && 'renewTime' in spec ? String(spec.renewTime) : '';
        return renewed > since ? true : undefined;
      });
    }
  });
}

function configMap(name: string, text: string) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { text } };
}

function unlessNotFound(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
}

function staticPod(name: string): Record<string, unknown> {
  const command = ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do sleep 0.2; done'];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { terminationGracePeriodSeconds: 2, containers: [{ name: 'main', image: 'static', command }] },
  };
}

function greeterPod(name: string, map: string, node: string) {
  const script =
    'echo "pid $$$$"; while true; do now="$TEXT from env, $(cat /etc/greeting/text) from volume on $NODE"; [ "$now" = "$last" ] || echo "$now"; last=$now; sleep 0.2; done';
  return pod(name, { 'kubernetes.io/hostname': node }, script, {
    env: [
      { name: 'TEXT', valueFrom: { configMapKeyRef: { name: map, key: 'text' } } },
      { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
    ],
    volumeMounts: [{ name: 'greeting', mountPath: '/etc/greeting' }],
    volumes: [{ name: 'greeting', configMap: { name: map } }],
  });
}

function tokenPod(name: string, claimName: string, node: string) {
  const sources = [{ serviceAccountToken: { path: 'token', expirationSeconds: 3600 } }];
  const script = 'echo "$$(cat /data/kept), token $$(cat /run/identity/token)"; exec sleep 300';
  return pod(name, { 'kubernetes.io/hostname': node }, script, {
    env: [],
    volumeMounts: [
      { name: 'identity', mountPath: '/run/identity' },
      { name: 'data', mountPath: '/data' },
    ],
    volumes: [
      { name: 'identity', projected: { sources } },
      { name: 'data', persistentVolumeClaim: { claimName } },
    ],
  });
}

/** Fails with 7 the first time, and runs on the second: what the emptyDir holds outlives the container. */
function flakyPod(name: string, node: string) {
  const script =
    'echo "pid $$$$"; if [ -f /state/ran ]; then while true; do sleep 1; done; fi; touch /state/ran; exit 7';
  return pod(name, { 'kubernetes.io/hostname': node }, script, {
    env: [],
    volumeMounts: [{ name: 'state', mountPath: '/state' }],
    volumes: [{ name: 'state', emptyDir: {} }],
  });
}

function pod(
  name: string,
  nodeSelector: Record<string, string>,
  script: string,
  { env, volumeMounts, volumes }: { env: object[]; volumeMounts: object[]; volumes: object[] },
) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: {
      nodeSelector,
      terminationGracePeriodSeconds: 1,
      containers: [
        { name: 'main', image: 'busybox:1.36', command: ['/bin/sh', '-c', script], env, volumeMounts },
      ],
      volumes,
    },
  };
}

function deviceModel(name: string) {
  return {
    apiVersion: devicesApi,
    kind: 'DeviceModel',
    metadata: { name, namespace },
    spec: { protocol: 'mqtt', properties: [{ name: 'temperature', type: 'INT', accessMode: 'ReadWrite' }] },
  };
}

function device(name: string, model: string, nodeName: string, desired: string) {
  return {
    apiVersion: devicesApi,
    kind: 'Device',
    metadata: { name, namespace },
    spec: {
      nodeName,
      deviceModelRef: { name: model },
      protocol: { protocolName: 'mqtt' },
      properties: [{ name: 'temperature', desired: { value: desired }, reportToCloud: true }],
    },
  };
}

function collect(mqtt: MqttClient): { topic: string; payload: unknown }[] {
  const messages: { topic: string; payload: unknown }[] = [];
  mqtt.on('message', (topic, payload) => messages.push({ topic, payload: JSON.parse(payload.toString()) }));
  return messages;
}

function deltaOf(
  messages: readonly { topic: string; payload: unknown }[],
  temperature: string,
): true | undefined {
  const found = messages.some(({ topic, payload }) => {
    if (
      !topic.endsWith('/twin/update/delta') ||
      typeof payload !== 'object' ||
      payload === null ||
      !('delta' in payload)
    )
      return false;
    const { delta } = payload;
    return (
      typeof delta === 'object' &&
      delta !== null &&
      'temperature' in delta &&
      delta.temperature === temperature
    );
  });
  return found ? true : undefined;
}

async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !/\) Z /.test(stat);
}
