/**
 * What a pod may ask, as containers on a real runtime: users, groups, rights, volumes, subPaths, sidecars, names; and
 * pods that ask what cannot be, with the kubelet's reasons. What only a kernel shows is shown here; the tables of
 * all cases are edgecore/edged/pod/bad-pods.test.ts and its neighbours.
 */

import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isNotFound, type KubeApi } from '#cloudcore/kube/kube-api.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { criEndpoint, criImage, needsCri } from '../containers/runtime.ts';
import { describeUnless } from '../describe-unless.ts';
import { startGuardedRegistry } from '../fixtures/guarded-registry.ts';
import { eventually, Workspace } from './workspace.ts';

const namespace = 'default';
const node = 'spec-1';
const pods = { apiVersion: 'v1', plural: 'pods', namespace };
const stay = 'trap "exit 0" TERM; while :; do sleep 0.1; done';
const sh = (script: string) => ['/bin/sh', '-c', script];

describeUnless(needsCri, 'what a pod asks', () => {
  let space: Workspace;
  let api: KubeApi;

  beforeAll(async () => {
    space = await Workspace.open();
    expect((await space.init()).code).toBe(0);
    api = await space.api();
    const joined = await space.join(node, await space.token(), '--runtime', 'cri', '-p', criEndpoint);
    expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0 });
  });
  afterAll(() => space.close());

  const get = async (name: string) => podSchema.parse(await api.get({ ...pods, name }));
  const create = (name: string, container: object, spec: object = {}) =>
    api.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace },
      spec: {
        nodeName: node,
        terminationGracePeriodSeconds: 1,
        restartPolicy: 'Never',
        containers: [{ name: 'main', image: criImage, ...container }],
        ...spec,
      },
    });
  const ended = (name: string) =>
    eventually(`${name} ended`, 60_000, async () => {
      const { status } = await get(name);
      return status?.phase === 'Succeeded' || status?.phase === 'Failed' ? status : undefined;
    });
  const logOf = async (name: string, container = 'main') => {
    const root = join(space.edgeDir(node), 'log/pods');
    const directory = (await readdir(root)).find((it) => it.startsWith(`${namespace}_${name}_`)) ?? '';
    const text = await readFile(join(root, directory, container, '0.log'), 'utf8').catch(() => '');
    return text.replaceAll(/^\S+ \S+ [FP] /gm, '').trim();
  };
  const mounted = async () =>
    (await readFile('/proc/mounts', 'utf8')).split('\n').filter((it) => it.includes(space.edgeDir(node)));
  const remove = async (name: string) => {
    await api.delete({ ...pods, name });
    await eventually(`${name} gone`, 60_000, async () => {
      const found = await get(name).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
      return found === undefined ? true : undefined;
    });
  };
  /** What the container prints before it ends by itself. */
  const prints = async (name: string, script: string, container: object = {}, spec: object = {}) => {
    // One stream: the log does not keep the order of two.
    await create(name, { command: sh(`exec 2>&1; ${script}`), ...container }, spec);
    await ended(name);
    return await logOf(name);
  };

  it('runs as user and group, with the groups of the pod, which may use its volumes', async () => {
    await api.create(
      { ...pods, plural: 'configmaps' },
      { metadata: { name: 'text' }, data: { 'a.txt': 'one' } },
    );
    const said = await prints(
      'user',
      'id; echo x > /e/mine && stat -c "%u:%g %a" /e /e/mine /m; cat /m/a.txt; echo no > /root-file || true',
      {
        volumeMounts: [
          { name: 'e', mountPath: '/e' },
          { name: 'm', mountPath: '/m' },
        ],
      },
      {
        securityContext: {
          runAsUser: 1234,
          runAsGroup: 2345,
          fsGroup: 3456,
          supplementalGroups: [4567],
          runAsNonRoot: true,
        },
        volumes: [
          { name: 'e', emptyDir: {} },
          { name: 'm', configMap: { name: 'text', defaultMode: 0o400 } },
        ],
      },
    );
    expect(said).toMatch(/uid=1234 gid=2345 groups=(2345,)?(3456,4567|4567,3456)/);
    expect(said).toContain('0:3456 2777\n1234:3456 644\n0:3456 2755\none');
    expect(said).toContain("can't create /root-file");
  });

  it('has the rights that it asks for, and no others', async () => {
    const caps = 'grep -E "CapEff|NoNewPrivs|Seccomp:" /proc/self/status; touch /x && echo written';
    const bare = await prints('bare', caps, {
      securityContext: {
        capabilities: { drop: ['ALL'] },
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        seccompProfile: { type: 'RuntimeDefault' },
      },
    });
    expect(bare).toMatch(/CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2/);
    expect(bare).toContain('Read-only file system');
    const added = await prints('added', caps, {
      securityContext: {
        capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
        seccompProfile: { type: 'Unconfined' },
      },
    });
    expect(added).toMatch(/CapEff:\t0000000000001000\nNoNewPrivs:\t0\nSeccomp:\t0/);
    expect(added).toContain('written');
  });

  it('is filtered by a seccomp profile of the node', async () => {
    const directory = join(space.edgeDir(node), 'lib/edged/seccomp');
    await mkdir(directory, { recursive: true });
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }],
    };
    await writeFile(join(directory, 'no-mkdir.json'), JSON.stringify(profile));
    const seccompProfile = { type: 'Localhost', localhostProfile: 'no-mkdir.json' };
    const said = await prints('filtered', 'mkdir /made; ls -d /made', {
      securityContext: { seccompProfile },
    });
    expect(said).toContain("can't create directory '/made': Operation not permitted");
  });

  it('mounts parts of volumes, by links that stay inside, and never out of them', async () => {
    const shared = join(space.edgeDir(node), 'shared');
    await mkdir(join(shared, 'inside'), { recursive: true });
    await writeFile(join(shared, 'inside/file'), 'inner');
    await symlink('inside', join(shared, 'link'));
    await symlink('/', join(shared, 'out'));
    const volumes = [
      { name: 'h', hostPath: { path: shared } },
      { name: 'm', configMap: { name: 'text' } },
    ];
    const said = await prints(
      'parts',
      'cat /one /sub/file; ls -d /made; echo more > /made/more',
      {
        env: [{ name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
        volumeMounts: [
          { name: 'm', mountPath: '/one', subPath: 'a.txt' },
          { name: 'h', mountPath: '/sub', subPath: 'link' },
          { name: 'h', mountPath: '/made', subPathExpr: '$(POD)-data' },
        ],
      },
      { volumes },
    );
    expect(said).toBe('oneinner/made');
    const escaping = (subPath: string) => [{ name: 'h', mountPath: '/x', subPath }];
    await create('escapes', { command: sh(stay), volumeMounts: escaping('out/etc') }, { volumes });
    await waits('escapes', 'CreateContainerConfigError', /leads out of the volume/);
    await create('climbs', { command: sh(stay), volumeMounts: escaping('../../etc') }, { volumes });
    await waits('climbs', 'CreateContainerConfigError', /must not contain '\.\.'/);
    for (const name of ['parts', 'escapes', 'climbs']) await remove(name);
    expect(await readFile(join(shared, 'parts-data/more'), 'utf8')).toBe('more\n');
    expect(await readFile(join(shared, 'inside/file'), 'utf8')).toBe('inner');
    await eventually('nothing mounted', 60_000, async () =>
      (await mounted()).some((it) => it.includes('volume-subpaths')) ? undefined : true,
    );
  });

  it('has memory of the size that it asks, which stays when edgecore is killed and goes with the pod', async () => {
    const script = `df -k /e | tail -1 | awk '{print $1, $2}'; echo kept > /e/it; ${stay}`;
    const volumes = [{ name: 'e', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }];
    await create(
      'memory',
      { command: sh(script), volumeMounts: [{ name: 'e', mountPath: '/e' }] },
      { volumes },
    );
    await eventually('the size', 60_000, async () =>
      (await logOf('memory')) === 'tmpfs 1024' ? true : undefined,
    );
    const [before] = (await mounted()).filter((it) => it.includes('/volumes/e'));
    const at = before?.split(' ')[1] ?? '';
    await killEdgecore();
    expect(await readFile(join(at, 'it'), 'utf8')).toBe('kept\n');
    await remove('memory');
    await eventually('nothing mounted', 60_000, async () =>
      (await mounted()).some((it) => it.includes('/volumes/e')) ? undefined : true,
    );
  });

  it('starts sidecars first and ends them last, in order', async () => {
    const order = join(space.edgeDir(node), 'order');
    await writeFile(order, '');
    const mount = { volumeMounts: [{ name: 'o', mountPath: '/order' }] };
    const note = (name: string, then: string) =>
      sh(`echo up ${name} >> /order; trap "echo down ${name} >> /order; exit 0" TERM; ${then}`);
    const forever = 'while :; do sleep 0.1; done';
    const sidecar = (name: string) => ({
      name,
      image: criImage,
      restartPolicy: 'Always',
      command: note(name, forever),
      startupProbe: { exec: { command: sh(`grep -q "up ${name}" /order`) }, periodSeconds: 1 },
      ...mount,
    });
    await create(
      'sidecars',
      { command: note('main', forever), ...mount },
      {
        terminationGracePeriodSeconds: 20,
        initContainers: [sidecar('first'), sidecar('second')],
        volumes: [{ name: 'o', hostPath: { path: order, type: 'File' } }],
      },
    );
    await eventually('all up', 60_000, async () =>
      (await readFile(order, 'utf8')).includes('up main') ? true : undefined,
    );
    await remove('sidecars');
    const lines = (await readFile(order, 'utf8')).trim().split('\n');
    expect(lines).toEqual(['up first', 'up second', 'up main', 'down main', 'down second', 'down first']);
    await rm(order);
  });

  it('knows its names, its neighbours and its processes', async () => {
    const said = await prints(
      'named',
      'hostname; cat /etc/hosts; cat /etc/resolv.conf; echo $((2 + 2)) $(DOUBLE) $MEM; ls -d /proc/[0-9]* | wc -l; echo why > /dev/other',
      {
        env: [
          { name: 'DOUBLE', value: '$$(HOME)' },
          { name: 'MEM', valueFrom: { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } } },
        ],
        resources: { limits: { memory: '64Mi' } },
        terminationMessagePath: '/dev/other',
      },
      {
        hostname: 'h',
        subdomain: 'web',
        setHostnameAsFQDN: true,
        shareProcessNamespace: true,
        hostAliases: [{ ip: '192.0.2.5', hostnames: ['db', 'db.lan'] }],
        dnsPolicy: 'None',
        dnsConfig: {
          nameservers: ['192.0.2.53'],
          searches: ['lan'],
          options: [{ name: 'ndots', value: '3' }],
        },
      },
    );
    expect(said).toMatch(/^h\.web\.default\.svc\n/);
    expect(said).toMatch(/\d+\th\.web\.default\.svc\th\n192\.0\.2\.5\tdb\tdb\.lan\n/);
    expect(said).toContain('search lan\nnameserver 192.0.2.53\noptions ndots:3');
    expect((await get('named')).status?.containerStatuses?.[0]?.state).toMatchObject({
      terminated: { message: 'why\n' },
    });
  });

  it('ends at its deadline, and is told why a command cannot start, with growing pauses', async () => {
    await create('late', { command: sh(stay) }, { activeDeadlineSeconds: 2 });
    expect(await ended('late')).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded' });
    await create('nocommand', { command: ['/nowhere'] }, { restartPolicy: 'Always' });
    await waits('nocommand', 'RunContainerError', /no such file or directory/);
    await waits(
      'nocommand',
      'CrashLoopBackOff',
      /Back-off restarting failed container main in pod nocommand_default/,
    );
    expect((await get('nocommand')).status?.containerStatuses?.[0]?.lastState).toMatchObject({
      terminated: { exitCode: 128, reason: 'StartError' },
    });
  });

  it('has its image by its pull secret, and is told when it has none', async () => {
    const [username, password] = ['puller', 'open sesame'];
    const registry = await startGuardedRegistry(username, password);
    try {
      const image = `${registry.host}/busybox:1`;
      const asks = { command: sh(stay), image };
      await create('barred', asks);
      await waits('barred', 'ImagePullBackOff', /authorization failed|401|denied/);
      const auths = { [registry.host]: { username, password } };
      await api.create(
        { ...pods, plural: 'secrets' },
        {
          metadata: { name: 'registry' },
          type: 'kubernetes.io/dockerconfigjson',
          stringData: { '.dockerconfigjson': JSON.stringify({ auths }) },
        },
      );
      await create('let-in', asks, { imagePullSecrets: [{ name: 'registry' }] });
      const { status } = await runs('let-in');
      expect(status?.containerStatuses?.[0]?.image).toBe(image);
      for (const name of ['barred', 'let-in']) await remove(name);
    } finally {
      registry.close();
    }
  });

  it('runs from a file of the machine, also when that is bad at a restart, until it is gone', async () => {
    const folder = join(space.edgeDir(node), 'etc/manifests');
    await mkdir(folder, { recursive: true, mode: 0o755 });
    const main = { name: 'main', image: criImage, command: sh(stay) };
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'static' },
      spec: { terminationGracePeriodSeconds: 1, containers: [main] },
    };
    const put = (text: string) => writeFile(join(folder, 'static.json'), text, { mode: 0o644 });
    await put(JSON.stringify(pod));
    const name = `static-${node}`;
    const before = await runs(name);
    expect(before.metadata.annotations).toMatchObject({ 'kubernetes.io/config.source': 'file' });
    await put('{');
    await killEdgecore();
    // What is stored, and what lies in the folder, is read before anything else is begun.
    await create('after', { command: sh(stay) });
    await runs('after');
    const [was, is] = [before, await get(name)].map((it) => it.status?.containerStatuses?.[0]);
    expect(is).toMatchObject({ containerID: was?.containerID, restartCount: 0, ready: true });
    await rm(join(folder, 'static.json'));
    await eventually('static pod gone', 60_000, async () => {
      const found = await get(name).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
      return found === undefined ? true : undefined;
    });
    await remove('after');
  });

  it('waits with the reason when it asks what cannot be', async () => {
    const image = criImage.replace(/:[^:]+$/, ':other-platform');
    await create('root', { command: sh(stay), securityContext: { runAsNonRoot: true } });
    await create('elsewhere', { command: sh(stay), image });
    await create('classy', { command: sh(stay) }, { runtimeClassName: 'none' });
    await waits('root', 'CreateContainerConfigError', /image will run as root/);
    await waits('elsewhere', 'ImagePullBackOff', /no match for platform in manifest/);
    await waits('classy', 'ContainerCreating', /no runtime for .*none.* is configured/);
  });

  function runs(name: string) {
    return eventually(`${name} Running`, 60_000, async () => {
      const found = await get(name).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
      return found?.status?.phase === 'Running' ? found : undefined;
    });
  }

  async function killEdgecore(): Promise<void> {
    const { daemon } = await space.service(space.edgeDir(node), 'edgecore');
    process.kill(daemon, 'SIGKILL');
    await eventually('edgecore again', 60_000, async () => {
      const now = await space.service(space.edgeDir(node), 'edgecore').catch(() => undefined);
      return now !== undefined && now.daemon !== daemon ? true : undefined;
    });
  }

  async function waits(name: string, reason: string, words: RegExp): Promise<void> {
    await eventually(`${name} ${reason}`, 60_000, async () => {
      const { status } = await get(name);
      return JSON.stringify(status ?? {}).includes(`"reason":"${reason}"`) ? true : undefined;
    });
    await eventually(`event of ${name}`, 60_000, async () => {
      const { items } = await api.list({ ...pods, plural: 'events' });
      return items.some(
        (it) => (it.involvedObject as { name?: string })?.name === name && words.test(String(it.message)),
      )
        ? true
        : undefined;
    });
  }
});
