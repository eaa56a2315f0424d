/** Join tokens as people use them: the printed line pasted, lifetimes, counts, nodes, and tokens that are taken back. */

import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '#beehive/package-root.ts';
import { createKubeApi } from '#cloudcore/kube/client.ts';
import { type CommandResult, eventually, runCommand, Workspace } from './workspace.ts';

describe('join tokens', () => {
  let space: Workspace;

  beforeAll(async () => {
    space = await Workspace.open();
    const { code, stdout, stderr } = await space.init();
    expect(code, stdout + stderr).toBe(0);
  });

  afterAll(() => space.close());

  const token = async (...args: string[]) => {
    const { code, stdout, stderr } = await space.keadm('token', ...args, '--data-dir', space.cloudDir);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    return stdout.trim();
  };

  async function newestId(): Promise<string> {
    return (await token('list')).split('\n').at(-1)?.split(' ')[0] ?? '';
  }

  async function refused(name: string, text: string): Promise<string> {
    const { code, stdout, stderr } = await space.join(name, text);
    expect(code, stdout).not.toBe(0);
    return stderr;
  }

  /** As a shell runs it whose PATH has keadm. */
  async function paste(line: string, dataDir: string): Promise<CommandResult> {
    const bin = join(space.dir, 'bin');
    await mkdir(bin, { recursive: true });
    await writeFile(
      join(bin, 'keadm'),
      `#!/bin/sh\nexec "${process.execPath}" "${packageRoot()}/dist/keadm.js" "$@"\n`,
    );
    await chmod(join(bin, 'keadm'), 0o755);
    space.resetLater('edge', dataDir);
    return runCommand(
      'sh',
      ['-c', `PATH=${bin}:$PATH; ${line} --data-dir ${dataDir} --runtime process`],
      space.dir,
    );
  }

  it('the printed line joins as it stands; the token deleted, the node stays', async () => {
    const printed = await space.keadm('gettoken', '--print-join-command', '--data-dir', space.cloudDir);
    const { hub, bootstrap } = space.ports;
    const form = new RegExp(
      `^keadm join --cloudcore-ipport=127\\.0\\.0\\.1:${hub} --certport=${bootstrap} --token=[0-9a-f]{64}(\\.[\\w-]+){3}\\n$`,
    );
    expect(printed.stdout).toMatch(form);
    const line = await token('create', '--node', 'pasted', '--print-join-command');
    const joined = await paste(line, space.edgeDir('pasted'));
    expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0, stderr: '' });
    expect(await token('list')).toMatch(/\n[a-z0-9]{10} {2}23h 59m {2}1\/any +pasted +20\d\d-/);

    await token('delete', await newestId());
    expect(await token('list')).not.toContain('pasted');
    const text = line.split('--token=')[1] ?? '';
    expect(await refused('late', text)).toMatch(/this token was revoked on the cloud.*keadm token create/);
    const { daemon } = await space.service(space.cloudDir, 'cloudcore');
    process.kill(daemon, 'SIGKILL');
    await leaseRenewed('pasted');
  });

  it('a token need not stand in the process list: it is read from standard input or a file', async () => {
    const { hub, bootstrap } = space.ports;
    const join = `keadm join --cloudcore-ipport=127.0.0.1:${hub} --certport=${bootstrap} --edgenode-name quiet`;
    const file = `${space.dir}/join-token`;
    await writeFile(file, `${await token('create', '--uses', '1')}\n`, { mode: 0o600 });
    const joined = await paste(`${join} --token - < ${file}`, space.edgeDir('quiet'));
    expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0, stderr: '' });
    const again = await paste(`${join} --token-file ${file}`, space.edgeDir('quiet'));
    expect(again.stderr).toMatch(/used up \(1 of 1\)/);
  });

  it('the default token deleted: whoever has it stays out, and gettoken prints one that joins', async () => {
    const print = async () => (await space.keadm('gettoken', '--data-dir', space.cloudDir)).stdout.trim();
    const before = await print();
    expect(await token('list')).toMatch(/\ndefault +23h 5\dm +any +any +20\d\d-/);
    expect(await token('delete', 'default')).toBe('token default deleted; `keadm gettoken` prints another');
    expect(await refused('late', before)).toMatch(/revoked on the cloud.*keadm gettoken/);
    const joined = await space.join('default-joined', await print());
    expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0 });
  });

  it('an expired token says so, and what to do', async () => {
    const text = await token('create', '--ttl', '1s');
    const expiresMs =
      Number(/"exp":(\d+)/.exec(Buffer.from(text.split('.')[2] ?? '', 'base64url').toString())?.[1]) * 1000;
    await eventually('end of the token', 60_000, async () => (Date.now() > expiresMs ? true : undefined));
    expect(await refused('late', text)).toMatch(
      /token expired less than a minute ago; make a new one on the cloud with `keadm gettoken`/,
    );
    expect(await token('list')).toMatch(/ {2}expired {2}0\/any/);
  });

  it('one for ever works after a restart of the cloud, for its node, as often as it may', async () => {
    const text = await token('create', '--ttl', '0', '--uses', '1', '--node', 'single');
    const again = await space.init();
    expect(again, again.stderr).toMatchObject({ code: 0 });
    expect(await refused('other', text)).toMatch(/only for node single, not for other/);
    const joined = await space.join('single', text);
    expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0 });
    expect(await token('list')).toMatch(/ {2}forever {2}1\/1 +single/);
    const { code, stderr } = await space.join('single', text);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/used up \(1 of 1\).*keadm token create/);
  });

  it.each([
    [['create', '--ttl', 'soon'], /--ttl: "soon" is not a time such as 24h/],
    [['create', '--ttl', '10ms'], /--ttl/],
    [['create', '--uses', '0'], /--uses: "0" is not a number of at least 1/],
    [['create', '--node', 'Ki_tchen'], /--node/],
    [['delete', 'zzzzzzzzzz'], /there is no token zzzzzzzzzz; `keadm token list`/],
    [['delete', '../x'], /is not the id of a token/],
  ])('keadm token %j is refused with the reason', async (args, reason) => {
    const { code, stderr } = await space.keadm('token', ...args, '--data-dir', space.cloudDir);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(reason);
  });

  async function leaseRenewed(name: string): Promise<void> {
    const api = await createKubeApi(space.adminConf);
    const ref = {
      apiVersion: 'coordination.k8s.io/v1',
      plural: 'leases',
      namespace: 'kube-node-lease',
      name,
    };
    const since = new Date().toISOString();
    await eventually('lease renewed', 60_000, async () => {
      const { spec } = await api.get(ref);
      const time =
        typeof spec === 'object' && spec !== null && 'renewTime' in spec ? String(spec.renewTime) : '';
      return time > since ? true : undefined;
    });
  }
});
