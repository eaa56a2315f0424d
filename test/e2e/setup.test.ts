/**
 * What setting up leaves behind on both machines: how long it takes, what it prints, who may read which file, and
 * that no token and no secret lies readable on the edge's disk.
 */

import { createHash, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  cp,
  lstat,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '#beehive/package-root.ts';
import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { podSchema } from '#protocol/resources/pod.ts';
import { beatsOf } from '#test/beats.ts';
import { filesBelow, unlessGone } from '#test/files-below.ts';
import { eventually, runCommand, Workspace } from './workspace.ts';

const password = 'correct-horse-battery-staple';
const coldStartMaxMs = 30_000;
const node = 'vault';

describe('what is set up', () => {
  let space: Workspace;
  let api: KubeApi;
  let token: string;
  let said: string;

  beforeAll(async () => {
    space = await Workspace.open();
  });
  afterAll(() => space.close());

  it('nothing, when asked for a dry run: it prints what it would write', async () => {
    const { code, stdout } = await space.init('--dry-run');
    expect(code).toBe(0);
    for (const text of [
      'kind: CloudCore',
      `port: ${space.ports.hub}`,
      'kind: CustomResourceDefinition',
      'kind: ClusterRole',
    ]) {
      expect(stdout).toContain(text);
    }
    expect(existsSync(space.cloudDir)).toBe(false);
  });

  it('a cloud, cold, well within its time, on the address it is told', async () => {
    const began = space.init();
    const tookMs = await beatsOf(began);
    const { code, stdout, stderr } = await began;
    expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' });
    process.stdout.write(`keadm init, cold: ${(tookMs / 1000).toFixed(1)} s\n`);
    expect(tookMs).toBeLessThan(coldStartMaxMs);
    said = stdout;
    expect(stdout).toContain(`keadm join --cloudcore-ipport=127.0.0.1:${space.ports.hub}`);
    api = await space.api();
    expect((await api.list({ apiVersion: 'v1', plural: 'nodes' })).items).toEqual([]);
    token = await space.token();
  });

  it('the same again changes no key and no certificate', async () => {
    const before = await keysOf(space.cloudDir);
    expect(before.size).toBeGreaterThan(3);
    const { code, stdout, stderr } = await space.init();
    expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: '' });
    expect(await keysOf(space.cloudDir)).toEqual(before);
    expect((await space.token()).split('.')[0]).toBe(token.split('.')[0]);
  });

  it('a token that begins with the hash of the CA that is served', async () => {
    const ca = new X509Certificate(await readFile(join(space.cloudDir, 'etc/cloud/ca/rootCA.crt')));
    expect(token.split('.')[0]).toBe(createHash('sha256').update(ca.raw).digest('hex'));
  });

  it('an edge, with the flags of a KubeEdge script; services and logs are where keadm says', async () => {
    const { code, stdout, stderr } = await space.join(
      node,
      token,
      ...['--kubeedge-version=v1.23.0', '--certPath=/etc/kubeedge/certs'],
      ...['--remote-runtime-endpoint=unix:///run/containerd/containerd.sock', '--hub-protocol', 'websocket'],
      ...['--labels', 'room=kitchen'],
    );
    expect({ code, stderr }, stdout).toEqual({
      code: 0,
      stderr: 'keadm: --kubeedge-version has no effect here\n',
    });
    const { metadata } = await api.get({ apiVersion: 'v1', plural: 'nodes', name: node });
    expect(metadata.labels).toMatchObject({ room: 'kitchen' });
    for (const text of [said, stdout]) {
      const logs = /(?:no systemd here.*|units .*); logs: (.*)/.exec(text)?.[1]?.split(', ') ?? [];
      expect(logs.length).toBeGreaterThan(0);
      for (const log of logs) if (!log.startsWith('`')) expect(await readFile(log, 'utf8')).not.toBe('');
    }
  });

  it("the operator's own programs, before and after, and no work after one that fails", async () => {
    const script = join(space.dir, 'hook.sh');
    await writeFile(script, '#!/bin/sh\necho "hook of $PWD"\n', { mode: 0o755 });
    const again = await space.join(node, token, '--pre-run', script, '--post-run', script);
    expect(again.code, again.stderr).toBe(0);
    expect(again.stdout.match(/^hook of /gm)).toHaveLength(2);
    await writeFile(script, '#!/bin/sh\nexit 7\n', { mode: 0o755 });
    const refused = await space.join('other', token, '--pre-run', script);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`--pre-run ${script} ended with 7`);
    expect(existsSync(space.edgeDir('other'))).toBe(false);
  });

  it('an edge that nobody can reach from outside: it only listens on loopback', async () => {
    const { daemon } = await space.service(space.edgeDir(node), 'edgecore');
    const listening = await listeningAddresses(daemon);
    expect(listening.length).toBeGreaterThan(1);
    expect(listening.filter((address) => !isLoopback(address))).toEqual([]);
  });

  it('a machine that debug check finds well, and a cloud that it misses', async () => {
    const check = (...args: string[]) =>
      space.keadm('debug', 'check', '--data-dir', space.edgeDir(node), ...args);
    const well = await check();
    expect(well, well.stdout).toMatchObject({ code: 0, stderr: '' });
    expect(well.stdout).toMatch(/✓ cloud +127\.0\.0\.1 answers/);
    expect(well.stdout).toMatch(/✓ clock +as the clock of the cloud/);
    const missed = await check('dns', 'network', '--cloudcore-ipport', '127.0.0.1:1');
    expect(missed.code).toBe(1);
    expect(missed.stdout).toMatch(/✗ cloud +cloudcore cannot be reached at 127\.0\.0\.1:1 \(ECONNREFUSED\)/);
    expect(missed.stdout).not.toContain('memory');
  });

  it('keeps a secret that a pod mounts off the disk of the edge, and out of every log', async () => {
    await runPodWithSecret();
    // A restart makes the copy of the last good start.
    const { daemon } = await space.service(space.edgeDir(node), 'edgecore');
    process.kill(daemon, 'SIGKILL');
    const copy = join(space.edgeDir(node), 'lib/edgecore.db.last-good');
    const beforeMs = (await stat(copy)).mtimeMs;
    await eventually('a new copy of the store', 60_000, async () =>
      (await stat(copy)).mtimeMs > beforeMs ? true : undefined,
    );
    const stored = await files(space.edgeDir(node));
    const names = [...stored.keys()].map((path) => path.split('/').at(-1));
    for (const name of ['edgecore.db', 'edgecore.db-wal', 'edgecore.db.last-good', 'edgecore.log'])
      expect(names).toContain(name);
    const encoded = Buffer.from(password).toString('base64');
    expect(holding(stored, password, encoded)).toEqual([]);
    const logs = [...(await files(join(space.cloudDir, 'log'))).entries()];
    expect(holding(new Map(logs), password, encoded)).toEqual([]);
    expect(holding(stored, 'secret/login')).not.toEqual([]);
  });

  it('lets nobody but the owner read keys, kubeconfigs, stores and configs', async () => {
    const confined = /PRIVATE KEY|client-key-data|^ *token: /m;
    for (const root of [space.cloudDir, space.edgeDir(node)]) {
      let checked = 0;
      for (const [path, content] of await files(root)) {
        const isStore = /\.(db|db-wal|db-shm|last-good|key)$/.test(path) || path.endsWith('core.yaml');
        if (!isStore && !confined.test(content.toString('latin1'))) continue;
        checked += 1;
        expect([path, ((await stat(path)).mode & 0o777).toString(8)]).toEqual([path, '600']);
      }
      expect(checked).toBeGreaterThan(4);
    }
    expect((await stat(space.adminConf)).mode & 0o777).toBe(0o600);
  });

  it('leaves no join token on the edge', async () => {
    const [, ...parts] = token.split('.');
    const secret = parts.at(-1) ?? '';
    expect(secret.length).toBeGreaterThan(20);
    expect(holding(await files(space.edgeDir(node)), secret)).toEqual([]);
    expect(holding(await files(join(space.cloudDir, 'log')), secret)).toEqual([]);
  });

  async function runPodWithSecret(): Promise<void> {
    const namespace = 'default';
    await api.create(
      { apiVersion: 'v1', plural: 'secrets', namespace },
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'login', namespace }, stringData: { password } },
    );
    const check = `[ "$PASSWORD" = "$(cat /login/password)" ] && echo both the same; exec sleep 300`;
    const container = {
      name: 'main',
      image: 'busybox',
      command: ['/bin/sh', '-c', check],
      env: [{ name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'login', key: 'password' } } }],
      volumeMounts: [{ name: 'login', mountPath: '/login' }],
    };
    const volumes = [{ name: 'login', secret: { secretName: 'login' } }];
    await api.create(
      { apiVersion: 'v1', plural: 'pods', namespace },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'vault', namespace },
        spec: { nodeName: node, terminationGracePeriodSeconds: 1, containers: [container], volumes },
      },
    );
    const ref = { apiVersion: 'v1', plural: 'pods', namespace, name: 'vault' };
    await eventually('vault Running', 60_000, async () =>
      podSchema.parse(await api.get(ref)).status?.phase === 'Running' ? true : undefined,
    );
    await eventually('the container has the secret', 60_000, async () =>
      holding(await files(space.edgeDir(node)), 'both the same').length > 0 ? true : undefined,
    );
  }
});

