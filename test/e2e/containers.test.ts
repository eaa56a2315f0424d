/**
 * Pods as containers, from `keadm join` on a machine with a container runtime to the last trace of them: an address
 * from the network plugin, HTTP on it, logs, restarts, adoption after edgecore was killed, clean-up.
 */

import { existsSync } from 'node:fs';
import { readdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packageRoot } from '#beehive/package-root.ts';
import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { isNotFound } from '#cloudcore/kube/kube-api.ts';
import type { Sandbox } from '#edgecore/edged/runtime/runtime-service.ts';
import { nodeSchema } from '#protocol/resources/node.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { fetchText } from '#test/fetch-text.ts';
import { filesBelow } from '#test/files-below.ts';
import { criEndpoint, criImage, instanceOf, needsCri, openCri } from '../containers/runtime.ts';
import { describeUnless } from '../describe-unless.ts';
import { needsKubectl, runKubectl } from '../kubectl.ts';
import { eventually, Workspace } from './workspace.ts';

const namespace = 'default';
const node = 'containers-1';
/** Of the runtime that the tests start, and the one that it does not use. */
const [driver, other] = ['cgroupfs', 'systemd'];
const driverField = 'modules.edged.tailoredKubeletConfig.cgroupDriver';

describeUnless(needsCri, 'pods as containers', () => {
  let space: Workspace;
  let api: KubeApi;

  beforeAll(async () => {
    space = await Workspace.open();
    expect((await space.init()).code).toBe(0);
    api = await space.api();
  });
  afterAll(() => space.close());

  it.each([
    ['a flag', ['--cgroupdriver', other]],
    ['a field', ['--set', `${driverField}=${other}`]],
  ])('keadm join refuses a cgroup driver that is not the one of the runtime, from %s', async (_, asked) => {
    const flags = ['--runtime', 'auto', '-p', criEndpoint, ...asked];
    const { code, stderr } = await space.join('refused', await space.token(), ...flags);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`${other} is asked for, and the container runtime uses ${driver}`);
    expect(existsSync(space.edgeDir('refused'))).toBe(false);
  });

  it('keadm join finds the runtime, and the node says which it is', async () => {
    const flags = ['--runtime', 'auto', '-p', criEndpoint, '--cgroupdriver', driver];
    const joined = await space.join(node, await space.token(), ...flags);
    expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0, stderr: '' });
    const ready = await eventually('node Ready', 60_000, async () => {
      const object = nodeSchema.parse(await api.get({ apiVersion: 'v1', plural: 'nodes', name: node }));
      return object.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')
        ? object
        : undefined;
    });
    expect(ready.status?.nodeInfo).toMatchObject({
      containerRuntimeVersion: expect.stringMatching(/^(containerd|cri-o):\/\/\d/),
    });
  });

  it.each([
    [driver, 0, `✓ cgroup-driver +${driver}`],
    ['""', 0, "✓ cgroup-driver +the runtime's own"],
    [other, 1, `✗ cgroup-driver +${other} is asked for, and the container runtime uses ${driver}`],
  ])('keadm debug check reads cgroupDriver: %s in edgecore.yaml', async (written, exitCode, line) => {
    const own = join(space.edgeDir(node), 'etc/config/edgecore.yaml');
    const file = join(space.dir, 'edgecore.yaml');
    const yaml = await readFile(own, 'utf8');
    await writeFile(file, yaml.replace(/cgroupDriver: .*/, `cgroupDriver: ${written}`));
    const place = ['--data-dir', space.edgeDir(node), '--config', file];
    const { code, stdout } = await space.keadm('debug', 'check', 'runtime', ...place);
    expect(code, stdout).toBe(exitCode);
    expect(stdout).toMatch(new RegExp(line));
  });

  it('runs a web server that answers on the address of its pod, and keeps its log', async () => {
    await create(web('web'));
    const pod = await running('web');
    const { podIP, hostIP } = pod.status ?? {};
    expect(podIP).toMatch(/^\d+(\.\d+){3}$/);
    expect(podIP).not.toBe(hostIP);
    expect(pod.status?.containerStatuses?.[0]).toMatchObject({
      imageID: expect.stringContaining('sha256:'),
      containerID: expect.stringMatching(/^(containerd|cri-o):\/\//),
    });
    await eventually('the page', 60_000, () => fetchText(`http://${podIP}:8080/`));
    expect(await fetchText(`http://${podIP}:8080/`)).toContain('hello from a container');
    await eventually('a line in the log', 60_000, async () =>
      (await logOf('web')).includes(`serving on ${podIP} as web`) ? true : undefined,
    );
  });

  it('runs the pod of the README, and kubectl shows its address', async ({ skip }) => {
    if (needsKubectl !== undefined) skip(needsKubectl);
    const [registry] = criImage.split('/');
    const sample = await readFile(join(packageRoot(), 'samples/nginx.yaml'), 'utf8');
    const cloud = { kubeconfig: space.adminConf, cacheDir: join(space.dir, 'kubectl') };
    const kubectl = (args: string, input = '') => runKubectl(cloud, args.split(' '), input);
    const applied = await kubectl('apply -f -', sample.replace('image: nginx', `image: ${registry}/nginx`));
    expect(applied).toMatchObject({ code: 0, out: 'pod/nginx created\n' });
    const { podIP } = (await running('nginx')).status ?? {};
    const { out } = await kubectl('get pods nginx -o wide');
    const [head = '', row = ''] = out.split('\n');
    expect(head).toMatch(/^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE +NOMINATED NODE +READINESS GATES *$/);
    expect(row.trim().split(/ {2,}/)).toEqual([
      ...['nginx', '1/1', 'Running', '0', expect.stringMatching(/^\d+s$/), podIP, node],
      ...['<none>', '<none>'],
    ]);
    await eventually('the page', 60_000, () => fetchText(`http://${podIP}/`));
    await api.delete(podRef('nginx'), { gracePeriodSeconds: 1 });
  });

  it('tells on the machine what the pod uses, and in the cloud what the node has', async () => {
    const config = await readFile(join(space.edgeDir(node), 'etc/config/edgecore.yaml'), 'utf8');
    const port = Number(/readOnlyPort: (\d+)/.exec(config)?.[1]);
    const summary = JSON.parse(await fetchText(`http://127.0.0.1:${port}/stats/summary`));
    expect(summary.node.nodeName).toBe(node);
    const pod = summary.pods.find((it: { podRef: { name: string } }) => it.podRef.name === 'web');
    expect(pod).toMatchObject({ containers: [{ name: 'main', cpu: {} }], network: { name: 'eth0' } });
    expect(pod.memory.workingSetBytes).toBeGreaterThan(0);
    expect(await fetchText(`http://127.0.0.1:${port}/metrics/resource`)).toContain('pod="web"');
    const object = await api.get({ apiVersion: 'v1', plural: 'nodes', name: node });
    expect(object.status).toMatchObject({
      conditions: expect.arrayContaining(
        ['MemoryPressure', 'DiskPressure', 'PIDPressure'].map((type) =>
          expect.objectContaining({ type, reason: expect.stringMatching(/^KubeletHas/) }),
        ),
      ),
    });
    await eventually('the images of the node', 60_000, async () => {
      const { status } = await api.get({ apiVersion: 'v1', plural: 'nodes', name: node });
      return JSON.stringify(status).includes(criImage) ? true : undefined;
    });
  });

  it('has a configMap in a file, which follows its source', async () => {
    await api.create({ apiVersion: 'v1', plural: 'configmaps', namespace }, configMap('one'));
    await create(reader('reader'));
    await running('reader');
    await eventually('the first text', 60_000, async () =>
      (await logOf('reader')).includes('saw one') ? true : undefined,
    );
    await api.patch({ apiVersion: 'v1', plural: 'configmaps', namespace, name: 'text' }, 'merge', {
      data: { text: 'two' },
    });
    await eventually('the second text', 60_000, async () =>
      (await logOf('reader')).includes('saw two') ? true : undefined,
    );
  });

  it('shows an end within a second or so and starts the container again', async () => {
    const [container] = await containersOf('web');
    const mine = await edgeRuntime();
    await mine.execSync(container?.id ?? '', ['/bin/sh', '-c', 'kill -9 -1'], 5000).catch(() => {});
    await mine.close();
    const pod = await eventually('web running again', 60_000, async () => {
      const object = podSchema.parse(await api.get(podRef('web')));
      const [status] = object.status?.containerStatuses ?? [];
      return status?.restartCount === 1 && status.ready ? object : undefined;
    });
    expect(pod.status?.containerStatuses?.[0]?.lastState).toMatchObject({ terminated: { exitCode: 137 } });
  });

  it('says why an image cannot be had', async () => {
    const [registry] = criImage.split('/');
    await create({
      ...web('lost'),
      spec: { nodeName: node, containers: [{ name: 'main', image: `${registry}/none:1` }] },
    });
    await waits('lost', 'ImagePullBackOff');
    const events = await api.list({ apiVersion: 'v1', plural: 'events', namespace });
    expect(JSON.stringify(events)).toMatch(/Failed to pull image [^}]*none:1[^}]*not found/);
    await create({
      ...web('odd'),
      spec: { nodeName: node, containers: [{ name: 'main', image: 'Not//AnImage' }] },
    });
    await waits('odd', 'InvalidImageName');
    const never = { name: 'main', image: `${registry}/none:2`, imagePullPolicy: 'Never' };
    await create({ ...web('never'), spec: { nodeName: node, containers: [never] } });
    await waits('never', 'ErrImageNeverPull');
    for (const name of ['lost', 'odd', 'never']) await remove(name);
  });

  it('lets containers run when edgecore is killed, and adopts them', async () => {
    const before = (await containersOf('web')).concat(await containersOf('reader'));
    const { daemon } = await space.service(space.edgeDir(node), 'edgecore');
    process.kill(daemon, 'SIGKILL');
    await eventually('edgecore started again', 60_000, async () => {
      const now = await space.service(space.edgeDir(node), 'edgecore').catch(() => undefined);
      return now !== undefined && now.daemon !== daemon ? true : undefined;
    });
    await api.patch({ apiVersion: 'v1', plural: 'configmaps', namespace, name: 'text' }, 'merge', {
      data: { text: 'three' },
    });
    await eventually('the third text', 60_000, async () =>
      (await logOf('reader')).includes('saw three') ? true : undefined,
    );
    const after = (await containersOf('web')).concat(await containersOf('reader'));
    const told = (all: typeof before) => all.map((it) => `${it.id} ${it.state}`).sort();
    expect(told(after)).toEqual(told(before));
  });

  it('takes a new sandbox when one dies', async () => {
    const before = await running('reader');
    const mine = await edgeRuntime();
    const sandbox = (await mine.listPodSandboxes()).find((it) => it.podName === 'reader');
    await mine.stopPodSandbox(sandbox?.id ?? '');
    await mine.close();
    await eventually('reader in a new sandbox', 60_000, async () => {
      const object = podSchema.parse(await api.get(podRef('reader')));
      const [status] = object.status?.containerStatuses ?? [];
      const [was] = before.status?.containerStatuses ?? [];
      return status?.ready && status.containerID !== was?.containerID ? true : undefined;
    });
  });

  it('leaves nothing of a pod that was deleted', async () => {
    const sandboxes = [...new Set((await edgeSandboxes()).map((it) => it.podUid))];
    expect(sandboxes).toHaveLength(2);
    const addresses = await Promise.all(
      ['web', 'reader'].map(async (name) => (await running(name)).status?.podIP),
    );
    expect(addresses.every((it) => it !== undefined)).toBe(true);
    await remove('web');
    await remove('reader');
    await eventually('no sandbox', 60_000, async () =>
      (await edgeSandboxes()).length === 0 ? true : undefined,
    );
    const mine = await edgeRuntime();
    expect(await mine.listContainers()).toEqual([]);
    await mine.close();
    for (const uid of sandboxes) {
      await eventually(`no directory of ${uid}`, 60_000, async () =>
        (await filesBelow(space.edgeDir(node))).some((file) => file.includes(uid)) ? undefined : true,
      );
    }
    const mounts = await readFile('/proc/mounts', 'utf8');
    for (const uid of sandboxes) expect(mounts).not.toContain(uid);
    await eventually('addresses given back', 60_000, async () => {
      const held = await readdir(join(await realpath(runtimeDirectory()), 'addresses/pods')).catch(() => []);
      return held.some((it) => addresses.includes(it)) ? undefined : true;
    });
  });

  const podRef = (name: string) => ({ apiVersion: 'v1', plural: 'pods', namespace, name });
  const create = (pod: object) => api.create({ apiVersion: 'v1', plural: 'pods', namespace }, pod);
  const runtimeDirectory = () => join(criEndpoint.replace(/^unix:\/\//, ''), '..');

  async function remove(name: string): Promise<void> {
    await api.delete(podRef(name));
    await eventually(`${name} gone`, 60_000, async () => {
      try {
        await api.get(podRef(name));
        return undefined;
      } catch (error) {
        if (isNotFound(error)) return true;
        throw error;
      }
    });
  }

  async function running(name: string) {
    return eventually(`${name} Ready`, 60_000, async () => {
      const object = podSchema.parse(await api.get(podRef(name)));
      return object.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')
        ? object
        : undefined;
    });
  }

  async function waits(name: string, reason: string): Promise<void> {
    await eventually(`${name} ${reason}`, 60_000, async () => {
      const object = podSchema.parse(await api.get(podRef(name)));
      return JSON.stringify(object.status ?? {}).includes(`"reason":"${reason}"`) ? true : undefined;
    });
  }

  /** The runtime as this edge marks what is its own. */
  async function edgeRuntime() {
    return openCri(await instanceOf(space.edgeDir(node)));
  }

  async function edgeSandboxes(): Promise<readonly Sandbox[]> {
    const mine = await edgeRuntime();
    const sandboxes = await mine.listPodSandboxes();
    await mine.close();
    return sandboxes;
  }

  async function containersOf(podName: string) {
    const mine = await edgeRuntime();
    const sandboxes = (await mine.listPodSandboxes()).filter((it) => it.podName === podName);
    const all = await mine.listContainers();
    await mine.close();
    return all.filter((it) => sandboxes.some((sandbox) => sandbox.id === it.sandboxId));
  }

  async function logOf(podName: string): Promise<string> {
    const root = space.edgeDir(node);
    const logs = (await filesBelow(root)).filter(
      (file) => file.includes(`_${podName}_`) && file.endsWith('.log'),
    );
    return (await Promise.all(logs.sort().map((file) => readFile(join(root, file), 'utf8')))).join('');
  }
});

function web(name: string): Record<string, unknown> {
  const script = 'echo "serving on $IP as $(hostname)"; httpd -f -p 8080 -h /www & wait $!';
  return podOf(name, {
    command: ['/bin/sh', '-c', script],
    env: [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }],
    ports: [{ containerPort: 8080 }],
    resources: { requests: { cpu: '50m', memory: '16Mi' }, limits: { memory: '64Mi' } },
  });
}

function reader(name: string): Record<string, unknown> {
  const script =
    'trap "exit 0" TERM; while :; do now=$(cat /etc/text/text); [ "$now" = "$last" ] || echo "saw $now"; last=$now; sleep 0.2; done';
  const pod = podOf(name, {
    command: ['/bin/sh', '-c', script],
    volumeMounts: [{ name: 'text', mountPath: '/etc/text' }],
  });
  return { ...pod, spec: { ...pod.spec, volumes: [{ name: 'text', configMap: { name: 'text' } }] } };
}

function podOf(name: string, container: object) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 1,
      containers: [{ name: 'main', image: criImage, ...container }],
    },
  };
}

function configMap(value: string): Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'text', namespace },
    data: { text: value },
  };
}
