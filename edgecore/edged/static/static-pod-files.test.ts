import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { staticPodLimits } from '#protocol/limits.ts';
import { itUnless } from '#test/describe-unless.ts';
import { readStaticPods } from './static-pod-files.ts';

describe('the folder of static pods', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hawser-static-'));
    await chmod(directory, 0o755);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const read = (isolated = true) => readStaticPods({ directory, nodeName: 'Edge-1', isolated });
  const put = (name: string, content: unknown) =>
    writeFile(join(directory, name), typeof content === 'string' ? content : JSON.stringify(content), {
      mode: 0o644,
    });
  const pod = (spec: object = {}, metadata: object = {}) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', ...metadata },
    spec: { containers: [{ name: 'main', image: 'i' }], ...spec },
  });
  const faultOf = async (content: unknown) => {
    await put('it.yaml', content);
    return (await read()).faults.get('it.yaml');
  };

  it('makes of YAML and JSON what the kubelet makes: name, uid from the content, annotations, node', async () => {
    await put(
      'a.yaml',
      'apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: m, image: i}]}',
    );
    await put('b.json', pod({}, { name: 'other', namespace: 'apps', annotations: { mine: 'x' } }));
    await put('.hidden', 'nonsense');
    await mkdir(join(directory, 'folder'));
    const { pods, faults } = await read();
    expect([...faults]).toEqual([]);
    const [web, other] = [pods.get('a.yaml'), pods.get('b.json')];
    expect(web?.metadata).toMatchObject({ name: 'web-edge-1', namespace: 'default' });
    expect(web?.metadata.uid).toMatch(/^[0-9a-f]{32}$/);
    expect(web?.spec.nodeName).toBe('Edge-1');
    expect(web?.spec.tolerations).toEqual([{ operator: 'Exists', effect: 'NoExecute' }]);
    expect(other?.metadata).toMatchObject({
      name: 'other-edge-1',
      namespace: 'apps',
      annotations: {
        mine: 'x',
        'kubernetes.io/config.source': 'file',
        'kubernetes.io/config.hash': other?.metadata.uid,
      },
    });
    expect((await read()).pods.get('a.yaml')?.metadata.uid).toBe(web?.metadata.uid);
    await put('a.yaml', pod({ hostname: 'changed' }));
    expect((await read()).pods.get('a.yaml')?.metadata.uid).not.toBe(web?.metadata.uid);
  });

  it('says what is wrong with a file, and reads the others', async () => {
    await put('good.yaml', pod());
    const bad: Record<string, [unknown, RegExp]> = {
      'list.yaml': ['- a', /no object/],
      'broken.yaml': ['a: [', /neither YAML nor JSON/],
      'service.yaml': [
        { apiVersion: 'v1', kind: 'Service', metadata: { name: 's' } },
        /v1 Service; a static pod/,
      ],
      'nameless.yaml': [{ ...pod(), metadata: {} }, /name/],
      'path.yaml': [pod({}, { name: '../x' }), /metadata.name: cannot name a directory/],
      'empty.yaml': ['', /empty/],
      'large.yaml': [`# ${'x'.repeat(staticPodLimits.fileBytesMax)}`, /larger than 524288 bytes/],
      'twice.yaml': [pod(), /default\/web-edge-1 is in the file good.yaml already/],
      'two.yaml': [`${JSON.stringify(pod())}\n---\n${JSON.stringify(pod())}`, /several documents/],
      'bomb.yaml': ['a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b,*b]\nd: *x', /neither/],
      'null-containers.yaml': [{ ...pod(), spec: { containers: null } }, /spec.containers/],
    };
    for (const [name, [content]] of Object.entries(bad)) await put(name, content);
    const { pods, faults } = await read();
    expect([...pods.keys()]).toEqual(['good.yaml']);
    for (const [name, [, words]] of Object.entries(bad)) expect(faults.get(name), name).toMatch(words);
  });

  it('takes none that names objects of the API', async () => {
    const volume = (source: object) => pod({ volumes: [{ name: 'v', ...source }] });
    for (const content of [
      volume({ configMap: { name: 'm' } }),
      volume({ secret: { secretName: 's' } }),
      volume({ persistentVolumeClaim: { claimName: 'c' } }),
      volume({ projected: { sources: [{ serviceAccountToken: { path: 't' } }] } }),
      pod({ serviceAccountName: 'admin' }),
      pod({ imagePullSecrets: [{ name: 'r' }] }),
    ])
      expect(await faultOf(content)).toMatch(/may not refer to objects of the API, and it names /);
  });

  const greedy: [string, object][] = [
    ['hostNetwork', { hostNetwork: true }],
    ['hostPID', { hostPID: true }],
    ['hostIPC', { hostIPC: true }],
    ['hostPath /etc', { volumes: [{ name: 'v', hostPath: { path: '/etc' } }] }],
    [
      'the privileged container x',
      { containers: [{ name: 'x', image: 'i', securityContext: { privileged: true } }] },
    ],
    [
      'the capability SYS_ADMIN in container x',
      { containers: [{ name: 'x', image: 'i', securityContext: { capabilities: { add: ['SYS_ADMIN'] } } }] },
    ],
  ];
  it.each(greedy)('gives %s only to files that nobody else could have written', async (what, spec) => {
    expect(await faultOf(pod(spec))).toBeUndefined();
    await chmod(join(directory, 'it.yaml'), 0o664);
    expect((await read()).faults.get('it.yaml')).toContain(`its pod has ${what}, which only a file gives`);
    expect((await read()).faults.get('it.yaml')).toContain('it is writable by others than its owner');
    await chmod(join(directory, 'it.yaml'), 0o644);
    await chmod(directory, 0o777);
    expect((await read()).faults.get('it.yaml')).toContain(`the folder ${directory} is writable by others`);
  });

  it('counts every pod as such where containers are processes of the machine', async () => {
    await put('it.yaml', pod());
    await chmod(join(directory, 'it.yaml'), 0o666);
    expect((await read(true)).faults.size).toBe(0);
    expect((await read(false)).faults.get('it.yaml')).toContain('processes on the machine itself');
  });

  itUnless(
    process.getuid?.() === 0 ? undefined : 'only root gives files away',
    'looks at who owns a file, also behind a link',
    async () => {
      const elsewhere = await mkdtemp(join(tmpdir(), 'hawser-theirs-'));
      await writeFile(join(elsewhere, 'pod'), JSON.stringify(pod({ hostNetwork: true })));
      await chown(join(elsewhere, 'pod'), 12345, 12345);
      await symlink(join(elsewhere, 'pod'), join(directory, 'it.yaml'));
      expect((await read()).faults.get('it.yaml')).toContain('it belongs to user 12345: chown root');
      await rm(elsewhere, { recursive: true });
    },
  );

  it('reads no more files than it may, and none where there is no folder', async () => {
    for (let n = 0; n < staticPodLimits.filesMax + 1; n += 1)
      await put(`${100 + n}.yaml`, pod({}, { name: `p${n}` }));
    const { pods, faults } = await read();
    expect([pods.size, faults.size]).toEqual([staticPodLimits.filesMax, 1]);
    await rm(directory, { recursive: true });
    expect((await read()).pods.size).toBe(0);
  });
});
