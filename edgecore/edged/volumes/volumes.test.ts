import { existsSync } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  statfs,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { CancelledError } from '#protocol/errors.ts';
import { itUnless } from '#test/describe-unless.ts';
import type { ClaimObjects, ClusterObjects, TokenRequest } from '../cluster-objects.ts';
import { type Pod, podSchema } from '../pod/pod.ts';
import { writeVolume } from './atomic-writer.ts';
import { createMachineMounts } from './machine-mounts.ts';
import { secretDirectories } from './secret-directory.ts';
import { createVolumes, type Volumes } from './volumes.ts';

const around = { nodeName: 'edge-1', hostIp: '192.0.2.7', podIp: '192.0.2.7', allocatable: {} };

describe('volumes', () => {
  let root: string;
  let clock: ManualClock;
  let volumes: Volumes;
  const known = new Map<string, Record<string, string>>();
  const tokens: TokenRequest[] = [];
  const mounts = createMachineMounts();
  const kept = new Map<string, object>();
  const objects: ClusterObjects & ClaimObjects = {
    claim: async (namespace, name) => kept.get(`${namespace}/claim/${name}`),
    persistentVolume: async (name) => kept.get(`volume/${name}`),
    async data(kind, namespace, name) {
      const entries = known.get(`${namespace}/${kind}/${name}`);
      return entries && new Map(Object.entries(entries).map(([key, value]) => [key, Buffer.from(value)]));
    },
    async token(_namespace, _account, request) {
      tokens.push(request);
      return { token: `token-${tokens.length}`, expiresAtMs: clock.now() + 3_600_000 };
    },
  };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'hawser-volumes-'));
    clock = new ManualClock();
    volumes = createVolumes(root, { objects, clock, log: silentLog, memoryPlaces: [], mounts });
    known.clear();
    tokens.length = 0;
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const podOf = (...all: object[]): Pod =>
    podSchema.parse({
      metadata: { name: 'p', namespace: 'n', uid: 'u', labels: { app: 'web' } },
      spec: { containers: [], volumes: all },
    });
  const at = (...path: string[]) => join(root, 'pods/u/volumes', ...path);
  const prepare = (...all: object[]) => volumes.prepare(podOf(...all), around);

  itUnless(
    existsSync('/dev/shm') ? undefined : 'there is no /dev/shm',
    'keeps secrets and tokens in memory, and removes both parts of a pod',
    async () => {
      const memory = await mkdtemp('/dev/shm/hawser-test-');
      const memoryPlaces = [join(root, 'no tmpfs'), memory];
      volumes = createVolumes(root, { objects, clock, log: silentLog, memoryPlaces, mounts });
      known.set('n/configmap/m', { 'a.txt': 'one' });
      known.set('n/secret/s', { password: 'hidden' });
      const { paths } = await prepare(
        { name: 'map', configMap: { name: 'm' } },
        { name: 'secret', secret: { secretName: 's' } },
        { name: 'token', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } },
      );
      expect(paths.get('map')).toBe(at('map'));
      const [, inMemory = ''] = secretDirectories(root, memoryPlaces);
      expect(paths.get('secret')).toBe(join(inMemory, 'pods/u/volumes/secret'));
      expect(await readFile(join(inMemory, 'pods/u/volumes/secret/password'), 'utf8')).toBe('hidden');
      expect(await readFile(join(inMemory, 'pods/u/volumes/token/token'), 'utf8')).toBe('token-1');
      expect(await readdir(join(root, 'pods/u/volumes'))).toEqual(['map']);
      // Known after a restart, too, before any secret was asked for.
      volumes = createVolumes(root, { objects, clock, log: silentLog, memoryPlaces, mounts });
      expect(await volumes.present()).toEqual(['u']);
      await volumes.remove('u');
      expect([await volumes.present(), await readdir(join(inMemory, 'pods'))]).toEqual([[], []]);
      await rm(memory, { recursive: true });
    },
  );

  it('writes configMaps and secrets with modes, items and links that swap at once', async () => {
    known.set('n/configmap/m', { 'a.txt': 'one', 'b.txt': 'two' });
    known.set('n/secret/s', { password: 'hidden' });
    const map = { name: 'map', configMap: { name: 'm' } };
    const picked = {
      name: 'picked',
      secret: { secretName: 's', defaultMode: 0o400, items: [{ key: 'password', path: 'in/side' }] },
    };
    await prepare(map, picked);
    expect((await readdir(at('map'))).filter((name) => !name.startsWith('..')).sort()).toEqual([
      'a.txt',
      'b.txt',
    ]);
    expect(await readlink(at('map/a.txt'))).toBe('..data/a.txt');
    expect(await readFile(at('picked/in/side'), 'utf8')).toBe('hidden');
    expect((await stat(at('picked/in/side'))).mode & 0o777).toBe(0o400);
    expect((await stat(at('map/a.txt'))).mode & 0o777).toBe(0o644);

    const before = await readlink(at('map/..data'));
    await prepare(map, picked);
    expect(await readlink(at('map/..data'))).toBe(before);
    known.set('n/configmap/m', { 'a.txt': 'new' });
    await prepare(map, picked);
    expect(await readFile(at('map/a.txt'), 'utf8')).toBe('new');
    await expect(lstat(at('map/b.txt'))).rejects.toThrow();
    expect((await readdir(at('map'))).filter((name) => name.startsWith('..')).length).toBe(2);
  });

  it('waits for what is missing, unless it is optional', async () => {
    await expect(prepare({ name: 'v', configMap: { name: 'm' } })).rejects.toThrow('configmap "m" not found');
    await prepare({ name: 'v', configMap: { name: 'm', optional: true } });
    expect((await readdir(at('v'))).filter((name) => !name.startsWith('..'))).toEqual([]);
    known.set('n/configmap/m', {});
    const items = [{ key: 'k', path: 'k' }];
    await expect(prepare({ name: 'v', configMap: { name: 'm', items } })).rejects.toThrow(
      'references non-existent config key: k',
    );
  });

  it('projects tokens, maps and fields together, and asks for a new token in time', async () => {
    known.set('n/configmap/ca', { 'ca.crt': 'CA' });
    const sources = [
      { serviceAccountToken: { path: 'token', expirationSeconds: 3607 } },
      { configMap: { name: 'ca', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
    ];
    const prepared = await prepare({ name: 'api', projected: { sources } });
    expect(await readFile(at('api/token'), 'utf8')).toBe('token-1');
    expect(await readFile(at('api/ca.crt'), 'utf8')).toBe('CA');
    expect(await readFile(at('api/namespace'), 'utf8')).toBe('n');
    expect(tokens[0]).toEqual({ audience: undefined, expirationSeconds: 3607, pod: { name: 'p', uid: 'u' } });
    expect(prepared.refreshAtMs).toBe(clock.now() + 0.8 * 3_600_000);
  });

  it('shows labels by downwardAPI', async () => {
    const items = [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }];
    await prepare({ name: 'v', downwardAPI: { items } });
    expect(await readFile(at('v/labels'), 'utf8')).toBe('app="web"');
  });

  it('keeps emptyDir between rounds and removes it with the pod, but never a hostPath', async () => {
    const host = join(root, 'host');
    await mkdir(host);
    await writeFile(join(host, 'keep'), '');
    const both = [
      { name: 'e', emptyDir: {} },
      { name: 'h', hostPath: { path: host, type: 'Directory' } },
    ];
    const prepared = await prepare(...both);
    expect(prepared.paths.get('h')).toBe(host);
    await writeFile(at('e/file'), 'x');
    await prepare(...both);
    expect(await readFile(at('e/file'), 'utf8')).toBe('x');
    expect(await volumes.present()).toEqual(['u']);
    await volumes.remove('u');
    expect(await volumes.present()).toEqual([]);
    expect(await readdir(host)).toEqual(['keep']);
  });

  it('leads by a claim to the place of its volume, and says why while it does not', async () => {
    const host = await mkdtemp(join(root, 'data-'));
    const volume = { name: 'd', persistentVolumeClaim: { claimName: 'data' } };
    const claim = (spec: object) => ({ metadata: { name: 'data', uid: 'c1' }, spec });
    const ours = { namespace: 'n', name: 'data', uid: 'c1' };
    const persistent = (spec: object) => ({ metadata: { name: 'v1' }, spec: { capacity: {}, ...spec } });
    kept.clear();
    await expect(prepare(volume)).rejects.toThrow('claim n/data: there is no such PersistentVolumeClaim');
    kept.set('n/claim/data', claim({}));
    await expect(prepare(volume)).rejects.toThrow('not bound to a PersistentVolume yet');
    kept.set('n/claim/data', claim({ volumeName: 'v1' }));
    await expect(prepare(volume)).rejects.toThrow('there is no PersistentVolume v1');
    for (const claimRef of [undefined, { ...ours, name: 'other' }, { ...ours, uid: 'c0' }]) {
      kept.set('volume/v1', persistent({ claimRef, hostPath: { path: host } }));
      await expect(prepare(volume)).rejects.toThrow('PersistentVolume v1 is not bound to it');
    }
    kept.set('volume/v1', persistent({ claimRef: ours, csi: { driver: 'x' } }));
    await expect(prepare(volume)).rejects.toThrow('PersistentVolume v1 is csi, and only hostPath and local');
    kept.set('volume/v1', persistent({ claimRef: ours, local: { path: join(host, 'none') } }));
    await expect(prepare(volume)).rejects.toThrow('is not a Directory');
    for (const place of [{ hostPath: { path: host, type: 'Directory' } }, { local: { path: host } }]) {
      kept.set('volume/v1', persistent({ claimRef: ours, ...place }));
      expect((await prepare(volume)).paths.get('d')).toBe(host);
    }
    await volumes.remove('u');
    expect(existsSync(host)).toBe(true);
  });

  it('writes nothing for a pod that was removed while its token was asked for', async () => {
    const slow: ClusterObjects & ClaimObjects = {
      ...objects,
      async token() {
        await volumes.remove('u');
        return { token: 'late', expiresAtMs: clock.now() + 3_600_000 };
      },
    };
    volumes = createVolumes(root, { objects: slow, clock, log: silentLog, memoryPlaces: [], mounts });
    const sources = [{ serviceAccountToken: { path: 'token' } }];
    const all = [
      { name: 'e', emptyDir: {} },
      { name: 'api', projected: { sources } },
    ];
    await expect(prepare(...all)).rejects.toThrow(CancelledError);
    expect(await volumes.present()).toEqual([]);
  });

  it('removes a pod whose files are being written', async () => {
    for (let n = 0; n < 200; n += 1) known.set(`n/configmap/m${n}`, { k: 'v' });
    const volumesOfPod = Array.from({ length: 200 }, (_, n) => ({
      name: `v${n}`,
      configMap: { name: `m${n}` },
    }));
    const preparing = expect(prepare(...volumesOfPod)).rejects.toThrow(CancelledError);
    while ((await volumes.present()).length === 0) await new Promise((resolve) => setImmediate(resolve));
    await volumes.remove('u');
    await preparing;
    expect(await volumes.present()).toEqual([]);
  });

  it('checks hostPath types', async () => {
    const path = join(root, 'made');
    await expect(prepare({ name: 'h', hostPath: { path, type: 'Directory' } })).rejects.toThrow(
      'type check failed',
    );
    await prepare({ name: 'h', hostPath: { path, type: 'DirectoryOrCreate' } });
    await expect(prepare({ name: 'h', hostPath: { path, type: 'File' } })).rejects.toThrow('is not a File');
  });

  it('lets nothing lead out of a volume', async () => {
    for (const path of ['../x', '/x', 'a/../../x', '..data', ''])
      await expect(
        writeVolume(join(root, 'v'), new Map([[path, { data: Buffer.from('x'), mode: 0o644 }]])),
      ).rejects.toMatchObject({ code: 'volume-path' });
    await expect(prepare({ name: '../x', emptyDir: {} })).rejects.toThrow('cannot name a directory');
    await expect(volumes.remove('../x')).rejects.toThrow('cannot name a directory');
  });

  it('lets anybody in the pod write to an emptyDir, whatever the umask', async () => {
    await prepare({ name: 'e', emptyDir: {} });
    expect((await stat(at('e'))).mode & 0o7777).toBe(0o777);
    await chmod(at('e'), 0o700);
    await prepare({ name: 'e', emptyDir: {} });
    expect((await stat(at('e'))).mode & 0o7777).toBe(0o700);
  });

  const needsRoot = process.getuid?.() === 0 ? undefined : 'only root mounts, and gives files away';

  itUnless(needsRoot, 'gives volumes to the group of the pod', async () => {
    known.set('n/configmap/m', { 'a.txt': 'one' });
    const pod = podSchema.parse({
      metadata: { name: 'p', namespace: 'n', uid: 'u' },
      spec: {
        securityContext: { fsGroup: 4321, runAsUser: 1234 },
        containers: [{ name: 'c' }],
        volumes: [
          { name: 'e', emptyDir: {} },
          { name: 'm', configMap: { name: 'm', items: [{ key: 'a.txt', path: 'in/a', mode: 0o400 }] } },
          { name: 't', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } },
        ],
      },
    });
    await volumes.prepare(pod, around);
    const told = async (path: string) => {
      const { uid, gid, mode } = await stat(at(path));
      return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
    };
    expect(await told('e')).toBe('0:4321 2777');
    expect(await told('m')).toBe('0:4321 2755');
    expect(await told('m/in')).toBe('0:4321 2755');
    expect(await told('m/in/a')).toBe('0:4321 440');
    expect(await told('t/token')).toBe('1234:4321 640');
    const before = await readlink(at('m/..data'));
    await volumes.prepare(pod, around);
    expect(await readlink(at('m/..data'))).toBe(before);
  });

  itUnless(
    needsRoot,
    'mounts memory of the size that is asked, which outlives edgecore and goes with the pod',
    async () => {
      const memory = { name: 'e', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } };
      await prepare(memory);
      expect(await statfs(at('e'))).toMatchObject({ type: 0x01021994, blocks: 256, bsize: 4096 });
      await writeFile(at('e', 'kept'), 'x');
      await expect(writeFile(at('e', 'large'), Buffer.alloc(2 << 20))).rejects.toMatchObject({
        code: 'ENOSPC',
      });
      volumes = createVolumes(root, { objects, clock, log: silentLog, memoryPlaces: [], mounts });
      await prepare(memory);
      expect(await readFile(at('e', 'kept'), 'utf8')).toBe('x');
      await volumes.remove('u');
      expect(await mounts.isMounted(at('e'))).toBe(false);
      expect(await volumes.present()).toEqual([]);
    },
  );

  itUnless(needsRoot, 'deletes nothing while something stays mounted below', async () => {
    const stuck = { ...mounts, unmountBelow: async () => Promise.reject(new Error('busy')) };
    volumes = createVolumes(root, { objects, clock, log: silentLog, memoryPlaces: [], mounts: stuck });
    await prepare({ name: 'e', emptyDir: {} });
    await expect(volumes.remove('u')).rejects.toThrow('busy');
    expect(await volumes.present()).toEqual(['u']);
  });
});
