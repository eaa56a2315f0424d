/**
 * Volumes of every kind in containers of a real runtime: what is in them, whose they are, that they follow their
 * sources, and that nothing of them stays. SC-48 and SC-54.
 */

import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RuntimeService } from '#edgecore/edged/runtime/runtime-service.ts';
import { filesBelow } from '#test/files-below.ts';
import { criEndpoint, criImage, instanceOf, needsCri, openCri } from '../containers/runtime.ts';
import { describeUnless } from '../describe-unless.ts';
import { TestPods } from './test-pods.ts';
import { eventually, Workspace } from './workspace.ts';

const node = 'volumes-1';
const followsWithinMs = 10_000;
const stay = ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do sleep 60 & wait $!; done'];

describeUnless(needsCri, 'volumes of real containers', () => {
  let space: Workspace;
  let pods: TestPods;
  let mine: RuntimeService;

  beforeAll(async () => {
    space = await Workspace.open();
    expect((await space.init()).code).toBe(0);
    const joined = await space.join(node, await space.token(), '--runtime', 'cri', '-p', criEndpoint);
    expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0 });
    pods = new TestPods(await space.api());
    mine = openCri(await instanceOf(space.edgeDir(node)));
    await pods.api.create(objects('configmaps'), {
      metadata: { name: 'text' },
      data: { a: 'one', b: 'two' },
    });
    await pods.api.create(objects('secrets'), {
      metadata: { name: 'word' },
      stringData: { user: 'me', password: 'hush' },
    });
  });
  afterAll(async () => {
    await mine?.close();
    await space?.close();
  });

  it('hold what the pod asks, with the modes that it asks', async () => {
    await writeFile(host('found'), 'of the machine\n');
    await pods.api.create(pods.collection, everything());
    await pods.ready('all');
    const said = await inPod(
      [
        'cat /disk/file /text/deep/a /word/user /word/password',
        'stat -L -c "%a" /text/deep/a /word/password /all/b',
        'ls /text /all | tr "\\n" " "; echo',
        'cat /all/b /all/secret/user /all/name; echo',
        'cat /fields/labels; echo; cat /fields/memory; echo',
        'df -k /memory | tail -1 | tr -s " " | cut -d " " -f 1,2',
        'echo of the pod > /made/file; cat /found; test -f /created && echo a file',
      ].join('; '),
    );
    expect(said.split('\n')).toEqual([
      'prepared',
      ...['onemehush400', '400', '440'],
      '/all: b name secret token  /text: deep ',
      'twomeall',
      'room="kitchen"',
      '64',
      'tmpfs 1024',
      'of the machine',
      'a file',
    ]);
    expect(await inPod('cat /all/token')).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(await readFile(host('made/file'), 'utf8')).toBe('of the pod\n');
  });

  it('follow what they come from while the pod runs', async () => {
    const before = await inPod('readlink /all/..data');
    await pods.api.patch({ ...objects('configmaps'), name: 'text' }, 'merge', { data: { a: 'three' } });
    await pods.api.patch({ ...objects('secrets'), name: 'word' }, 'merge', { stringData: { user: 'you' } });
    await pods.api.patch(pods.ref('all'), 'merge', { metadata: { labels: { room: 'bath' } } });
    await eventually('all that is new', followsWithinMs, async () =>
      (await inPod('cat /text/deep/a /word/user /all/secret/user /fields/labels')) ===
      'threeyouyouroom="bath"'
        ? true
        : undefined,
    );
    // One link for all files of a volume: nobody reads half of the old and half of the new.
    expect(await inPod('readlink /all/..data')).not.toBe(before);
  });

  it('hold a pod back until what it names is there, and say what is missing', async () => {
    const mounted = { command: stay, volumeMounts: [{ name: 'v', mountPath: '/v' }] };
    const from = (source: object) => ({ volumes: [{ name: 'v', ...source }] });
    await pods.create(node, 'no-map', mounted, from({ configMap: { name: 'later' } }));
    const path = host('later');
    await pods.create(node, 'no-path', mounted, from({ hostPath: { path, type: 'Directory' } }));
    await eventually('both told', 60_000, async () => {
      const said = await pods.events();
      return /later[^}]*not found/.test(said) && said.includes(`${path} is not a Directory`)
        ? true
        : undefined;
    });
    await mkdir(path);
    await pods.api.create(objects('configmaps'), { metadata: { name: 'later' }, data: {} });
    await pods.allReady(['no-map', 'no-path']);
  });

  it('leave nothing behind, and of the machine’s own everything', async () => {
    const names = ['all', 'no-map', 'no-path'];
    const uids = await Promise.all(names.map(async (name) => (await pods.get(name)).metadata.uid ?? ''));
    for (const name of names) await pods.delete(name);
    await pods.gone(...names);
    await eventually('nothing mounted, no directory', 60_000, async () => {
      const files = await filesBelow(space.edgeDir(node));
      const mounts = await readFile('/proc/mounts', 'utf8');
      return uids.some((uid) => mounts.includes(uid) || files.some((it) => it.includes(uid)))
        ? undefined
        : true;
    });
    expect(await readFile(host('made/file'), 'utf8')).toBe('of the pod\n');
    expect((await stat(host('created'))).isFile()).toBe(true);
  });

  const host = (path: string) => join(space.dir, path);

  function everything(): object {
    const items = [{ key: 'a', path: 'deep/a', mode: 0o400 }];
    const labels = { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } };
    const limit = { containerName: 'main', resource: 'limits.memory', divisor: '1Mi' };
    const sources = [
      { configMap: { name: 'text', items: [{ key: 'b', path: 'b' }] } },
      { secret: { name: 'word', items: [{ key: 'user', path: 'secret/user' }] } },
      { downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
      { serviceAccountToken: { path: 'token', expirationSeconds: 600 } },
    ];
    const volumes = [
      { name: 'disk', emptyDir: {} },
      { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'text', configMap: { name: 'text', items } },
      { name: 'word', secret: { secretName: 'word', defaultMode: 0o400 } },
      { name: 'fields', downwardAPI: { items: [labels, { path: 'memory', resourceFieldRef: limit }] } },
      { name: 'all', projected: { defaultMode: 0o440, sources } },
      { name: 'made', hostPath: { path: host('made'), type: 'DirectoryOrCreate' } },
      { name: 'created', hostPath: { path: host('created'), type: 'FileOrCreate' } },
      { name: 'found', hostPath: { path: host('found'), type: 'File' } },
    ];
    const mountOf = (name: string) => ({ name, mountPath: `/${name}` });
    const prepare = ['/bin/sh', '-c', 'echo prepared > /disk/file'];
    return {
      metadata: { name: 'all', namespace: 'default', labels: { room: 'kitchen' } },
      spec: {
        nodeName: node,
        terminationGracePeriodSeconds: 1,
        volumes,
        initContainers: [
          { name: 'prepare', image: criImage, command: prepare, volumeMounts: [mountOf('disk')] },
        ],
        containers: [
          {
            name: 'main',
            image: criImage,
            command: stay,
            resources: { limits: { memory: '64Mi' } },
            volumeMounts: volumes.map(({ name }) => mountOf(name)),
          },
        ],
      },
    };
  }

  async function inPod(script: string): Promise<string> {
    const uid = (await pods.get('all')).metadata.uid ?? '';
    const containers = await mine.listContainers({ podUid: uid });
    const main = containers.find((it) => it.name === 'main' && it.state === 'running');
    const answer = await mine.execSync(main?.id ?? '', ['/bin/sh', '-c', script], 60_000);
    if (answer.exitCode !== 0) throw new Error(`${script}: ${answer.stdout}${answer.stderr}`);
    return answer.stdout.toString().trim();
  }
});

function objects(plural: 'configmaps' | 'secrets') {
  return { apiVersion: 'v1', plural, namespace: 'default' };
}