describe('a fresh clone', () => {
  it('is built by one line, and its keadm says which version it is', async () => {
    const clone = await mkdtemp(join(tmpdir(), 'hawser-clone-'));
    try {
      const left = new Set(['node_modules', 'dist', '.git', '.hawser']);
      for (const name of await readdir(packageRoot()))
        if (!left.has(name)) await cp(join(packageRoot(), name), join(clone, name), { recursive: true });
      await symlink(join(packageRoot(), 'node_modules'), join(clone, 'node_modules'));
      const built = await runCommand('npm', ['run', '--silent', 'build'], clone);
      expect(built.code, built.stderr).toBe(0);
      const keadm = (...args: string[]) =>
        runCommand(process.execPath, [join(clone, 'dist/keadm.js'), 'version', ...args], clone);
      const { version } = JSON.parse(await readFile(join(clone, 'package.json'), 'utf8'));
      expect((await keadm()).stdout).toContain(`keadm v${version} `);
      expect((await keadm('-o', 'short')).stdout).toBe(`v${version}\n`);
      expect(JSON.parse((await keadm('-o', 'json')).stdout)).toMatchObject({ version: `v${version}` });
    } finally {
      await rm(clone, { recursive: true, force: true });
    }
  });
});

/** Every file below a directory with what is in it; what goes meanwhile is left out. */
async function files(directory: string): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for (const name of await filesBelow(directory)) {
    const path = join(directory, name);
    const isFile = (await unlessGone(lstat(path)))?.isFile() === true;
    const content = isFile ? await unlessGone(readFile(path)) : undefined;
    if (content !== undefined) found.set(path, content);
  }
  return found;
}

function holding(among: ReadonlyMap<string, Buffer>, ...texts: readonly string[]): string[] {
  return [...among]
    .filter(([, content]) => texts.some((text) => content.includes(text)))
    .map(([path]) => path);
}

/** As the kernel writes them: `0100007F` is 127.0.0.1. */
async function listeningAddresses(pid: number): Promise<string[]> {
  const links = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
  );
  const sockets = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const tables = await Promise.all(
    ['tcp', 'tcp6', 'udp', 'udp6'].map((table) => readFile(`/proc/${pid}/net/${table}`, 'utf8')),
  );
  return tables.flatMap((table) =>
    table.split('\n').flatMap((line) => {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      return (state === '0A' || state === '07') && sockets.has(inode) ? [local.split(':')[0] ?? ''] : [];
    }),
  );
}

function isLoopback(address: string): boolean {
  return address === '0100007F' || address === '00000000000000000000000001000000';
}

async function keysOf(directory: string): Promise<Map<string, string>> {
  const found = [...(await files(directory))].filter(([path]) => /\.(key|crt|conf)$/.test(path));
  return new Map(found.map(([path, content]) => [path, content.toString()]));
}
