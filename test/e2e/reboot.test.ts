/**
 * An edge on a machine of its own (see Machine): what articles about edge clusters show with a Raspberry Pi. Their
 * pods run as they are written, and come back after the power was cut, several times, with no cloud in reach. SC-08,
 * 10, 17, 18, 38, 40, 41, 42.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { packageRoot } from '#beehive/package-root.ts';
import { parseYaml } from '#beehive/yaml.ts';
import type { ContainerStatus, RuntimeService } from '#edgecore/edged/runtime/runtime-service.ts';
import { memoryPlaces, secretDirectories } from '#edgecore/edged/volumes/secret-directory.ts';
import { nodeSchema } from '#protocol/resources/node.ts';
import { fetchText } from '#test/fetch-text.ts';
import { Machine } from '../containers/machine.ts';
import { criImage, instanceOf, needsCri, openCri } from '../containers/runtime.ts';
import { describeUnless } from '../describe-unless.ts';
import { isReady, restartsOf, TestPods } from './test-pods.ts';
import { eventually, runCommand, Workspace } from './workspace.ts';

const node = 'edge-node';
const [registry] = criImage.split('/');

/** As in the articles, but for where their images come from. */
const nginx = `
apiVersion: v1
kind: Pod
metadata:
  name: nginx
spec:
  tolerations:
  - key: "node.kubernetes.io/not-ready"
    operator: "Exists"
    effect: "NoExecute"
    tolerationSeconds: 5
  - key: "node.kubernetes.io/unreachable"
    operator: "Exists"
    effect: "NoExecute"
    tolerationSeconds: 5
  nodeSelector:
    kubernetes.io/hostname: ${node}
  hostNetwork: true
  containers:
  - name: nginx
    image: ${registry}/nginx
    ports:
    - containerPort: 80
`;
const bbox = `
apiVersion: v1
kind: Pod
metadata:
  name: bbox
spec:
  nodeName: ${node}
  containers:
  - image: ${registry}/busybox
    command:
    - top
    name: bbox
`;
const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: nginx, image: ${registry}/nginx}]
`;

describeUnless(needsCri, 'an edge on a machine whose power is cut', () => {
  let machine: Machine;
  let space: Workspace;
  let pods: TestPods;
  let mine: RuntimeService;

  beforeAll(async () => {
    space = await Workspace.open();
    machine = await Machine.create();
    expect((await space.init('--advertise-address', `127.0.0.1,${machine.cloudIp}`)).code).toBe(0);
    pods = new TestPods(await space.api());
    const dir = space.edgeDir(node);
    space.resetLater('edge', dir);
    const joined = await runCommand(
      'nsenter',
      [
        `--net=/run/netns/${machine.namespace}`,
        ...[process.execPath, join(packageRoot(), 'dist/keadm.js'), 'join', '--data-dir', dir],
        ...['--edgenode-name', node, '--runtime', 'cri', '-p', machine.endpoint],
        ...['--cloudcore-ipport', `${machine.cloudIp}:${space.ports.hub}`],
        ...['--certport', `${space.ports.bootstrap}`, '--token', await space.token()],
      ],
      space.dir,
    );
    expect(joined.code, joined.stdout + joined.stderr).toBe(0);
    mine = openCri(await instanceOf(dir), machine.socket);
    await nodeReady();
  });
  afterAll(async () => {
    await mine?.close();
    await machine?.end('edgecore');
    await space?.close();
    await machine?.remove();
  });

  it('runs the article’s nginx on the address of the node', async () => {
    const { status } = await nodeReady();
    expect(status?.addresses).toContainEqual({ type: 'InternalIP', address: machine.edgeIp });
    await pods.api.create(pods.collection, parseYaml(nginx));
    const pod = await pods.ready('nginx');
    expect(pod.status).toMatchObject({ podIP: machine.edgeIp, hostIP: machine.edgeIp });
    expect(await page()).toContain('hello from a container');
  });

  it('needs no more than a loopback for pods on the network of the node', async () => {
    await machine.network('loopback');
    await pods.create(
      node,
      'on-host',
      { image: `${registry}/busybox`, command: ['top'] },
      { hostNetwork: true },
    );
    await pods.ready('on-host');
    await eventually('what the network plugin lacks', 60_000, async () => {
      await pods.create(node, `own-${Math.random().toString(36).slice(2, 8)}`, idle);
      const said = /FailedCreatePodSandBox[^}]*(network|cni)/i.test(await pods.events());
      return said ? true : undefined;
    });
    await machine.network('bridge');
    await eventually('all of them on a network', 60_000, async () =>
      (await pods.list()).every(isReady) ? true : undefined,
    );
    for (const { metadata } of await pods.list())
      if (metadata.name !== 'nginx') await pods.remove(metadata.name, 0);
  });

  it('runs a Deployment', async () => {
    const deployments = { apiVersion: 'apps/v1', plural: 'deployments', namespace: 'default' };
    await pods.api.create(deployments, parseYaml(deployment));
    await eventually('available', 60_000, async () => {
      const found = await pods.api.get({ ...deployments, name: 'web' });
      return JSON.stringify(found).includes('"availableReplicas":1') ? true : undefined;
    });
    const [pod] = (await pods.list()).filter((it) => it.metadata.name.startsWith('web-'));
    expect(pod?.status?.podIP).toMatch(/^10\.205\.0\./);
    await pods.api.delete({ ...deployments, name: 'web' });
    await pods.remove(pod?.metadata.name ?? '', 0);
  });

  it('brings all pods back after each boot without the cloud, and tells it all at the end', async () => {
    await pods.api.create({ ...pods.collection, plural: 'secrets' }, secret);
    await pods.api.create(pods.collection, parseYaml(bbox));
    await pods.create(node, 'keeps', { ...idle, volumeMounts }, { volumes });
    await pods.allReady(['nginx', 'bbox', 'keeps']);
    const before = await Promise.all(['nginx', 'bbox', 'keeps'].map((name) => pods.get(name)));
    await exec('keeps', 'echo kept > /data/file');
    const history = changes();

    machine.plug('down');
    for (const boot of [1, 2, 3]) {
      await reboot();
      await eventually(`all back after boot ${boot}`, 60_000, async () => {
        const containers = await statuses();
        const alive = containers.filter((it) => it.state === 'running' && it.attempt === boot);
        return alive.length === before.length ? true : undefined;
      });
      expect(await exec('keeps', 'cat /data/file /secret/word')).toBe('kept\nhush');
    }
    const uids = new Set((await mine.listPodSandboxes()).map((it) => it.podUid));
    expect(uids).toEqual(new Set(before.map((it) => it.metadata.uid)));
    for (const { metadata } of before) {
      const all = (await statuses()).filter((it) => it.podUid === metadata.uid);
      expect(all.map((it) => it.state).sort()).toEqual(['exited', 'running']);
    }

    machine.plug('up');
    for (const { metadata, status } of before) {
      const pod = await pods.until(metadata.name, 'Ready', (it) => isReady(it) && restartsOf(it) === 3);
      expect(pod.metadata.uid).toBe(metadata.uid);
      expect(pod.status?.startTime).toBe(status?.startTime);
      expect(pod.status?.containerStatuses?.[0]?.lastState?.terminated).toMatchObject({
        reason: expect.any(String),
        exitCode: expect.any(Number),
        finishedAt: expect.stringMatching(/^20/),
      });
    }
    expect(await page()).toContain('hello from a container');
    expect([...new Set(await history.end())]).toEqual(['MODIFIED']);
  });

  async function reboot(): Promise<void> {
    const dir = space.edgeDir(node);
    const ran = await space.service(dir, 'edgecore').catch(() => undefined);
    await machine.powerOff(...(ran === undefined ? [] : [ran.supervisor, ran.daemon]));
    for (const place of secretDirectories(join(dir, 'lib/edged'), memoryPlaces))
      await rm(place, { recursive: true, force: true });
    await machine.powerOn();
    const bundle = join(packageRoot(), 'dist/edgecore.js');
    machine.daemon('edgecore', process.execPath, bundle, '--config', join(dir, 'etc/config/edgecore.yaml'));
  }

  async function nodeReady() {
    return eventually('the node Ready', 60_000, async () => {
      const found = nodeSchema.parse(await pods.api.get({ apiVersion: 'v1', plural: 'nodes', name: node }));
      const ready = found.status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === 'True' ? found : undefined;
    });
  }

  async function statuses(): Promise<readonly ContainerStatus[]> {
    const all = await mine.listContainers().catch(() => []);
    return Promise.all(all.map((it) => mine.containerStatus(it.id)));
  }

  async function exec(podName: string, script: string): Promise<string> {
    const sandboxes = (await mine.listPodSandboxes()).filter((it) => it.podName === podName);
    const found = (await mine.listContainers()).find(
      (it) => it.state === 'running' && sandboxes.some(({ id }) => id === it.sandboxId),
    );
    const answer = await mine.execSync(found?.id ?? '', ['/bin/sh', '-c', script], 60_000);
    return `${answer.stdout}${answer.stderr}`.trim();
  }

  /** From the machine's own side, as its pods are reached. */
  function page(): Promise<string> {
    return eventually('the page', 60_000, () => fetchText(`http://${machine.edgeIp}/`));
  }

  /** What becomes of pods at the API, by the type of each event. */
  function changes(): { end(): Promise<string[]> } {
    const stop = new AbortController();
    const seen: string[] = [];
    const read = async () => {
      const { resourceVersion } = await pods.api.list(pods.collection);
      const options = { resourceVersion, signal: stop.signal };
      for await (const { type } of pods.api.watch(pods.collection, options))
        if (type !== 'BOOKMARK') seen.push(type);
    };
    const done = read().catch((error: unknown) => {
      if (!stop.signal.aborted) throw error;
    });
    return {
      async end() {
        stop.abort();
        await done;
        return seen;
      },
    };
  }
});

const idle = {
  image: `${registry}/busybox`,
  command: ['/bin/sh', '-c', 'while :; do sleep 60 & wait $!; done'],
};
const secret = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'word', namespace: 'default' },
  data: { word: Buffer.from('hush').toString('base64') },
};
const volumeMounts = [
  { name: 'data', mountPath: '/data' },
  { name: 'word', mountPath: '/secret' },
];
const volumes = [
  { name: 'data', emptyDir: {} },
  { name: 'word', secret: { secretName: 'word' } },
];
