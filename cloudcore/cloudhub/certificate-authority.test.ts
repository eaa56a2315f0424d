import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '#beehive/clock.ts';
import { silentLog } from '#beehive/log.ts';
import { MemoryKubeApi } from '../kube/memory-kube-api.ts';
import { type AuthorityOptions, openCertificateAuthority } from './certificate-authority.ts';
import { certificatePem, createCa, issueServer, sec1Pem } from './pki.ts';
import { SystemSecrets } from './system-secrets.ts';

const clock = new ManualClock(Date.UTC(2026, 5, 1));
let api: MemoryKubeApi;
let root: string;

beforeEach(async () => {
  api = new MemoryKubeApi({ clock });
  root = await mkdtemp(join(tmpdir(), 'hawser-ca-'));
});
afterEach(() => rm(root, { recursive: true }));

function optionsIn(folder: string, serverNames = ['10.0.0.1']): AuthorityOptions {
  const file = (name: string) => join(root, folder, name);
  return {
    caFiles: { certFile: file('ca/rootCA.crt'), keyFile: file('ca/rootCA.key') },
    serverFiles: { certFile: file('certs/server.crt'), keyFile: file('certs/server.key') },
    serverNames,
    nodeCertificateDays: 365,
  };
}

function open(options: AuthorityOptions) {
  return openCertificateAuthority(options, { api, clock, log: silentLog });
}

describe('certificate authority', () => {
  it('makes CA and server certificate once, in files and in KubeEdge’s secrets', async () => {
    const options = optionsIn('a');
    const first = await open(options);
    const secrets = new SystemSecrets(api);
    expect(Object.keys((await secrets.read('casecret')) ?? {})).toEqual(['cadata', 'cakeydata']);
    expect((await secrets.read('casecret'))?.cadata).toEqual(Buffer.from(first.certificate));
    const server = new X509Certificate((await secrets.read('cloudcoresecret'))?.cloudcoredata ?? '');
    expect(server.checkIP('10.0.0.1')).toBe('10.0.0.1');
    expect((await stat(options.caFiles.keyFile)).mode & 0o777).toBe(0o600);
    expect((await stat(options.serverFiles.keyFile)).mode & 0o777).toBe(0o600);
    const again = await open(options);
    expect(again.tls).toEqual(first.tls);
    expect(again.certificateHash).toMatch(/^[0-9a-f]{64}$/);
  });

  it('adopts the CA of the cluster where there are no files', async () => {
    const first = await open(optionsIn('a'));
    const second = await open(optionsIn('b'));
    expect(second.certificateHash).toBe(first.certificateHash);
    expect(second.tls).toEqual(first.tls);
  });

  it('lets one of several that start together make the CA', async () => {
    const hashes = await Promise.all(
      ['a', 'b', 'c'].map(async (folder) => (await open(optionsIn(folder))).certificateHash),
    );
    expect(new Set(hashes).size).toBe(1);
  });

  it('puts a lost secret back from the files', async () => {
    const first = await open(optionsIn('a'));
    await api.delete({ apiVersion: 'v1', plural: 'secrets', namespace: 'kubeedge', name: 'casecret' });
    await open(optionsIn('a'));
    expect((await new SystemSecrets(api).read('casecret'))?.cadata).toEqual(Buffer.from(first.certificate));
  });

  it('never writes over a CA: files and secret that differ are an error', async () => {
    await open(optionsIn('a'));
    const stored = await new SystemSecrets(api).read('casecret');
    const other = await createCa(clock.now());
    const { certFile, keyFile } = optionsIn('a').caFiles;
    await writeFile(certFile, certificatePem(other.certificate));
    await writeFile(keyFile, sec1Pem(other.key));
    await expect(open(optionsIn('a'))).rejects.toThrow(/not the one in secret kubeedge\/casecret/);
    expect(await new SystemSecrets(api).read('casecret')).toEqual(stored);
  });

  it('says which file is missing, and what is damaged', async () => {
    await open(optionsIn('a'));
    const { certFile, keyFile } = optionsIn('a').caFiles;
    await rm(keyFile);
    await expect(open(optionsIn('a'))).rejects.toThrow(/rootCA.crt exists but .*rootCA.key does not/);
    await rm(certFile);
    await new SystemSecrets(api).put('casecret', { cadata: Buffer.from('x'), cakeydata: Buffer.from('y') });
    await expect(open(optionsIn('a'))).rejects.toThrow(/holds no certificate and key/);
  });

  it('makes the server certificate again when its names change, from the same CA', async () => {
    const first = await open(optionsIn('a'));
    const second = await open(optionsIn('a', ['10.0.0.1', 'cloud.example']));
    expect(second.certificateHash).toBe(first.certificateHash);
    expect(new X509Certificate(second.tls.cert).checkHost('cloud.example')).toBe('cloud.example');
    expect(await readFile(optionsIn('a').serverFiles.certFile, 'utf8')).toBe(second.tls.cert);
  });

  it('makes the server certificate again when the files hold one of another CA, or half a one', async () => {
    await open(optionsIn('a'));
    const { certFile, keyFile } = optionsIn('a').serverFiles;
    const stranger = await issueServer(await createCa(clock.now()), ['10.0.0.1'], clock.now());
    await writeFile(certFile, certificatePem(stranger.certificate));
    await writeFile(keyFile, sec1Pem(stranger.key));
    const opened = await open(optionsIn('a'));
    expect(new X509Certificate(opened.tls.cert).verify(new X509Certificate(opened.tls.ca).publicKey)).toBe(
      true,
    );
    await writeFile(keyFile, 'half');
    expect((await open(optionsIn('a'))).tls.cert).toBe(opened.tls.cert);
  });

  it('asks for a name when there is none to serve', async () => {
    await expect(open(optionsIn('a', []))).rejects.toThrow(/advertiseAddress/);
  });
});
