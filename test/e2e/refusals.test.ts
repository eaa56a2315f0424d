/** What goes wrong when people set things up: each ends with a clear message, the next step and a non-zero exit. */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '#beehive/package-root.ts';
import { freePorts } from '#test/free-port.ts';
import { runCommand, Workspace } from './workspace.ts';

describe('refusals', () => {
  let space: Workspace;
  let token: string;

  beforeAll(async () => {
    space = await Workspace.open();
    const { code, stdout, stderr } = await space.init();
    expect(code, stdout + stderr).toBe(0);
    token = await space.token();
  });

  afterAll(() => space.close());

  async function refused(given: string, ...more: string[]): Promise<string> {
    const { code, stdout, stderr } = await space.join('refused', given, ...more);
    expect(code, stdout).not.toBe(0);
    return stderr;
  }

  it('a CA that is not the one of the token, before the token is sent', async () => {
    const said = await refused(`${'0'.repeat(64)}.${token.split('.').slice(1).join('.')}`);
    expect(said).toMatch(/CA/);
    expect(said).toMatch(/keadm gettoken/);
    expect(await cloudLog()).not.toContain('/edge.crt');
  });

  it('a malformed token', async () => {
    expect(await refused('not-a-token')).toMatch(/token.*keadm gettoken/s);
  });

  it('a token that another cloud signed', async () => {
    const [hash] = token.split('.');
    const foreign = await new SignJWT()
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime('1h')
      .sign(Buffer.alloc(32, 1));
    expect(await refused(`${hash}.${foreign}`)).toMatch(/not signed by this cloud.*keadm gettoken/s);
  });

  it('a token that has expired, with how long ago', async () => {
    const api = await space.api();
    const secret = await api.get({
      apiVersion: 'v1',
      plural: 'secrets',
      namespace: 'kubeedge',
      name: 'hawser-token-key',
    });
    const data: unknown = secret.data;
    if (typeof data !== 'object' || data === null || !('key' in data)) throw new Error('no key');
    const key = Buffer.from(String(data.key), 'base64');
    const [hash] = token.split('.');
    const expired = await new SignJWT()
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setExpirationTime(Math.floor(Date.now() / 1000) - 7300)
      .sign(key);
    expect(await refused(`${hash}.${expired}`)).toMatch(
      /token expired 2 h ago; make a new one on the cloud with `keadm gettoken`/,
    );
  });

  it('a cloud that cannot be reached', async () => {
    const [hub, bootstrap] = await freePorts(2);
    const { code, stderr } = await space.keadm(
      'join',
      ...['--data-dir', space.edgeDir('nowhere'), '--edgenode-name', 'nowhere', '--token', token],
      ...['--cloudcore-ipport', `127.0.0.1:${hub}`, '--certport', String(bootstrap)],
    );
    expect(code).not.toBe(0);
    expect(stderr).toContain(`127.0.0.1:${bootstrap}`);
    expect(stderr).toContain('check --cloudcore-ipport and --certport, that cloudcore is running there');
  });

  it('a port that is taken', async () => {
    const [port] = await freePorts(1);
    const holder = await listen(port ?? 0);
    try {
      const { code, stderr } = await space.keadm(
        'init',
        ...['--data-dir', join(space.dir, 'second'), '--set', `modules.cloudHub.websocket.port=${port}`],
      );
      expect(code).not.toBe(0);
      expect(stderr).toContain(`port ${port}`);
      expect(stderr).toContain('--set modules.cloudHub.websocket.port');
    } finally {
      await new Promise((resolve) => holder.close(resolve));
    }
  });

  it.each(['cloudcore', 'apiserver'] as const)('%s on a port that is taken', async (daemon) => {
    const dir = join(space.dir, `taken-${daemon}`);
    await mkdir(dir, { recursive: true });
    const [monitor] = await freePorts(1);
    const files = {
      cloudcore: `kubeAPIConfig: {kubeConfig: ${space.cloudDir}/etc/cloud/cloudcore.conf}\ncommonConfig: {monitorServer: {bindAddress: "127.0.0.1:${monitor}"}}\nmodules: {cloudHub: {websocket: {port: ${space.ports.hub}}, https: {port: ${space.ports.bootstrap}}, tlsCAFile: ${dir}/ca.crt, tlsCAKeyFile: ${dir}/ca.key, tlsCertFile: ${dir}/s.crt, tlsPrivateKeyFile: ${dir}/s.key}}\n`,
      apiserver: '',
    };
    const config = join(dir, 'config.yaml');
    await writeFile(config, files[daemon]);
    const args =
      daemon === 'apiserver'
        ? ['--data-dir', dir, '--secure-port', String(space.ports.api)]
        : ['--config', config];
    const { code, stderr } = await runCommand(
      process.execPath,
      [join(packageRoot(), 'dist', `${daemon}.js`), ...args],
      dir,
    );
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/port \d+.*(taken|in use)/s);
  });

  it.each(['cloudcore', 'edgecore'] as const)(
    '%s with an unknown field in its config, with the path of the field',
    async (daemon) => {
      const config = join(space.dir, `${daemon}-typo.yaml`);
      const module = daemon === 'cloudcore' ? 'cloudHub' : 'edgeHub';
      await writeFile(config, `modules: {${module}: {heartbeet: 3}}\n`);
      const { code, stderr } = await runCommand(
        process.execPath,
        [join(packageRoot(), `dist/${daemon}.js`), '--config', config],
        space.dir,
      );
      expect(code).toBe(2);
      expect(stderr).toContain(`modules.${module}.heartbeet: unknown field`);
    },
  );

  it('keadm --set with a field that nobody knows', async () => {
    const { code, stderr } = await space.join('refused', token, '--set', 'modules.edgeHub.heartbeet=3');
    expect(code).not.toBe(0);
    expect(stderr).toContain('modules.edgeHub.heartbeet: unknown field');
  });

  it('a node name that another machine holds', async () => {
    const first = await space.join('first', token);
    expect(first, first.stderr).toMatchObject({ code: 0 });
    const { code, stderr } = await space.keadm(
      'join',
      ...[
        '--data-dir',
        space.edgeDir('impostor'),
        '--edgenode-name',
        'first',
        '--token',
        token,
        '--runtime',
        'process',
      ],
      ...['--cloudcore-ipport', `127.0.0.1:${space.ports.hub}`, '--certport', String(space.ports.bootstrap)],
    );
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /the name first is in use by machine [0-9a-f]{12}; choose another with --edgenode-name/,
    );
  });

  it('an edge that joins again keeps its name', async () => {
    const again = await space.join('first', token);
    expect(again, again.stderr + again.stdout).toMatchObject({ code: 0 });
  });

  it('leaves no token behind on the edge', async () => {
    const { stdout } = await runCommand(
      'grep',
      ['-rl', token.split('.')[3] ?? 'none', space.edgeDir('first')],
      space.dir,
    );
    expect(stdout).toBe('');
  });

  function cloudLog(): Promise<string> {
    return readFile(join(space.cloudDir, 'log/cloudcore.log'), 'utf8');
  }
});

function listen(port: number): Promise<Server> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '0.0.0.0', () => resolve(server));
  });
}
