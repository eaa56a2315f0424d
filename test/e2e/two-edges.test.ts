/**
 * Two edges on one container runtime, as on a machine that two clouds or two teams share, and beside them containers
 * that are none of ours. The second edge's way to the cloud can be cut. SC-08, 11, 47 to 51 and 53 on real containers.
 */

import { execFileSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findAddress } from '#edgecore/edged/node/node-facts.ts';
import type { Container, RuntimeService } from '#edgecore/edged/runtime/runtime-service.ts';
import { nodeSchema } from '#protocol/resources/node.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { criEndpoint, criImage, instanceOf, needsCri, openCri } from '../containers/runtime.ts';
import { describeUnless } from '../describe-unless.ts';
import { plainSandbox } from '../fixtures/runtime-configs.ts';
import { startSilentServer } from '../fixtures/silent-server.ts';
import { TcpPath } from '../tcp-path.ts';
import { isReady, restartsOf, TestPods } from './test-pods.ts';
import { eventually, Workspace } from './workspace.ts';

const [one, two] = ['shared-1', 'shared-2'];
const socket = criEndpoint.replace(/^unix:\/\//, '');
const patience = ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do sleep 60 & wait $!; done'];
const forever = { command: patience };
const serving = {
  command: ['/bin/httpd', '-f', '-p', '8080', '-h', '/www'],
  readinessProbe: { httpGet: { port: 8080, path: '/' }, periodSeconds: 1 },
};

describeUnless(needsCri, 'two edges on one container runtime', () => {
  const path = new TcpPath();
  const foreign = `foreign-${process.pid}`;
  let space: Workspace;
  let pods: TestPods;
  /** What each edge sees as its own; a third sees what is nobody's. */
  let mine: Record<string, RuntimeService> = {};
  let neighbour: RuntimeService;

  beforeAll(async () => {
    space = await Workspace.open();
    expect((await space.init()).code).toBe(0);
    pods = new TestPods(await space.api());
    neighbour = openCri(`neighbour-${process.pid}`);
    await neighbour.pullImage(criImage);
    ctr('run', '--detach', '--rootfs', join(dirname(socket), 'images/root'), foreign, '/bin/sleep', '3600');
    await joins(one);
  });
  afterAll(async () => {
    for (const runtime of Object.values(mine)) await runtime.close();
    for (const { id } of (await neighbour?.listPodSandboxes()) ?? []) await neighbour.removePodSandbox(id);
    await neighbour?.close();
    ctr('tasks', 'kill', '--signal', 'KILL', foreign);
    ctr('containers', 'delete', foreign);
    await path.close();
    await space?.close();
  });

  it('says of the machine what is true', async () => {
    const { status, metadata } = await eventually('Ready soon after the join', 10_000, async () => {
      const found = nodeSchema.parse(await pods.api.get({ apiVersion: 'v1', plural: 'nodes', name: one }));
      const ready = found.status?.conditions?.find((it) => it.type === 'Ready');
      return ready?.status === 'True' ? found : undefined;
    });
    const { version } = await neighbour.version();
    const osImage = /^PRETTY_NAME="?([^"\n]*)/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1];
    expect(status?.nodeInfo).toMatchObject({
      kernelVersion: release(),
      osImage,
      containerRuntimeVersion: `containerd://${version}`,
      kubeletVersion: expect.stringMatching(/^v1\./),
    });
    expect(status?.addresses).toContainEqual({ type: 'InternalIP', address: findAddress('') });
    expect(metadata.labels).toHaveProperty('node-role.kubernetes.io/edge');
  });

  it('gives each edge its pod of a DaemonSet, the later one too, and they reach each other', async () => {
    await pods.api.create(daemonSets, daemonSet());
    await eventually('the pod of the first', 60_000, async () => (await daemons()).find(isReady));
    await joins(two);
    const both = await eventually('one pod each', 60_000, async () => {
      const ready = (await daemons()).filter(isReady);
      return ready.length === 2 ? ready : undefined;
    });
    expect(both.map((it) => it.spec.nodeName).sort()).toEqual([one, two]);
    const [from, to] = both;
    const fetched = await inPod(
      from?.spec.nodeName ?? '',
      from?.metadata.name ?? '',
      `wget -q -O - http://${to?.status?.podIP}:8080/`,
    );
    expect(fetched).toContain('hello from a container');
    expect(await daemons()).toHaveLength(2);
    await pods.api.delete({ ...daemonSets, name: 'served' });
    await pods.gone(...both.map((it) => it.metadata.name));
  });

  it('touches what carries its own id, and nothing else, when it is killed and comes back', async () => {
    const strange = await neighbour.runPodSandbox(sandbox('strange'));
    for (const node of [one, two]) await pods.create(node, `kept-${node}`, forever);
    await pods.create(one, 'taken', forever);
    await pods.allReady([`kept-${one}`, `kept-${two}`, 'taken']);
    const before = [await running(one, `kept-${one}`), await running(two)];
    await mine[one]?.runPodSandbox(sandbox('orphan'));

    const { daemon } = await space.service(space.edgeDir(one), 'edgecore');
    process.kill(daemon, 'SIGKILL');
    await pods.remove('taken');
    await eventually('no orphan', 70_000, async () => {
      const left = (await mine[one]?.listPodSandboxes()) ?? [];
      return left.map((it) => it.podName).join() === `kept-${one}` ? true : undefined;
    });

    expect([await running(one, `kept-${one}`), await running(two)]).toEqual(before);
    expect((await neighbour.podSandboxStatus(strange)).state).toBe('ready');
    expect(ctr('tasks', 'list')).toMatch(new RegExp(`${foreign}\\s+\\d+\\s+RUNNING`));
  });

  it('runs pods while pulls, hooks and probes of others hang', async () => {
    const silent = await startSilentServer();
    const hook = { exec: { command: ['/bin/sh', '-c', 'sleep 3600'] } };
    const hung = ['hung-pull', 'hung-start', 'hung-stop', 'hung-probe'];
    const before = await handlesOf(one);
    try {
      await pods.create(one, 'hung-pull', { image: `localhost:${silent.port}/never:1` });
      await pods.create(one, 'hung-start', { ...forever, lifecycle: { postStart: hook } });
      const patient = { terminationGracePeriodSeconds: 3600 };
      await pods.create(one, 'hung-stop', { ...forever, lifecycle: { preStop: hook } }, patient);
      await pods.create(one, 'hung-probe', {
        ...forever,
        readinessProbe: { ...hook, timeoutSeconds: 3600 },
      });
      await eventually('the pull under way', 60_000, async () =>
        silent.sockets.size > 0 ? true : undefined,
      );
      await pods.ready('hung-stop');
      await pods.delete('hung-stop');
      for (const name of ['hung-start', 'hung-probe'])
        await pods.until(
          name,
          'running, not ready',
          (it) => it.status?.containerStatuses?.[0]?.state?.running != null,
        );

      const others = Array.from({ length: 10 }, (_, at) => `other-${at}`);
      await Promise.all(others.map((name) => pods.create(one, name, forever)));
      await pods.allReady(others);
      await Promise.all(others.map((name) => pods.delete(name)));
      await pods.gone(...others);

      const still = (await pods.list()).filter((it) => hung.includes(it.metadata.name));
      expect(still.map((it) => it.metadata.name).sort()).toEqual([...hung].sort());
      expect(still.filter((it) => isReady(it) && !it.metadata.deletionTimestamp)).toEqual([]);
      // A grace that became shorter holds for what hangs, too.
      await Promise.all(hung.map((name) => pods.delete(name, 1)));
      await pods.gone(...hung);
      await eventually('the pull given up', 60_000, async () =>
        silent.sockets.size === 0 ? true : undefined,
      );
      await eventually('no handle more', 60_000, async () =>
        (await handlesOf(one)) <= before ? true : undefined,
      );
    } finally {
      silent.close();
    }
  });

  it('converges when many pods come, change and go at once', async () => {
    const names = Array.from({ length: 50 }, (_, at) => `many-${String(at).padStart(2, '0')}`);
    const [changed, deleted] = [names.slice(0, 25), names.slice(25)];
    await Promise.all(names.map((name, at) => pods.create(at % 2 === 0 ? one : two, name, forever)));
    const other = criImage.replace(/:1$/, ':2');
    const image = { spec: { containers: [{ name: 'main', image: other }] } };
    await Promise.all([
      ...changed.map((name) => pods.api.patch(pods.ref(name), 'strategic', image)),
      ...deleted.map((name) => pods.delete(name)),
    ]);
    await pods.gone(...deleted);
    await eventually('all with the new image', 60_000, async () => {
      const left = (await pods.list()).filter((it) => changed.includes(it.metadata.name));
      const fresh = left.filter((it) => isReady(it) && it.status?.containerStatuses?.[0]?.image === other);
      return fresh.length === changed.length ? true : undefined;
    });
    for (const node of [one, two]) {
      const wanted = (await pods.list()).filter((it) => it.spec.nodeName === node);
      const names = wanted.map((it) => it.metadata.name).sort();
      // A sandbox goes after the API has let its pod go.
      await expect
        .poll(async () => (await mine[node]?.listPodSandboxes())?.map((it) => it.podName).sort())
        .toEqual(names);
      expect(await running(node)).toHaveLength(names.length);
    }
    await Promise.all(changed.map((name) => pods.delete(name)));
    await pods.gone(...changed);
  });

  it('starts what was killed at once, and then after a pause that grows', async () => {
    const marked = `: killed-${process.pid}; while :; do sleep 60; done`;
    await pods.create(one, 'killed', { command: ['/bin/sh', '-c', marked] });
    await pods.ready('killed');
    for (const restarts of [1, 2]) {
      process.kill(await processOf(marked), 'SIGKILL');
      if (restarts === 2) {
        const waiting = await pods.until(
          'killed',
          'in back-off',
          (it) => it.status?.containerStatuses?.[0]?.state?.waiting?.reason === 'CrashLoopBackOff',
        );
        expect(waiting.status?.containerStatuses?.[0]?.state?.waiting?.message).toContain('back-off 10s');
      }
      await pods.until('killed', 'running again', (it) => isReady(it) && restartsOf(it) === restarts);
    }
    const [status] = (await pods.get('killed')).status?.containerStatuses ?? [];
    const ended = status?.lastState?.terminated;
    expect(ended).toMatchObject({ exitCode: 137, finishedAt: expect.any(String) });
    const pauseMs = Date.parse(status?.state?.running?.startedAt ?? '') - Date.parse(ended?.finishedAt ?? '');
    // Both times are in whole seconds.
    expect(pauseMs).toBeGreaterThanOrEqual(9000);
    await pods.remove('killed', 0);
  });

  it('goes on alone while the link is cut, and tells the newest when it is back', async () => {
    await pods.api.create(configMaps, configMap('one'));
    await pods.create(two, 'alone', lively, { terminationGracePeriodSeconds: 0 });
    await pods.create(two, 'reads', reading, { ...configVolume, terminationGracePeriodSeconds: 0 });
    await pods.allReady(['alone', 'reads']);
    const history = follow('alone');

    path.silence();
    await pods.api.patch({ ...configMaps, name: 'text' }, 'merge', { data: { text: 'two' } });
    await inPod(two, 'alone', 'rm /tmp/alive');
    const again = await eventually('restarted without the cloud', 60_000, async () =>
      (await running(two, 'alone')).find((it) => it.attempt === 1),
    );
    expect(restartsOf(await pods.get('alone'))).toBe(0);

    path.heal();
    await pods.until('alone', 'Ready, restarted', (it) => isReady(it) && restartsOf(it) === 1);
    expect((await running(two, 'alone')).map((it) => it.id)).toEqual([again.id]);
    await eventually('the changed file', 60_000, async () =>
      (await inPod(two, 'reads', 'cat /etc/text/text')) === 'two' ? true : undefined,
    );
    expect(await inPod(two, 'reads', 'cat /etc/one; tr "\\0" "\\n" < /proc/1/environ | grep ^text=')).toBe(
      'onetext=one',
    );
    const told = await history.end();
    // Neither an old status after a newer one, nor those in between that nobody could be told.
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(told.filter((it) => it === 0)).toHaveLength(0);
  });

  it('leaves a pod running whose configMap is deleted', async () => {
    const [before] = await running(two, 'reads');
    await pods.api.delete({ ...configMaps, name: 'text' });
    await pods.create(two, 'later', forever);
    await pods.ready('later');
    expect(await running(two, 'reads')).toEqual([before]);
    expect(await inPod(two, 'reads', 'cat /etc/text/text')).toBe('two');
    expect(restartsOf(await pods.get('reads'))).toBe(0);
  });

  it('takes its own containers along when it is reset', async () => {
    const strange = await neighbour.runPodSandbox(sandbox('strange'));
    const before = await running(two);
    expect(before.length).toBeGreaterThan(0);
    const { code, stderr } = await space.keadm('reset', 'edge', '--data-dir', space.edgeDir(one));
    expect(code, stderr).toBe(0);
    expect(await mine[one]?.listPodSandboxes()).toEqual([]);
    expect(await running(two)).toEqual(before);
    expect((await neighbour.podSandboxStatus(strange)).state).toBe('ready');
    expect(ctr('tasks', 'list')).toMatch(new RegExp(`${foreign}\\s+\\d+\\s+RUNNING`));
  });

  async function joins(node: string): Promise<void> {
    const more = node === two ? ['--cloudcore-ipport', `127.0.0.1:${await path.to(space.ports.hub)}`] : [];
    const cri = ['--runtime', 'cri', '-p', criEndpoint];
    const joined = await space.join(node, await space.token(), ...cri, ...more);
    expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0, stderr: '' });
    mine = { ...mine, [node]: openCri(await instanceOf(space.edgeDir(node))) };
  }

  /** Open files and sockets of its edgecore. */
  async function handlesOf(node: string): Promise<number> {
    const { daemon } = await space.service(space.edgeDir(node), 'edgecore');
    return (await readdir(`/proc/${daemon}/fd`)).length;
  }

  /** Its running containers, or those of one pod, by id. */
  async function running(node: string, podName?: string): Promise<readonly Container[]> {
    const runtime = mine[node];
    if (runtime === undefined) return [];
    const sandboxes = (await runtime.listPodSandboxes()).filter(
      (it) => podName === undefined || it.podName === podName,
    );
    return (await runtime.listContainers())
      .filter((it) => it.state === 'running' && sandboxes.some(({ id }) => id === it.sandboxId))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async function inPod(node: string, podName: string, script: string): Promise<string> {
    const [container] = await running(node, podName);
    if (container === undefined) throw new Error(`${podName} does not run`);
    const command = ['/bin/sh', '-c', script];
    const answer = await mine[node]?.execSync(container.id, command, 60_000);
    if (answer?.exitCode !== 0) throw new Error(`${script}: ${answer?.stdout}${answer?.stderr}`);
    return answer.stdout.toString().trim();
  }

  async function daemons() {
    const { items } = await pods.api.list(pods.collection, { labelSelector: 'app=served' });
    return items.map((it) => podSchema.parse(it));
  }

  /** The restart counts of a pod that is Ready, in the order in which the API came to know them. */
  function follow(name: string): { end(): Promise<number[]> } {
    const stop = new AbortController();
    const seen: number[] = [];
    const read = async () => {
      const { resourceVersion } = await pods.api.list(pods.collection);
      for await (const { object } of pods.api.watch(pods.collection, {
        resourceVersion,
        signal: stop.signal,
      }))
        if (object.metadata.name === name) seen.push(restartsOf(podSchema.parse(object)));
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

  function sandbox(podUid: string) {
    return plainSandbox(podUid, join(space.dir, podUid));
  }
});

const configMaps = { apiVersion: 'v1', plural: 'configmaps', namespace: 'default' };
const daemonSets = { apiVersion: 'apps/v1', plural: 'daemonsets', namespace: 'default' };

/** Alive as long as a file is there, which each start makes anew. */
const lively = {
  command: ['/bin/sh', '-c', 'touch /tmp/alive; httpd -f -p 8080 -h /www'],
  livenessProbe: {
    exec: { command: ['test', '-e', '/tmp/alive'] },
    initialDelaySeconds: 1,
    periodSeconds: 1,
    failureThreshold: 1,
  },
  readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
};

const reading = {
  ...forever,
  envFrom: [{ configMapRef: { name: 'text' } }],
  volumeMounts: [
    { name: 'text', mountPath: '/etc/text' },
    { name: 'text', mountPath: '/etc/one', subPath: 'text' },
  ],
};
const configVolume = { volumes: [{ name: 'text', configMap: { name: 'text' } }] };

function configMap(text: string): object {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'text', namespace: 'default' },
    data: { text },
  };
}

function daemonSet(): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'served', namespace: 'default' },
    spec: {
      selector: { matchLabels: { app: 'served' } },
      template: {
        metadata: { labels: { app: 'served' } },
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [{ name: 'main', image: criImage, ...serving }],
        },
      },
    },
  };
}

/** The process on this machine that runs the script, which no other runs. */
async function processOf(script: string): Promise<number> {
  for (const entry of await readdir('/proc')) {
    const command = await readFile(join('/proc', entry, 'cmdline'), 'utf8').catch(() => '');
    if (command === `/bin/sh\0-c\0${script}\0`) return Number(entry);
  }
  throw new Error(`nothing runs ${script}`);
}

/** In a namespace of containerd where no kubelet looks. */
function ctr(...args: string[]): string {
  try {
    const all = ['--address', socket, '--namespace', 'not-ours', ...args];
    return execFileSync('ctr', all, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    // At the end of a test that failed before it made it there is nothing to delete.
    if (args[0] === 'run') throw error;
    return '';
  }
}
