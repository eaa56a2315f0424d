import { mkdir, mkdtemp, readFile, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { itUnless } from '#test/describe-unless.ts';
import { type Pod, podSchema } from '../pod/pod.ts';
import { mountsOf } from './container-mounts.ts';
import { createMachineMounts, type MachineMounts } from './machine-mounts.ts';
import { openSubPath, SubPathError } from './sub-path.ts';

const needsRoot = process.getuid?.() === 0 ? undefined : 'only root may mount';

describe('a subPath', () => {
  let root: string;
  let volume: string;
  let mounts: MachineMounts;

  beforeEach(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), 'hawser-subpath-')));
    volume = join(root, 'volume');
    await mkdir(volume);
    await mkdir(join(root, 'outside'));
    await writeFile(join(root, 'outside/secret'), 'not yours');
    mounts = { ...createMachineMounts(), allowed: false };
  });
  afterEach(async () => {
    await createMachineMounts().unmountBelow(root);
    await rm(root, { recursive: true, force: true });
  });

  const podOf = (mount: object): Pod =>
    podSchema.parse({
      metadata: { name: 'p', uid: 'u' },
      spec: { containers: [{ name: 'c', volumeMounts: [{ name: 'v', mountPath: '/m', ...mount }] }] },
    });
  const of = async (mount: object, env: Record<string, string> = {}) => {
    const pod = podOf(mount);
    const [container] = pod.spec.containers;
    if (container === undefined) throw new Error('no container');
    const prepared = { paths: new Map([['v', volume]]), refreshAtMs: undefined };
    const parts = { mounts, podDirectory: (uid: string) => join(root, 'pods', uid) };
    const [made] = await mountsOf(pod, container, prepared, new Map(Object.entries(env)), parts);
    return made?.hostPath ?? '';
  };
  const failed = 'failed to prepare subPath for volumeMount "v" of container "c"';

  it('is made where it is missing, with the rights of the volume', async () => {
    expect(await of({ subPath: 'a/b' })).toBe(join(volume, 'a/b'));
    expect((await stat(join(volume, 'a/b'))).mode).toBe((await stat(volume)).mode);
    expect(await of({ subPathExpr: '$(POD)/$$x' }, { POD: 'web-1' })).toBe(join(volume, 'web-1/$x'));
  });

  it('follows links that stay in the volume, as those of a configMap', async () => {
    await mkdir(join(volume, '..1'));
    await writeFile(join(volume, '..1/a.txt'), 'text');
    await symlink('..1', join(volume, '..data'));
    await symlink('..data/a.txt', join(volume, 'a.txt'));
    expect(await of({ subPath: 'a.txt' })).toBe(join(volume, '..1/a.txt'));
  });

  it.each([
    ['../outside', "unable to provision SubPath `../outside`: must not contain '..'"],
    ['a/../../outside', "unable to provision SubPath `a/../../outside`: must not contain '..'"],
    ['/etc', 'error SubPath `/etc` must not be an absolute path'],
  ])('%s is refused in the words of the kubelet', async (subPath, words) => {
    await expect(of({ subPath })).rejects.toMatchObject({
      message: words,
      detail: { reason: 'CreateContainerConfigError' },
    });
  });

  it('needs every variable that it names', async () => {
    await expect(of({ subPathExpr: '$(NONE)/x' })).rejects.toThrow('missing value for "NONE"');
    await expect(of({ subPathExpr: '$(UP)/x' }, { UP: '..' })).rejects.toThrow("must not contain '..'");
  });

  it('does not follow a link out of the volume, whatever it is', async () => {
    await symlink('../outside', join(volume, 'out'));
    await symlink(join(root, 'outside/secret'), join(volume, 'file'));
    await symlink('/', join(volume, 'top'));
    await symlink('nowhere', join(volume, 'dangling'));
    for (const subPath of [
      'out',
      'out/secret',
      'out/new',
      'file',
      'top',
      'top/etc',
      'dangling',
      'dangling/x',
    ])
      await expect(of({ subPath }), subPath).rejects.toThrow(failed);
    await expect(stat(join(root, 'outside/new'))).rejects.toThrow();
  });

  it('is not led astray by links that change while it is looked up', async () => {
    await mkdir(join(volume, 'real'));
    await writeFile(join(volume, 'real/secret'), 'mine');
    await symlink('real', join(volume, 'swap'));
    let turning = true;
    const turn = async () => {
      for (let n = 0; turning; n += 1) {
        await symlink(n % 2 === 0 ? '../outside' : 'real', join(volume, 'next'));
        await rename(join(volume, 'next'), join(volume, 'swap'));
      }
    };
    const turned = turn();
    const read = new Set<string>();
    for (let n = 0; n < 200 || read.size === 0; n += 1) {
      const file = await openSubPath(volume, 'swap/secret').catch((error: unknown) => {
        if (!(error instanceof SubPathError)) throw error;
      });
      if (file === undefined) continue;
      read.add(await readFile(`/proc/self/fd/${file.fd}`, 'utf8'));
      await file.close();
    }
    turning = false;
    await turned;
    expect([...read]).toEqual(['mine']);
  });

  itUnless(
    needsRoot,
    'is mounted as it was found: what its path leads to later changes nothing',
    async () => {
      mounts = createMachineMounts();
      await mkdir(join(volume, 'sub'));
      await writeFile(join(volume, 'sub/mine'), 'x');
      await writeFile(join(volume, 'one.txt'), 'one');
      const at = await of({ subPath: 'sub' });
      expect(at).toBe(join(root, 'pods/u/volume-subpaths/v/c/0'));
      await rename(join(volume, 'sub'), join(volume, 'moved'));
      await symlink('../outside', join(volume, 'sub'));
      expect(await readFile(join(at, 'mine'), 'utf8')).toBe('x');
      await expect(of({ subPath: 'sub' })).rejects.toThrow('leads out of the volume');
      // A file where a directory was, and the same again.
      expect(await readFile(await of({ subPath: 'one.txt' }), 'utf8')).toBe('one');
      expect(await readFile(await of({ subPath: 'one.txt' }), 'utf8')).toBe('one');
    },
  );

  itUnless(needsRoot, 'is taken down before its pod is deleted, so that nothing behind it is', async () => {
    mounts = createMachineMounts();
    await mkdir(join(volume, 'sub'));
    await writeFile(join(volume, 'sub/mine'), 'x');
    const at = await of({ subPath: 'sub' });
    expect(await mounts.isMounted(at)).toBe(true);
    // By another name of the same place, too.
    await symlink(root, join(root, 'again'));
    expect(await mounts.isMounted(join(root, 'again', relative(root, at)))).toBe(true);
    await mounts.unmountBelow(join(root, 'again/pods/u'));
    expect(await mounts.isMounted(at)).toBe(false);
    await rm(join(root, 'pods/u'), { recursive: true });
    expect(await readFile(join(volume, 'sub/mine'), 'utf8')).toBe('x');
  });
});
