import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError } from '#beehive/errors.ts';
import { inClusterEndpoint, readKubeconfig } from './kubeconfig.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hawser-kubeconfig-'));
  await writeFile(join(dir, 'ca.crt'), 'CA');
  await writeFile(join(dir, 'token'), 'T');
});
afterAll(() => rm(dir, { recursive: true }));

async function write(user: object, cluster: object = {}, context = 'c'): Promise<string> {
  const file = join(dir, 'config');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': context,
    clusters: [
      { name: 'k', cluster: { server: 'https://h:1', 'certificate-authority': 'ca.crt', ...cluster } },
    ],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
  };
  await writeFile(file, JSON.stringify(config));
  return file;
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('readKubeconfig', () => {
  it('reads certificates as data or as files beside it', async () => {
    const file = await write({ 'client-certificate-data': base64('CERT'), 'client-key-data': base64('KEY') });
    expect(await readKubeconfig(file)).toEqual({
      server: 'https://h:1',
      tls: { ca: 'CA', cert: 'CERT', key: 'KEY' },
      credential: { kind: 'none' },
    });
  });

  it('knows tokens, token files, passwords, and leaves plug-ins and proxies to the library', async () => {
    const credential = async (user: object, cluster = {}) =>
      (await readKubeconfig(await write(user, cluster))).credential;
    expect(await credential({ token: 'T' })).toEqual({ kind: 'header', value: 'Bearer T' });
    expect(await credential({ tokenFile: 'token' })).toEqual({
      kind: 'token-file',
      file: join(dir, 'token'),
    });
    expect(await credential({ username: 'a', password: 'b' })).toEqual({
      kind: 'header',
      value: `Basic ${base64('a:b')}`,
    });
    expect(await credential({ exec: { command: 'x' } })).toMatchObject({ kind: 'plugin' });
    expect(await credential({}, { 'proxy-url': 'http://p' })).toMatchObject({ kind: 'plugin' });
  });

  it('says what is wrong: no file, no context, no certificate', async () => {
    await expect(readKubeconfig(join(dir, 'none'))).rejects.toBeInstanceOf(ConfigError);
    await expect(readKubeconfig(await write({}, {}, 'other'))).rejects.toThrow('no context "other"');
    const lost = await write({}, { 'certificate-authority': 'lost.crt' });
    await expect(readKubeconfig(lost)).rejects.toThrow('lost.crt');
  });
});

describe('inClusterEndpoint', () => {
  it('uses the service account of the pod', async () => {
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
    expect(await inClusterEndpoint(env, dir)).toEqual({
      server: 'https://[fd00::1]:443',
      tls: { ca: 'CA' },
      credential: { kind: 'token-file', file: `${dir}/token` },
    });
    await expect(inClusterEndpoint({}, dir)).rejects.toThrow('kubeconfig');
  });
});
